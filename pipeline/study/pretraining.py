"""Section `pretrain` of params.yaml: small models that the study trains itself."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from pipeline.project.section import Arguments, Distinct, Section, Seed, one_of

METHODS = (
    "random", "supervised", "rotnet", "jigsaw", "simclr", "moco", "byol", "simsiam", "dino", "swav",
    "barlow_twins", "vicreg", "mae", "simmim",
)  # fmt: skip
"""Of pre-training; `pipeline.pretraining.methods` has what they do."""

PROJECTED = 128
"""Columns of the projections that methods compare: few, as the backbones are small."""


def _known_method(name: str) -> str:
    if name not in METHODS:
        raise ValueError(one_of(name, METHODS, "one of"))
    return name


def _no_single_class(names: list[str]) -> list[str]:
    if len(names) == 1:
        raise ValueError("at least two classes of the data set, or [] for all of them")
    return names


class Pretrain(Section):
    """A small model that the study pre-trains itself, on the train split of one data set."""

    method: Annotated[str, AfterValidator(_known_method)]
    architecture: str = Field(min_length=1)
    arguments: Arguments = {}
    input_size: int | None = Field(None, ge=1)
    dataset: str
    classes: Annotated[list[str], Distinct, AfterValidator(_no_single_class)] = []
    share: float = Field(1.0, gt=0, le=1)
    epochs: int = Field(20, ge=1)
    batch_size: int = Field(64, ge=1)
    learning_rate: float = Field(0.002, gt=0)
    flip: bool = False
    queue: int = Field(512, ge=1)
    prototypes: int = Field(64, ge=2)
    seed: Seed = 0

    @property
    def sees_labels(self) -> bool:
        """Whether it learns from the labels of its images."""
        return self.method == "supervised"
