"""Section `pretrain` of params.yaml: small models that the study trains itself."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field

from pipeline.project.section import Arguments, Distinct, Section, Seed, one_of

if TYPE_CHECKING:
    from pipeline.study.schema import Study

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


def labels_seen(
    study: Study, classes_of: Callable[[str], Collection[str]]
) -> frozenset[tuple[str, str]]:
    """Models and data sets where pre-training saw labels of classes that are tested there.

    A few labels to a probe are not few to such a model. Classes are the same where their names are:
    a shift of a data set has its classes. Of models that were trained elsewhere nothing is known.

    Parameters
    ----------
    study : Study
    classes_of : callable
        From a data set of the study to the names of its classes.
    """
    learned = {
        model: set(made.classes or classes_of(made.dataset))
        for model, entry in study.models.items()
        if (made := study.pretrain.get(entry.made_by or "")) is not None and made.sees_labels
    }
    tested = {name: set(classes_of(name)) for name in study.datasets} if learned else {}
    return frozenset(
        (model, name)
        for model, classes in learned.items()
        for name, there in tested.items()
        if classes & there
    )
