"""params.yaml is the study: its schema."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from cache.fingerprint import canonical_json

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]
Split = Literal["train", "val"]
Feature = Literal["pooled", "cls", "mean_patch", "cls+mean_patch", "last4_cls"]
Normalization = Literal["none", "zscore", "l2"]


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


Distinct = AfterValidator(_distinct)


class Section(BaseModel):
    """A mapping of params.yaml: unknown keys and mistyped values are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


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
    """Labelled images with a train and a val split."""

    source: str = Field(pattern=r"^(folder|manifest|imported|builtin:[a-z0-9_]+)$")
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

    @model_validator(mode="after")
    def _sources_have_what_they_need(self) -> Self:
        if self.source in ("folder", "manifest") and not self.path:
            raise ValueError(f"a data set with `source: {self.source}` needs `path`")
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


class Model(Section):
    """One pre-trained model and the feature taken from it."""

    architecture: str = Field(min_length=1)
    weights: str = Field(
        pattern=r"^(random\([0-9]{1,18}\)|pretrained|imported|.+\.(safetensors|pth|pt|tar|bin))$"
    )
    arguments: Annotated[dict[str, Any], AfterValidator(_plain)] = {}
    checkpoint: Checkpoint = Checkpoint()
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

    @property
    def seed(self) -> int | None:
        """Of ``random(SEED)`` weights; None for all others."""
        drawn = re.fullmatch(r"random\(([0-9]+)\)", self.weights)
        return int(drawn[1]) if drawn else None

    @property
    def weights_file(self) -> str | None:
        """The checkpoint that `weights` names; ``pretrained/model.pth`` is one, too."""
        named = self.weights not in ("pretrained", "imported") and self.seed is None
        return self.weights if named else None


class Extraction(Section):
    """How embeddings are computed and stored."""

    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    storage: Literal["float16", "float32"] = "float16"
    views: int = Field(default=0, ge=0, le=1000)


class Knn(Section):
    """k nearest neighbours; a variant for every combination."""

    k: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1), Distinct] = [20]
    metric: Annotated[list[Literal["euclidean", "cosine"]], Field(min_length=1), Distinct] = [
        "euclidean",
        "cosine",
    ]
    weighting: Annotated[list[Literal["distance", "uniform"]], Field(min_length=1), Distinct] = [
        "distance"
    ]
    normalization: Annotated[list[Literal["none", "zscore"]], Field(min_length=1), Distinct] = [
        "none",
        "zscore",
    ]


class Linear(Section):
    """Multinomial logistic regression, C chosen on a hold-out of train."""

    c: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1), Distinct] = [1.0]
    normalization: Annotated[list[Normalization], Field(min_length=1), Distinct] = ["none"]
    holdout_fraction: float = Field(0.2, gt=0, lt=1)
    max_iterations: int = Field(1000, ge=1)
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

    datasets: Annotated[dict[Name, Dataset], Field(min_length=1)]
    models: Annotated[dict[Name, Model], Field(min_length=1)]
    extraction: Extraction
    knn: Knn
    linear: Linear
    correlation: Correlation
    report: Report
