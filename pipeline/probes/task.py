"""What a probe gets and gives: one model's cells of one data set, and the scores found on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cache.cell import Cell
from cache.errors import NonFiniteError
from pipeline.datasets.index import Index
from pipeline.heads.normalization import Features
from pipeline.probes.needs import Shape
from pipeline.probes.scoring import Outcome, outcome_table, score_rows
from pipeline.study.protocol import Protocol
from pipeline.study.schema import Study
from pipeline.study.variant import Variant


@dataclass(frozen=True)
class Source:
    """A data set that a transferred probe is trained on.

    Attributes
    ----------
    train : Cell
        Of the same model.
    classes : tuple of str
        Class names; a label is a position in it.
    train_groups : ndarray of shape (n_train,) of str, or None
        The group of each train image, as in `Task`.
    """

    train: Cell
    classes: tuple[str, ...]
    train_groups: NDArray[np.str_] | None = None


@dataclass(frozen=True)
class Task:
    """One model's embeddings of one data set, to be judged.

    Attributes
    ----------
    dataset, model : str
    train_cell : Cell or None
        None for test images that are scored by transfer alone.
    val : Cell
    classes : tuple of str
        Class names; a label is a position in it.
    groups : ndarray of shape (n_val,) of str, or None
        The group (site, camera, patient) of each val image, where the data set has groups; "" for
        an image without one.
    train_groups : ndarray of shape (n_train,) of str, or None
        Likewise of each train image.
    sources : mapping of str to Source
        By data set; for transfer only.
    streamed : bool
        Whether features are to be read in parts each time, as there is no room for all.
    backend : str
        What computes it; see `pipeline.machine.backends`.
    instead : Task or None
        How it is computed where the device's memory does not hold it.
    variants : tuple of Variant, or None
        What is to be computed; None: all that the study asks for.
    """

    dataset: str
    model: str
    train_cell: Cell | None
    val: Cell
    classes: tuple[str, ...]
    groups: NDArray[np.str_] | None = None
    train_groups: NDArray[np.str_] | None = None
    sources: Mapping[str, Source] = field(default_factory=dict)
    streamed: bool = False
    backend: str = "numpy"
    instead: Task | None = None
    variants: tuple[Variant, ...] | None = None

    def wanted(self, study: Study, protocol: Protocol) -> list[Variant]:
        """The variants that are to be computed, in the study's order."""
        return list(protocol.variants(study) if self.variants is None else self.variants)

    @property
    def train(self) -> Cell:
        """The train cell of a task that has one: all but some of the transfer protocol do."""
        assert self.train_cell is not None
        return self.train_cell


@dataclass(frozen=True)
class Scored:
    """What a protocol found on a task.

    Attributes
    ----------
    rows : list of dict
        One for each variant and metric; see `pipeline.probes.scoring.score_rows`.
    outcomes : pyarrow.Table
        Of every test image, see `pipeline.probes.scoring.outcome_table`; without rows where the
        protocol judges no images.
    """

    rows: list[dict[str, Any]]
    outcomes: pa.Table


Probe = Callable[[Task], Scored]


def judged(task: Task, outcomes: Sequence[Outcome]) -> Scored:
    """Outcomes on the task's val split, with their metrics."""
    labels = task.val.labels()
    rows = [
        row
        for outcome in outcomes
        for row in score_rows(
            outcome, labels, len(task.classes), task.train.manifest.rows, task.groups
        )
    ]
    return Scored(rows, outcome_table(outcomes))


def groups_of(index: Index, split: str) -> NDArray[np.str_] | None:
    """The group of each image of a split, "" for none; None where no image has one."""
    groups = index.groups(split)
    return groups if groups.astype(bool).any() else None


def read_features(cell: Cell) -> Features:
    """All rows of a cell, in float32.

    Raises
    ------
    NonFiniteError
        When one is NaN or infinite; names it.
    """
    features = cell.read().astype(np.float32)
    if not np.isfinite(features).all():
        row = int(np.argmax(~np.isfinite(features).all(axis=1)))
        raise NonFiniteError(
            str(cell.address),
            "a cached feature is not a finite number",
            found=f"row {row} ({cell.ids()[row]})",
            remedy="run `probeline cache verify --deep`, delete the cell that it names, "
            "and run `dvc repro`",
        )
    return features


def shape_of(task: Task) -> Shape:
    """Of a task's cells."""
    train = 0 if task.train_cell is None else task.train_cell.manifest.rows
    val = task.val.manifest
    return Shape(train, val.rows, val.columns, len(task.classes))
