"""Features that are read in pieces: a cell of the cache, or an array in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cache.cell import Cell
from cache.errors import NonFiniteError


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

    def take(self, rows: NDArray[np.integer]) -> NDArray[np.floating]:
        """A few rows: ndarray of shape (n_taken, n_features), as they are stored."""

    def describe(self, row: int) -> str:
        """A row, for a message to the user."""
        return f"row {row}"


@dataclass(frozen=True)
class CellBank(Bank):
    """A whole cell, read chunk by chunk."""

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
        return self.cell.chunk_bytes

    def chunks(self) -> Iterator[tuple[slice, NDArray[np.floating]]]:
        """Pairs (slice of rows, ndarray of shape (n_rows, n_features)), in order of rows."""
        return self.cell.chunks()

    def take(self, rows: NDArray[np.integer]) -> NDArray[np.floating]:
        """A few rows: ndarray of shape (n_taken, n_features), as they are stored."""
        return self.cell.take(rows)

    def describe(self, row: int) -> str:
        """A row, with its image, split, model and data set."""
        address = self.cell.address
        return (
            f"row {row} ({self.cell.ids()[row]}) of split {address.split}, "
            f"model {address.store.stem}, data set {address.store.parent.name}"
        )


@dataclass(frozen=True)
class ArrayBank(Bank):
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

    def take(self, rows: NDArray[np.integer]) -> NDArray[np.floating]:
        """A few rows: ndarray of shape (n_taken, n_features), as they are stored."""
        values: NDArray[np.floating] = self.values[rows]
        return values


def draw(
    bank: Bank, size: int, only: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.int32], NDArray[np.floating]]:
    """About evenly spread rows: one at random of each of `size` runs; the same in every call.

    Returns
    -------
    rows : ndarray of shape (n_drawn,), int32
        Ascending; all where there are no more.
    values : ndarray of shape (n_drawn, n_features)
        As stored.
    """
    numbers = np.arange(bank.rows) if only is None else np.flatnonzero(only)
    edges = np.linspace(0, len(numbers), min(size, len(numbers)) + 1).astype(np.int64)
    # Even steps could fall in with an order that repeats.
    places = np.random.default_rng(0).integers(edges[:-1], edges[1:])
    drawn = numbers[places].astype(np.int32)
    return drawn, bank.take(drawn)


def non_finite(bank: Bank, queries: Bank) -> NonFiniteError:
    """The error of a search that met NaN or infinity, which names the first such row.

    Parameters
    ----------
    bank, queries : Bank
        Read again, one after the other, up to that row.
    """
    rows = (each.describe(row) for each in (bank, queries) for row in _not_finite_rows(each))
    return NonFiniteError(
        "neighbour search",
        "a feature is NaN or infinite, or too large to be squared",
        found=next(rows, "no such stored value"),
        remedy="run `probeline cache verify --deep`, delete the cell that it names, "
        "and run `dvc repro`",
    )


def _not_finite_rows(bank: Bank) -> Iterator[int]:
    for rows, values in bank.chunks():
        yield from (rows.start + np.flatnonzero(~np.isfinite(values).all(axis=1))).tolist()
