"""Running a protocol over all cells of a study: only the records that are missing or stale."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cache.cell import Cell
from cache.errors import NonFiniteError
from cache.records import is_current_record, write_record
from pipeline.cells import open_cells
from pipeline.index import read_index
from pipeline.normalization import Features
from pipeline.parallel import run_all
from pipeline.paths import record_path
from pipeline.records import record_key
from pipeline.scoring import Outcome, outcome_table, score_rows
from pipeline.study import Section, Study

Probe = Callable[[Features, NDArray[np.int64], Features, NDArray[np.int64], int], list[Outcome]]
"""(train, train labels, val, val labels, number of classes) -> outcomes, one per variant."""


def run_protocol(study: Study, protocol: str, settings: Section, probe: Probe) -> tuple[int, int]:
    """Score every cell of the study.

    Returns
    -------
    cached, computed : int
        Records found current, and records made.

    Raises
    ------
    ProbelineError
        When a cell is not what the study asks for; earlier records stay.
    """
    pending = []
    for dataset in study.datasets:
        index = read_index(dataset)
        for model in study.models:
            train, val = open_cells(study, index, model)
            key = record_key(protocol, settings, train, val)
            path = record_path(protocol, dataset, model)
            if not is_current_record(path, key):
                pending.append((probe, key, path, len(index.classes), train, val))
    run_all(
        _score_cell,
        pending,
        name=protocol,
        cell_bytes=max(
            (c[4].manifest.rows * c[4].manifest.columns * 4 for c in pending), default=0
        ),
    )
    total = len(study.datasets) * len(study.models)
    return total - len(pending), len(pending)


def _score_cell(
    probe: Probe, key: dict[str, Any], path: Path, n_classes: int, train: Cell, val: Cell
) -> None:
    """Run a probe on one cell and store its record."""
    labels = val.labels()
    outcomes = probe(_features(train), train.labels(), _features(val), labels, n_classes)
    rows = [
        row
        for outcome in outcomes
        for row in score_rows(outcome, labels, n_classes, train.manifest.rows)
    ]
    write_record(path, key=key, scores=rows, outcomes=outcome_table(outcomes))


def _features(cell: Cell) -> Features:
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
