"""params.yaml is the study: its schema. Each package has the sections that it is for."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from pipeline.datasets.settings import Dataset
from pipeline.models.settings import Model
from pipeline.project.names import NAME
from pipeline.project.section import Distinct, Section, one_of
from pipeline.study import metrics
from pipeline.study.knn import PRESETS
from pipeline.study.neighbors import Neighbors
from pipeline.study.pretraining import Pretrain
from pipeline.study.protocol_list import ProtocolSections
from pipeline.study.seen import canonical, legal_names


class Extraction(Section):
    """How embeddings are computed and stored."""

    precision: Literal["float32", "tf32", "bfloat16", "float16"] = "float32"
    storage: Literal["float16", "float32"] = "float16"
    views: int = Field(default=0, ge=0, le=1000)


def _correlated(name: str) -> str:
    legal = metrics.correlated_names()
    if name not in legal:
        raise ValueError(one_of(name, legal, "a share that every data set has"))
    return name


class Correlation(Section):
    """Which scores are correlated, and how sure the intervals are."""

    metric: Annotated[str, AfterValidator(_correlated)] = "top1"
    confidence: float = Field(0.95, gt=0.5, lt=1)
    # Of effective robustness, where imported scores are of one classifier on all data sets:
    classifiers: Annotated[list[str], Distinct] = ["classifier"]
    baseline: Annotated[list[str], Distinct] = []  # models, or column=word
    home: dict[str, str] = {}  # data set: another with its classes alone, from the models' domain
    chance: dict[str, Annotated[float, Field(gt=0, lt=1)]] = {}  # data set: what guessing scores
    pivot: dict[str, str] = {}  # data set: the model that it was chosen to be hard for


PICTURES, MOST_PICTURES = 200, 1_000
"""Small pictures in the report where `report.thumbnails` is true, and at most."""


class Report(Section):
    """The report's words, and which scores and differences matter to its readers."""

    title: str = "Probeline report"
    margin: float = Field(1.0, gt=0, lt=100)  # percentage points
    seen: Literal["keep", "leave_out"] = "keep"
    thumbnails: bool | Annotated[int, Field(ge=0, le=MOST_PICTURES)] = True
    target: list[str] = []  # data sets; of a single one its name will do, [] is the default

    @property
    def pictures(self) -> int:
        """Small pictures of images that the page may hold, beside those of neighbours."""
        return PICTURES * self.thumbnails if isinstance(self.thumbnails, bool) else self.thumbnails

    @field_validator("target", mode="before")
    @classmethod
    def _of_a_name_a_list(cls, value: object) -> object:
        return [value] if isinstance(value, str) else [] if value is None else value


Name = Annotated[str, Field(pattern=f"^{NAME}$")]


class Study(ProtocolSections):
    """All of params.yaml."""

    datasets: dict[Name, Dataset]  # both may be empty: a study of imported scores alone
    models: dict[Name, Model]
    extraction: Extraction
    neighbors: Neighbors
    correlation: Correlation
    report: Report
    # No section is left out: DVC stops at one that a stage names and params.yaml lacks.
    pretrain: dict[Name, Pretrain]

    @model_validator(mode="after")
    def _models_have_data_sets(self) -> Self:
        for one, other in (("models", "datasets"), ("datasets", "models")):
            if getattr(self, other) and not getattr(self, one):
                raise _elsewhere((one,), f"at least 1 entry, as `{other}` has some")
        return self

    @model_validator(mode="after")
    def _votes_have_their_neighbors(self) -> Self:
        presets = [variant for name in self.knn.presets for variant in PRESETS[name]]
        most = max([*self.knn.k, *(variant.k or 0 for variant in presets)])
        if most > self.neighbors.n_neighbors:
            raise _elsewhere(
                ("neighbors", "n_neighbors"), f"at least {most}, the largest k that `knn` asks for"
            )
        spaces = {(m, n) for m in self.neighbors.metric for n in self.neighbors.normalization}
        for variant in presets:
            if (variant.distance, variant.normalization) not in spaces:
                raise _elsewhere(
                    ("knn", "presets"),
                    f"no {variant.preset}, or {variant.distance} in neighbors.metric and "
                    f"{variant.normalization} in neighbors.normalization",
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
    def _coarse_classes_have_data_sets(self) -> Self:
        with_images = [name for name, entry in self.datasets.items() if not entry.test_only]
        for name in self.fewshot.coarse:
            if name not in with_images:
                raise _elsewhere(
                    ("fewshot", "coarse", name),
                    one_of(name, with_images, "data sets of this study with train images"),
                )
        return self

    @model_validator(mode="after")
    def _models_were_trained_on_what_is_known(self) -> Self:
        for model, entry in self.models.items():
            for name in entry.trained_on or ():
                if canonical(self.datasets, name) is None:
                    raise _elsewhere(
                        ("models", model, "trained_on"),
                        one_of(
                            name,
                            legal_names(self.datasets),
                            "a data set of this study, or a known one or corpus, or other(WORDS) "
                            "for what is none of them",
                        ),
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
                    raise _elsewhere(("finetune", key), one_of(name, there, what))
        if self.finetune.enabled and not self.finetune.runs:
            raise _elsewhere(("finetune", "runs"), "at least one run, as `enabled` is true")
        return self

    @model_validator(mode="after")
    def _pretraining_has_its_data(self) -> Self:
        with_images = [n for n, d in self.datasets.items() if d.has_images and not d.test_only]
        for name, entry in self.pretrain.items():
            if entry.dataset not in with_images:
                raise _elsewhere(
                    ("pretrain", name, "dataset"),
                    one_of(
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
                    one_of(model.made_by, list(self.pretrain), "pretrain(NAME) of `pretrain`"),
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


def _elsewhere(place: tuple[str, ...], expected: str) -> PydanticCustomError:
    """A fault between two sections; `pipeline.study.faults` shows the place."""
    return PydanticCustomError(
        "between_sections", "{expected}", {"expected": expected, "place": place}
    )
