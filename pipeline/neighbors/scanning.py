"""One pass of queries over a bank: each query's smallest scores |b|²/2 - ab, by NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.neighbors.running import Running

Raw = NDArray[np.floating]
Rows = NDArray[np.integer]
Indices = NDArray[np.int32]
Vector = NDArray[np.float64]


class Scan(Protocol):
    """Takes pieces of a bank in any order, from several threads at once."""

    def offer(self, worker: int, piece: Raw, numbers: Indices) -> None:
        """Compare a piece with all queries.

        Parameters
        ----------
        worker : int
            Number of the calling thread, from 0.
        piece : ndarray of shape (n_rows, n_features + 1)
            Points b of the bank, and |b|²/2.
        numbers : ndarray of shape (n_rows,)
            Their rows in the bank, ascending.
        """

    def smallest(self, rows: slice) -> tuple[Vector, Indices, Vector]:
        """As `pipeline.neighbors.running.Running.smallest`."""


class NumpyScan:
    """The `Scan` of BLAS products.

    A thread compares its piece with one block of queries after the other; the threads start at
    different blocks, of which two rarely meet.

    Parameters
    ----------
    points : ndarray of shape (n_queries, n_features + 1), float32 or float64
        Queries as factors of the product: -a and 1.
    own : ndarray of shape (n_queries,) or None
        The bank row that each query is, left out.
    kept : int
        Scores kept of each query.
    blocks : sequence of slice
        Of the queries.
    workers : int
        Threads that offer.
    longest : int
        Most rows of a piece.
    """

    def __init__(
        self,
        points: Raw,
        own: Rows | None,
        kept: int,
        blocks: Sequence[slice],
        workers: int,
        longest: int,
    ) -> None:
        self._points, self._own, self._blocks = points, own, blocks
        self._running = Running(len(points), kept, points.dtype.type)
        self._locks = [Lock() for _ in blocks]
        self.turns = range(len(blocks))
        self._order = [turns(len(blocks), worker, workers) for worker in range(workers)]
        tallest = max(rows.stop - rows.start for rows in blocks)
        # Fresh arrays for every product would cost a page fault for each 4 KiB.
        self._tables = [np.empty(tallest * longest, points.dtype) for _ in range(workers)]

    def begin(self, turn: int, piece: Raw, numbers: Indices, rank: int) -> None:
        """Compare a sample of the bank with a block of queries, before all else.

        Parameters
        ----------
        turn : int
            Number of the block.
        piece, numbers
            As of `offer`.
        rank : int
            See `Running.offer`.
        """
        rows = self._blocks[turn]
        table = np.empty((rows.stop - rows.start) * len(numbers), piece.dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            self._running.offer(rows, self._scores(rows, piece, numbers, table), numbers, rank)

    def offer(self, worker: int, piece: Raw, numbers: Indices) -> None:
        """See `Scan`."""
        for turn in self._order[worker]:
            rows = self._blocks[turn]
            scores = self._scores(rows, piece, numbers, self._tables[worker])
            with self._locks[turn]:
                self._running.offer(rows, scores, numbers)

    def smallest(self, rows: slice) -> tuple[Vector, Indices, Vector]:
        """See `Scan`."""
        return self._running.smallest(rows)

    def _scores(self, rows: slice, piece: Raw, numbers: Indices, table: Raw) -> Raw:
        shape = rows.stop - rows.start, len(numbers)
        scores = table[: shape[0] * shape[1]].reshape(shape)
        np.matmul(self._points[rows], piece.T, out=scores)
        if self._own is not None:
            scores[own_places(self._own[rows], numbers)] = np.inf
        return scores


def turns(blocks: int, worker: int, workers: int) -> list[int]:
    """The order in which a thread goes through the blocks of queries."""
    first = worker * blocks // workers
    return [*range(first, blocks), *range(first)]


def own_places(own: Rows, numbers: Indices) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Where a query meets its own row: queries and columns.

    Parameters
    ----------
    own : ndarray of shape (n_queries,)
    numbers : ndarray of shape (n_columns,), ascending
    """
    column = np.minimum(np.searchsorted(numbers, own), len(numbers) - 1)
    query = np.flatnonzero(numbers[column] == own)
    return query, column[query]
