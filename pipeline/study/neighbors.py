"""Section `neighbors` of params.yaml."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipeline.project.section import Distinct, Section

Preparation = Literal["none", "l2", "zscore", "centered_l2"]
Metric = Literal["euclidean", "cosine"]


BACKENDS = ("numpy", "torch", "sklearn", "cuml")
"""What can search; see `pipeline.machine.backends`."""


class Neighbors(Section):
    """The nearest train images of every image, stored once for every way of voting."""

    n_neighbors: int = Field(200, ge=1, serialization_alias="keep")
    metric: Annotated[list[Metric], Field(min_length=1), Distinct] = ["euclidean", "cosine"]
    normalization: Annotated[list[Preparation], Field(min_length=1), Distinct] = ["none", "zscore"]
