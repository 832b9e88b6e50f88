"""A cell's rows in float32, checked, without holding them all."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cache.cell import Cell
from pipeline.heads.normalization import Features
from pipeline.probes.protocol import read_features


def read_parts(cell: Cell) -> Iterator[Features]:
    """All rows in order, a chunk at a time.

    Raises
    ------
    NonFiniteError
        When one is NaN or infinite; names it.
    """
    for _, values in cell.chunks():
        yield _checked(cell, values.astype(np.float32))


def read_rows(cell: Cell, rows: NDArray[np.int64]) -> Features:
    """Some rows; memory is theirs and one chunk's.

    Parameters
    ----------
    cell : Cell
    rows : ndarray of int64
        In ascending order.

    Raises
    ------
    NonFiniteError
        When one is NaN or infinite; names it.
    """
    read = np.empty((len(rows), cell.manifest.columns), np.float32)
    for held, values in cell.chunks():
        first, last = np.searchsorted(rows, [held.start, held.stop])
        read[first:last] = values[rows[first:last] - held.start]
    return _checked(cell, read)


def _checked(cell: Cell, values: Features) -> Features:
    if not np.isfinite(values).all():
        read_features(cell)  # which finds and names the row
    return values
