"""Rows that were computed before a cell's first chunk, to decide how it is stored.

They lie beside the unfinished cell, in float32, and go into its chunks as if they had just been
computed: by whoever writes those, in whatever type.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cache.bundles import read_arrays, write_arrays
from cache.errors import CellCorruptError

NAME = "ahead.npz"
"""In the folder where a cell is built."""


@dataclass(frozen=True)
class Ahead:
    """Some of a cell's rows.

    Attributes
    ----------
    rows : ndarray of shape (n_rows,), int64
        Ascending.
    values : ndarray of shape (n_rows, n_features), float32
    seconds : float
        What computing one of them took.
    """

    rows: NDArray[np.int64]
    values: NDArray[np.float32]
    seconds: float = 0.0

    def inside(self, rows: slice) -> slice:
        """Which of them lie among some rows of the cell."""
        start, stop = np.searchsorted(self.rows, (rows.start, rows.stop)).tolist()
        return slice(start, stop)

    def write(self, partial: Path, cell: str) -> None:
        """Put them where the cell of that fingerprint is, or will be, built; durably."""
        path, seconds = partial / NAME, np.float64(self.seconds)
        write_arrays(path, rows=self.rows, values=self.values, seconds=seconds, cell=cell)


def nothing_ahead(columns: int) -> Ahead:
    """No row."""
    return Ahead(np.empty(0, np.int64), np.empty((0, columns), np.float32))


def read_ahead(partial: Path, cell: str, rows: int, columns: int) -> Ahead:
    """What lies there of a cell; nothing where that is no whole file of ours.

    Parameters
    ----------
    partial : Path
        Where it is, or will be, built.
    cell : str
        The fingerprint of its key.
    rows, columns : int
        Of the cell.
    """
    try:
        stored = read_arrays(partial / NAME)
        found = Ahead(stored["rows"], stored["values"], float(stored["seconds"]))
        if str(stored["cell"]) != cell:
            return nothing_ahead(columns)
    except (OSError, CellCorruptError, ValueError, KeyError, TypeError):
        return nothing_ahead(columns)
    usable = (
        found.rows.dtype == np.int64
        and found.values.dtype == np.float32
        and found.rows.ndim == 1
        and found.values.shape == (len(found.rows), columns)
        and (np.diff(found.rows) > 0).all()
        and (not len(found.rows) or (found.rows[0] >= 0 and found.rows[-1] < rows))
        and np.isfinite(found.values).all()
        and 0 <= found.seconds < np.inf
    )
    return found if usable else nothing_ahead(columns)
