"""params.yaml is the study: its schema."""

from __future__ import annotations

import difflib
import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from cache.fingerprint import canonical_json, fingerprint
from pipeline.datasets.known import known_dataset
from pipeline.finetuning.settings import Finetune
from pipeline.models.zoo import zoo_model
from pipeline.paths import WEIGHTS, checkpoint_path
from pipeline.section import Section

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]
Split = Literal["train", "val"]
Feature = Literal["pooled", "cls", "mean_patch", "cls+mean_patch", "last4_cls"]
Normalization = Literal["none", "zscore", "l2"]
Preparation = Literal["none", "l2", "zscore", "centered_l2"]
Metric = Literal["euclidean", "cosine"]


def _distinct(values: list[Any]) -> list[Any]:
    if len(set(values)) != len(values):
        raise ValueError("a value is listed twice")
    return values


def _plain(arguments: dict[str, Any]) -> dict[str, Any]:
    try:
        canonical_json(arguments)  # they are part of every cell's key
    except (TypeError, ValueError):
        raise ValueError("finite numbers, text, lists and mappings only (no dates)") from None
    return arguments


def _both_splits(words: dict[Split, list[str]]) -> dict[Split, list[str]]:
    if words.keys() != {"train", "val"}:
        raise ValueError("both `train` and `val`, each with a list of words")
    if shared := set(words["train"]) & set(words["val"]):
        raise ValueError(f"words that name one split only (in both: {', '.join(sorted(shared))})")
    return words


def _known_method(name: str) -> str:
    if name not in METHODS:
        near = difflib.get_close_matches(name, METHODS, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise ValueError(f"one of {', '.join(METHODS)}{hint}")
    return name


METHODS = (
    "random",
    "supervised",
    "rotnet",
    "jigsaw",
    "simclr",
    "moco",
    "byol",
    "simsiam",
    "dino",
    "swav",
    "barlow_twins",
    "vicreg",
    "mae",
    "simmim",
)
"""Of pre-training; `pipeline.pretraining.methods` has what they do."""

Distinct = AfterValidator(_distinct)


class Columns(Section):
    """Which columns of a manifest hold what."""

    path: str = "path"
    label: str = "label"
    split: str | None = "split"
    group: str | None = None


class Expected(Section):
    """Counts that the index must find."""

    train: int | None = Field(default=None, ge=1)
    val: int | None = Field(default=None, ge=1)
    classes: int | None = Field(default=None, ge=2)


class Dataset(Section):
    """Labelled images with a train and a val split; one that is `test_only` has val alone."""

    source: str = Field(
        pattern=r"^(folder|manifest|webdataset|imported|builtin:[a-z0-9_]+|known:[a-z0-9_]+"
        r"|torchvision:[A-Za-z0-9_]+|hf:[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)?)$"
    )
    role: Literal["in_domain", "out_of_domain"]
    path: str | None = None
    manifest: str | None = None
    columns: Columns = Columns()
    filter: dict[str, str | int | list[str | int]] = {}
    splits: Annotated[dict[Split, list[str]], AfterValidator(_both_splits)] = {
        "train": ["train", "training"],
        "val": ["val", "valid", "validation", "test"],
    }
    val_fraction: float = Field(0.2, gt=0, lt=1)
    seed: int = Field(0, ge=0)
    limit_per_class: int | None = Field(None, ge=1)
    expected: Expected = Expected()
    on_bad_image: Literal["error", "skip"] = "error"
    cluster: str | None = None
    shift: str | None = None
    pad: bool = False
    test_only: bool = False

    @model_validator(mode="before")
    @classmethod
    def _from_the_known(cls, said: Any) -> Any:
        """What the entry says itself goes before what is known of the data set."""
        if not isinstance(said, dict) or not str(said.get("source", "")).startswith("known:"):
            return said
        try:
            known = known_dataset(str(said["source"]).removeprefix("known:")).entry
        except KeyError as error:
            raise ValueError(error.args[0]) from None
        return {**known, **said}

    @property
    def known_as(self) -> str | None:
        """The known data set that it is; None for all others."""
        return self.source.removeprefix("known:") if self.source.startswith("known:") else None

    @property
    def is_of_library(self) -> bool:
        """Whether torchvision or Hugging Face's `datasets` reads it."""
        return self.source.startswith(("torchvision:", "hf:"))

    @model_validator(mode="after")
    def _sources_have_what_they_need(self) -> Self:
        without_path = ("imported", "builtin", "hf")
        if self.source.partition(":")[0] not in without_path and not self.path:
            raise ValueError(f"a data set with `source: {self.source}` needs `path`")
        if self.test_only and self.source == "imported":
            raise ValueError("no `test_only` with `source: imported`, which has both splits")
        if self.source == "manifest" and not self.manifest:
            raise ValueError("a data set with `source: manifest` needs `manifest`, a CSV file")
        return self


class Checkpoint(Section):
    """How a checkpoint's keys become the architecture's."""

    entry: str = ""
    strip_prefix: str = ""
    rename: dict[str, str] = {}
    drop: list[str] = []
    missing: list[str] = []
    share: dict[str, str] = {}


class WeightsSource(Section):
    """What is known of weights that have an address."""

    mirrors: list[str] = []
    sha256: str = Field(default="", pattern=r"^[0-9a-f]{0,64}$")
    file: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9_.-]+\.(safetensors|pth|pt|tar|bin|torch)$"
    )
    by_hand: bool = False


class Pretrain(Section):
    """A small model that the study pre-trains itself, on the train split of one data set."""

    method: Annotated[str, AfterValidator(_known_method)]
    architecture: str = Field(min_length=1)
    arguments: Annotated[dict[str, Any], AfterValidator(_plain)] = {}
    input_size: int | None = Field(None, ge=1)
    dataset: str
    share: float = Field(1.0, gt=0, le=1)
    epochs: int = Field(20, ge=1)
    batch_size: int = Field(64, ge=1)
    learning_rate: float = Field(0.002, gt=0)
    flip: bool = False
    queue: int = Field(512, ge=1)
    prototypes: int = Field(64, ge=2)
    seed: int = Field(0, ge=0)


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
    arguments: Annotated[dict[str, Any], AfterValidator(_plain)] = {}
    checkpoint: Checkpoint = Checkpoint()
    source: WeightsSource = WeightsSource()
    feature: Feature = "pooled"
    input_size: int | None = Field(None, ge=1)
    mean: list[float] | None = Field(None, min_length=3, max_length=3)
    std: list[Annotated[float, Field(gt=0)]] | None = Field(None, min_length=3, max_length=3)
    interpolation: Interpolation | None = None
    crop_mode: Literal["center", "squash"] | None = None
    crop: float | None = Field(None, gt=0, le=1)
    method: str = "unknown"
    family: str = "unknown"
    backbone: str = "unknown"
    supervision: Literal["supervised", "self_supervised", "none", "unknown"] = "unknown"
    kind: Literal["discriminative", "generative", "unknown"] = "unknown"

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
        if not isinstance(said, dict) or "zoo" not in said:
            return said
        try:
            known = zoo_model(str(said["zoo"])).entry
        except KeyError as error:
            raise ValueError(error.args[0]) from None
        own = {key: value for key, value in said.items() if key != "zoo"}
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


class Extraction(Section):
    """How embeddings are computed and stored."""

    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    storage: Literal["float16", "float32"] = "float16"
    views: int = Field(default=0, ge=0, le=1000)


class Neighbors(Section):
    """The nearest train images of every image, stored once for every way of voting."""

    keep: int = Field(200, ge=1)
    metric: Annotated[list[Metric], Field(min_length=1), Distinct] = ["euclidean", "cosine"]
    normalization: Annotated[list[Preparation], Field(min_length=1), Distinct] = ["none", "zscore"]


class Knn(Section):
    """k nearest neighbours: named presets, every combination of a grid, and a tuned variant."""

    presets: Annotated[list[Literal["study", "dino"]], Distinct] = []
    k: Annotated[list[Annotated[int, Field(ge=1)]], Distinct] = []
    weighting: Annotated[list[Literal["distance", "uniform", "softmax"]], Distinct] = ["distance"]
    temperature: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1), Distinct] = [
        0.07
    ]
    tuned: bool = False

    @model_validator(mode="after")
    def _something_is_asked_for(self) -> Self:
        if not self.presets and not (self.k and self.weighting):
            raise ValueError("at least one of `presets` and `k` (with `weighting`)")
        return self


LearningRates = Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1), Distinct]


class Sgd(Section):
    """The study's gradient protocol, on cached features: all heads advance together."""

    learning_rates: LearningRates = [0.01, 0.03, 0.1, 0.3, 1.0]
    batch_norm: Annotated[list[bool], Field(min_length=1), Distinct] = [False, True]
    epochs: int = Field(default=100, ge=1)


class Linear(Section):
    """Linear (and other small) heads; what is tuned is tuned on a hold-out of train."""

    heads: Annotated[
        list[Literal["logistic", "ridge", "sgd", "mlp"]], Field(min_length=1), Distinct
    ] = ["logistic"]
    normalization: Annotated[list[Normalization], Field(min_length=1), Distinct] = ["none"]
    c: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1), Distinct] | None = None
    max_iterations: int = Field(1000, ge=1)
    sgd: Sgd = Sgd()
    seed: int = Field(0, ge=0)


class Fewshot(Section):
    """A few labels: seeded draws of train that all models share; empty lists leave it out."""

    shots: Annotated[list[Annotated[int, Field(ge=1)]], Distinct] = []
    fractions: Annotated[list[Annotated[float, Field(gt=0, lt=1)]], Distinct] = []
    heads: Annotated[
        list[Literal["prototypes", "ridge", "logistic"]], Field(min_length=1), Distinct
    ] = ["prototypes", "ridge", "logistic"]
    draws: int = Field(10, ge=2)
    draws_above_five: int = Field(5, ge=2)
    seed: int = Field(0, ge=0)


class Transfer(Section):
    """Train on one data set, test on others with classes of the same names."""

    sources: Annotated[list[str], Distinct] = []


Predictor = Literal[
    "rankme", "alpha_req", "h_score", "logme", "cdnv", "nc1", "uniformity", "alignment", "label_cka"
]


class Predictors(Section):
    """Numbers of the train embeddings that predict scores without a probe."""

    names: Annotated[list[Predictor], Distinct] = []
    seed: int = Field(0, ge=0)


class Correlation(Section):
    """Which scores are correlated, and how sure the intervals are."""

    metric: Literal["top1", "mean_per_class"] = "top1"
    confidence: float = Field(0.95, gt=0.5, lt=1)


class Report(Section):
    """The report's words."""

    title: str = "Probeline report"


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+$", max_length=100)]


class Study(Section):
    """All of params.yaml."""

    datasets: dict[Name, Dataset]  # both may be empty: a study of imported scores alone
    models: dict[Name, Model]
    extraction: Extraction
    neighbors: Neighbors
    knn: Knn
    linear: Linear
    fewshot: Fewshot
    transfer: Transfer
    predictors: Predictors
    correlation: Correlation
    report: Report
    pretrain: dict[Name, Pretrain] = {}
    finetune: Finetune = Finetune()

    @model_validator(mode="after")
    def _models_have_data_sets(self) -> Self:
        for one, other in (("models", "datasets"), ("datasets", "models")):
            if getattr(self, other) and not getattr(self, one):
                raise _elsewhere((one,), f"at least 1 entry, as `{other}` has some")
        return self

    @model_validator(mode="after")
    def _votes_have_their_neighbors(self) -> Self:
        largest = {"study": 20, "dino": 200}
        most = max([*self.knn.k, *(largest[preset] for preset in self.knn.presets)])
        if most > self.neighbors.keep:
            raise _elsewhere(
                ("neighbors", "keep"), f"at least {most}, the largest k that `knn` asks for"
            )
        spaces = {(m, n) for m in self.neighbors.metric for n in self.neighbors.normalization}
        for preset, metric, normalization in (
            ("study", "euclidean", "none"),
            ("study", "euclidean", "zscore"),
            ("dino", "cosine", "none"),
        ):
            if preset in self.knn.presets and (metric, normalization) not in spaces:
                raise _elsewhere(
                    ("knn", "presets"),
                    f"no {preset}, or {metric} in neighbors.metric and {normalization} in "
                    "neighbors.normalization",
                )
        if "softmax" in self.knn.weighting and "cosine" not in self.neighbors.metric:
            raise _elsewhere(("knn", "weighting"), "no softmax, or cosine in neighbors.metric")
        return self

    @model_validator(mode="after")
    def _sources_are_data_sets(self) -> Self:
        if set(self.transfer.sources) - set(self.datasets):
            raise _elsewhere(
                ("transfer", "sources"), f"data sets of this study: {', '.join(self.datasets)}"
            )
        for name in self.transfer.sources:
            if self.datasets[name].test_only:
                raise _elsewhere(
                    ("transfer", "sources"),
                    f"data sets with train images, which {name} (test_only) has not",
                )
        return self

    @model_validator(mode="after")
    def _finetuning_names_what_is_there(self) -> Self:
        for key, named, there in (
            ("models", self.finetune.models, list(self.models)),
            ("datasets", self.finetune.datasets, list(self.datasets)),
        ):
            for name in named:
                if name not in there:
                    what = f"{key} of this study" if key == "models" else "data sets of this study"
                    raise _elsewhere(("finetune", key), _one_of(name, there, what))
        if self.finetune.enabled and not self.finetune.runs:
            raise _elsewhere(("finetune", "runs"), "at least one run, as `enabled` is true")
        return self

    @model_validator(mode="after")
    def _pretraining_has_its_data(self) -> Self:
        with_images = [
            n for n, d in self.datasets.items() if d.source != "imported" and not d.test_only
        ]
        for name, entry in self.pretrain.items():
            if entry.dataset not in with_images:
                raise _elsewhere(
                    ("pretrain", name, "dataset"),
                    _one_of(
                        entry.dataset, with_images, "a data set of this study with train images"
                    ),
                )
        spelled = {name.lower(): name for name in self.pretrain}
        for name in self.pretrain:
            if spelled[name.lower()] != name:
                raise _elsewhere(
                    ("pretrain", name),
                    f"a name that differs from {spelled[name.lower()]} by more than its capitals",
                )
        return self

    @model_validator(mode="after")
    def _models_fit_their_pretraining(self) -> Self:
        for name, model in self.models.items():
            if model.made_by is None:
                continue
            made = self.pretrain.get(model.made_by)
            if made is None:
                raise _elsewhere(
                    ("models", name, "weights"),
                    _one_of(model.made_by, list(self.pretrain), "pretrain(NAME) of `pretrain`"),
                )
            if model.architecture != made.architecture:
                raise _elsewhere(
                    ("models", name, "architecture"), f"{made.architecture}, as it was pre-trained"
                )
            if model.arguments != made.arguments:
                raise _elsewhere(
                    ("models", name), f"arguments: {made.arguments}, as it was pre-trained"
                )
        return self


def _file_name(address: str) -> str:
    """Of a download: the address's own, told apart from equal names elsewhere."""
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", address.split("?")[0].rsplit("/", 1)[-1])
    return f"{fingerprint(address)[:8]}-{name}"


def _one_of(name: str, legal: list[str], what: str) -> str:
    near = difflib.get_close_matches(name, legal, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return f"{what}: {', '.join(legal) or 'there is none'}{hint}"


def _elsewhere(place: tuple[str, ...], expected: str) -> PydanticCustomError:
    """A fault between two sections; `pipeline.params` shows the place."""
    return PydanticCustomError(
        "between_sections", "{expected}", {"expected": expected, "place": place}
    )
