"""Section `models` of params.yaml: the pre-trained networks, and the feature taken from each."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from cache.fingerprint import fingerprint
from pipeline.models.arguments import ways_to_weights
from pipeline.models.feature_kinds import Feature
from pipeline.models.zoo import Preprocessing, common_transform, zoo_model
from pipeline.project.paths import WEIGHTS, checkpoint_path
from pipeline.project.section import Arguments, Distinct, Section

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]


class Checkpoint(Section):
    """How a checkpoint's keys become the architecture's."""

    entry: str = ""
    strip_prefix: str = ""
    rename: dict[str, str] = {}
    drop: list[str] = []
    missing: list[str] = []
    share: dict[str, str] = {}
    renumber: dict[str, list[Annotated[int, Field(ge=1)]]] = {}
    by_order: bool = False

    @model_serializer(mode="wrap")
    def _without_later_rules(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Cells that were made before these rules are not told apart from those without them."""
        told: dict[str, Any] = dump(self)
        return {key: rule for key, rule in told.items() if rule or key not in _ADDED_LATER}


_ADDED_LATER = ("renumber", "by_order")


class WeightsSource(Section):
    """What is known of weights that have an address."""

    mirrors: list[str] = []
    sha256: str = Field(default="", pattern=r"^[0-9a-f]{0,64}$")
    file: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9_.-]+\.(safetensors|pth|pt|tar|bin|torch)$"
    )
    by_hand: bool = False


_TRANSFORM = {"input_size", "mean", "std", "interpolation", "crop_mode", "crop"}

_HUBS = {
    "hf-hub": (
        "hf-hub:OWNER/NAME, or hf-hub:OWNER/NAME@REVISION",
        r"[\w-]+:[\w.-]+/[\w.-]+(@\S+)?",
    ),
    "torchhub": (
        "torchhub:OWNER/REPOSITORY:ENTRY@REF, with a branch, tag or (best) commit as REF",
        r"\w+:[\w.-]+/[\w.-]+:\w+@[\w./-]+",
    ),
}
"""How a hub's networks are named: for people, and as a pattern."""


class Model(Section):
    """One pre-trained model and the feature taken from it."""

    architecture: str = Field(min_length=1)
    trust: bool = False
    weights: str = Field(
        pattern=r"^(random\([0-9]{1,18}\)|pretrain\([A-Za-z0-9_]{1,100}\)|pretrained|imported"
        r"|https?://\S+|.+\.(safetensors|pth|pt|tar|bin|torch))$"
    )
    arguments: Arguments = {}
    checkpoint: Checkpoint = Checkpoint()
    source: WeightsSource = WeightsSource()
    feature: Feature = "pooled"
    input_size: int | None = Field(None, ge=1)
    mean: list[Annotated[float, Field(ge=0, le=1)]] | None = Field(None, min_length=3, max_length=3)
    std: list[Annotated[float, Field(gt=0, le=1)]] | None = Field(None, min_length=3, max_length=3)
    interpolation: Interpolation | None = None
    crop_mode: Literal["center", "squash"] | None = None
    crop: float | None = Field(None, gt=0, le=1)
    preprocessing: Preprocessing | Literal["own"] = "own"
    method: str = "unknown"
    family: str = "unknown"
    backbone: str = "unknown"
    supervision: Literal["supervised", "self_supervised", "none", "unknown"] = "unknown"
    objective: Literal["discriminative", "generative", "unknown"] = "unknown"
    trained_on: Annotated[list[str], Distinct] | None = None

    @property
    def seed(self) -> int | None:
        """Of ``random(SEED)`` weights; None for all others."""
        drawn = re.fullmatch(r"random\(([0-9]+)\)", self.weights)
        return int(drawn[1]) if drawn else None

    @property
    def made_by(self) -> str | None:
        """The entry of `pretrain` whose checkpoint it is; None for all others."""
        named = re.fullmatch(r"pretrain\(([A-Za-z0-9_]+)\)", self.weights)
        return named[1] if named else None

    @model_validator(mode="before")
    @classmethod
    def _from_the_zoo(cls, said: Any) -> Any:
        """What the entry says itself goes before what the zoo says."""
        if not isinstance(said, dict):
            return said
        if "zoo" not in said:
            return _preprocessed(said)
        try:
            known = zoo_model(str(said["zoo"]), said.get("preprocessing")).entry
        except KeyError as error:
            raise ValueError(f"a model of `probeline models zoo`; {error.args[0]}") from None
        own = {key: value for key, value in said.items() if key != "zoo"}
        if _TRANSFORM & own.keys():  # no longer what the word stands for
            own["preprocessing"] = "own"
        return {**known, **own}

    @field_validator("architecture", mode="before")
    @classmethod
    def _timm_is_where_all_are(cls, name: Any) -> Any:
        return name.removeprefix("timm:") if isinstance(name, str) else name

    @field_validator("architecture")
    @classmethod
    def _hubs_are_named_in_full(cls, name: str) -> str:
        for prefix, form in _HUBS.items():
            if name.startswith(f"{prefix}:") and not re.fullmatch(form[1], name):
                raise ValueError(form[0])
        return name

    @model_validator(mode="after")
    def _foreign_code_is_trusted(self) -> Self:
        if self.architecture.startswith("torchhub:") and not self.trust:
            source = self.architecture.removeprefix("torchhub:").split(":")[0]
            raise ValueError(
                f"`trust: true`, as this model runs the code of github.com/{source} here; look at "
                "it first"
            )
        return self

    @model_validator(mode="after")
    def _arguments_are_no_way_to_weights(self) -> Self:
        ways = [] if self.architecture.startswith("torchhub:") else ways_to_weights(self.arguments)
        if ways:
            raise ValueError(
                f"no {', '.join(ways)} in `arguments`, which are the network's shape: weights come "
                "from `weights` alone, recorded and compared"
            )
        return self

    @property
    def is_of_hub(self) -> bool:
        """Whether a hub says how the network is built."""
        return self.architecture.partition(":")[0] in _HUBS

    @property
    def is_remote(self) -> bool:
        """Whether `weights` is an address."""
        return self.weights.startswith(("https://", "http://"))

    @property
    def weights_file(self) -> str | None:
        """The checkpoint that `weights` names; ``pretrained/model.pth`` is one, too."""
        if self.is_remote:
            return (WEIGHTS / (self.source.file or _file_name(self.weights))).as_posix()
        if self.made_by is not None:
            return checkpoint_path(self.made_by).as_posix()
        named = self.weights not in ("pretrained", "imported") and self.seed is None
        return self.weights if named else None


def _preprocessed(said: dict[str, Any]) -> dict[str, Any]:
    """An entry without the zoo, with what its `preprocessing` stands for."""
    if said.get("preprocessing") == "common":
        return {**common_transform(), **said}
    if said.get("preprocessing") == "authors" and said.get("crop") is None:
        raise ValueError(
            "no `preprocessing: authors` without `zoo`, as nobody here knows it: set input_size, "
            "crop, crop_mode, interpolation, mean and std"
        )
    return said


def pretrained_name(architecture: str) -> str:
    """Of timm's own weights for an architecture, in weights.lock.json."""
    return f"timm:{architecture}"


def _file_name(address: str) -> str:
    """Of a download: the address's own, told apart from equal names elsewhere."""
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", address.split("?")[0].rsplit("/", 1)[-1])
    return f"{fingerprint(address)[:8]}-{name}"
