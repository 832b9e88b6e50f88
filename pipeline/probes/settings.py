"""Sections `knn`, `fewshot`, `transfer` and `predictors` of params.yaml."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline.section import Distinct, Section, Seed
from pipeline.variants.budget import Budget


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


Coarse = dict[str, Annotated[list[str], Field(min_length=1)]]
"""Classes of a data set by the coarser class that they are merged into."""


class Fewshot(Section):
    """A few labels: seeded draws of train that all models share; empty lists leave it out."""

    shots: Annotated[list[Annotated[int, Field(ge=1)]], Distinct] = []
    fractions: Annotated[list[Annotated[float, Field(gt=0, lt=1)]], Distinct] = []
    heads: Annotated[
        list[Literal["prototypes", "ridge", "logistic"]], Field(min_length=1), Distinct
    ] = ["prototypes", "ridge", "logistic"]
    draws: int = Field(10, ge=2)
    draws_above_five: int = Field(5, ge=2)
    class_counts: Annotated[list[Annotated[int, Field(ge=2)]], Distinct] = []
    coarse: dict[str, Annotated[Coarse, Field(min_length=2)]] = {}
    seed: Seed = 0

    @model_validator(mode="after")
    def _simpler_problems_have_their_shots(self) -> Self:
        if (self.class_counts or self.coarse) and not self.shots:
            raise ValueError("`shots`, at the first of which `class_counts` and `coarse` are asked")
        return self

    @model_validator(mode="after")
    def _fractions_have_names(self) -> Self:
        names = [Budget(share=share).name for share in self.fractions]
        if len(set(names)) < len(names):
            raise ValueError("`fractions` that differ in the first six digits of their percentage")
        return self


class Transfer(Section):
    """Train on one data set, test on others with classes of the same names."""

    sources: Annotated[list[str], Distinct] = []


Predictor = Literal[
    "rankme",
    "alpha_req",
    "h_score",
    "logme",
    "logme_published",
    "cdnv",
    "nc1",
    "uniformity",
    "alignment",
    "label_cka",
]


class Predictors(Section):
    """Numbers of the train embeddings that predict scores without a probe."""

    names: Annotated[list[Predictor], Distinct] = []
    seed: Seed = 0
