"""Section `linear` of params.yaml."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipeline.section import Distinct, Section, Seed

Normalization = Literal["none", "zscore", "l2"]
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
    seed: Seed = 0
