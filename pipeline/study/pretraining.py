"""Section `pretrain` of params.yaml: small models that the study trains itself."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from pipeline.project.section import Arguments, Section, Seed, one_of

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


def _known_method(name: str) -> str:
    if name not in METHODS:
        raise ValueError(one_of(name, METHODS, "one of"))
    return name


class Pretrain(Section):
    """A small model that the study pre-trains itself, on the train split of one data set."""

    method: Annotated[str, AfterValidator(_known_method)]
    architecture: str = Field(min_length=1)
    arguments: Arguments = {}
    input_size: int | None = Field(None, ge=1)
    dataset: str
    share: float = Field(1.0, gt=0, le=1)
    epochs: int = Field(20, ge=1)
    batch_size: int = Field(64, ge=1)
    learning_rate: float = Field(0.002, gt=0)
    flip: bool = False
    queue: int = Field(512, ge=1)
    prototypes: int = Field(64, ge=2)
    seed: Seed = 0
