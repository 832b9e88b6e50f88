"""A cell's rows in float32, checked, without holding them all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cache.cell import Cell
from pipeline.heads.normalization import Features
from pipeline.heads.slabs import Rows, slabs
from pipeline.neighbors.banks import ArrayBank, Bank
from pipeline.probes.task import read_features


class CachedRows:
    """A cell's features in float32 as `pipeline.heads.slabs.Rows`: one chunk is held."""

    streamed = True
    dtype: type[np.floating] = np.float32

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self.shape = cell.manifest.rows, cell.manifest.columns
        self._held, self._values = slice(0, 0), np.empty((0, self.shape[1]), np.float32)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> Features:
        start, stop, _ = rows.indices(self.shape[0])
        read = np.empty((max(0, stop - start), self.shape[1]), np.float32)
        row = start
        while row < stop:
            if not self._held.start <= row < self._held.stop:
                self._values = self._values[:0]  # let go before the next one is read
                self._held, values = self._cell.chunk_with(row)
                self._values = _checked(self._cell, values)
            end = min(stop, self._held.stop)
            read[row - start : end - start] = self._values[
                row - self._held.start : end - self._held.start
            ]
            row = end
        return read


def rows_of(cell: Cell, *, streamed: bool) -> Rows:
    """All features of a cell in float32, in memory or read as they are needed."""
    return CachedRows(cell) if streamed else read_features(cell)


@dataclass(frozen=True)
class RowsBank(Bank):
    """Rows of features as a `Bank`."""

    features: Rows

    @property
    def rows(self) -> int:
        """Number of samples."""
        return len(self.features)

    @property
    def columns(self) -> int:
        """Number of features."""
        return int(self.features.shape[1])

    @property
    def chunk_bytes(self) -> int:
        """Memory that one slab takes."""
        rows = next(slabs(*self.features.shape))
        return 4 * self.columns * int(rows.stop)

    def chunks(self) -> Iterator[tuple[slice, NDArray[np.floating]]]:
        """Pairs (slice of rows, ndarray of shape (n_rows, n_features)), in order of rows."""
        for rows in slabs(*self.features.shape):
            yield rows, self.features[rows]

    def take(self, rows: NDArray[np.integer]) -> NDArray[np.floating]:
        """A few rows: ndarray of shape (n_taken, n_features)."""
        taken = [self.features[row : row + 1] for row in rows.tolist()]
        return np.concatenate([np.empty((0, self.columns), np.float32), *taken])


def bank_of(features: Rows) -> Bank:
    """To be searched, or to search for."""
    return ArrayBank(features) if isinstance(features, np.ndarray) else RowsBank(features)


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


def subsample(n: int, limit: int, seed: int) -> NDArray[np.int64]:
    """At most `limit` of n rows, drawn without replacement, in ascending order."""
    if n <= limit:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, limit, replace=False))


def _checked(cell: Cell, values: NDArray[np.floating]) -> NDArray[np.floating]:
    if not np.isfinite(values).all():
        read_features(cell)  # which finds and names the row
    return values
