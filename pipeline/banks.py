"""Features that are read in pieces: a cell of the cache, or an array in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cache.cell import Cell


class Bank(Protocol):
    """Rows of features that can be streamed any number of times, always in the same order."""

    @property
    def rows(self) -> int:
        """Number of samples."""

    @property
    def columns(self) -> int:
        """Number of features."""

    @property
    def chunk_bytes(self) -> int:
        """Memory that one chunk takes, as it is stored."""

    def chunks(self) -> Iterator[tuple[slice, NDArray[np.floating]]]:
        """Pairs (slice of rows, ndarray of shape (n_rows, n_features)), in order of rows."""


@dataclass(frozen=True)
class CellBank:
    """A whole cell, read chunk by chunk.

    Attributes
    ----------
    cell : Cell
    """

    cell: Cell

    @property
    def rows(self) -> int:
        """Number of samples."""
        return self.cell.manifest.rows

    @property
    def columns(self) -> int:
        """Number of features."""
        return self.cell.manifest.columns

    @property
    def chunk_bytes(self) -> int:
        """Memory that one chunk takes, as it is stored."""
        return self.cell.manifest.chunk_rows * self.columns * self.cell.dtype.itemsize

    def chunks(self) -> Iterator[tuple[slice, NDArray[np.floating]]]:
        """Pairs (slice of rows, ndarray of shape (n_rows, n_features)), in order of rows."""
        return self.cell.chunks()


@dataclass(frozen=True)
class ArrayBank:
    """An array that is in memory already.

    Attributes
    ----------
    values : ndarray of shape (n_samples, n_features)
        float16, float32 or float64.
    chunk_rows : int
        Rows handed out at a time; they are views.
    """

    values: NDArray[np.floating]
    chunk_rows: int = 4096

    @property
    def rows(self) -> int:
        """Number of samples."""
        return len(self.values)

    @property
    def columns(self) -> int:
        """Number of features."""
        return int(self.values.shape[1])

    @property
    def chunk_bytes(self) -> int:
        """Memory that one chunk takes beyond the array itself: none."""
        return 0

    def chunks(self) -> Iterator[tuple[slice, NDArray[np.floating]]]:
        """Pairs (slice of rows, ndarray of shape (n_rows, n_features)), in order of rows."""
        for start in range(0, self.rows, self.chunk_rows):
            rows = slice(start, min(start + self.chunk_rows, self.rows))
            yield rows, self.values[rows]
