"""Exact nearest neighbours, streamed over a bank that need not fit into memory.

All pairs are compared by one float32 product, from which each query keeps its best k + 32
candidates. Where float32 can't tell their order, or a distance's digits, the distance is taken
again from float64 differences of the stored values; where it can't tell whether a candidate is
missing, the query is searched again in float64, and as a last resort by differences from all rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import TypeVar

import numpy as np
import threadpoolctl
from numpy.typing import NDArray

from cache.errors import NonFiniteError, ProbelineError
from pipeline.banks import Bank
from pipeline.candidates import Candidates
from pipeline.preparation import Space
from pipeline.running import BAND, MOST_COLUMNS, ROOM, Running

MARGIN = 32
"""Candidates kept beyond k."""

PIECE = 1024
"""Bank rows compared at a time; a block of distances stays in the processor's cache."""

BLOCK = 512
"""Queries compared at a time by one thread."""

ROWS = 128
"""Rows widened to float64 at a time by one thread."""

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]
Indices = NDArray[np.int32]
Rows = NDArray[np.integer]
Mask = NDArray[np.bool_]
Raw = NDArray[np.floating]
Item = TypeVar("Item")


@dataclass(frozen=True)
class Neighbors:
    """The nearest rows of a bank, nearest first; equal distances in order of the bank.

    Attributes
    ----------
    distances : ndarray of shape (n_queries, k), float64
        Euclidean distance, or 1 - cosine, to 1e-5 (relative; most are within 1e-6); 0 for equal
        rows.
    indices : ndarray of shape (n_queries, k), int32
        Rows of the bank, those that an exhaustive search in float64 finds.
    """

    distances: Matrix
    indices: Indices


def nearest(
    bank: Bank,
    queries: Bank,
    k: int,
    metric: str,
    preparation: str = "none",
    *,
    own: Rows | None = None,
    only: Mask | None = None,
    memory: int | None = None,
    threads: int | None = None,
) -> Neighbors:
    """The k nearest rows of `bank` for every query.

    Parameters
    ----------
    bank : Bank
        The train split; statistics of the preparation come from all of its rows.
    queries : Bank
    k : int
    metric : {"euclidean", "cosine"}
    preparation : {"none", "l2", "zscore", "centered_l2"}
        See `pipeline.preparation.Space`.
    own : ndarray of shape (n_queries,), optional
        The bank row that each query is, left out of its neighbours (leave-one-out).
    only : ndarray of shape (n_bank,), bool, optional
        Bank rows to search; the others are nobody's neighbours.
    memory : int, optional
        Bytes that the search may take, its result included. Without it, all queries go through
        the bank in one pass. What an `ArrayBank` holds already is not counted.
    threads : int, optional
        By default as many as BLAS may use now.

    Raises
    ------
    ProbelineError
        When fewer than k rows can be neighbours, or the memory does not suffice.
    NonFiniteError
        When a feature is NaN or infinite.
    """
    _check(bank, queries, k, own, only)
    threads = threads or _blas_threads()
    size = _group_size(bank, queries, k, threads, memory)
    found = Neighbors(np.empty((queries.rows, k)), np.empty((queries.rows, k), np.int32))
    with threadpoolctl.threadpool_limits(1), ThreadPoolExecutor(threads) as pool:
        space = Space.fit(bank, preparation, metric)
        search = _Search(bank, space, k, only, pool, threads)
        for rows, raw in _groups(queries, size):
            squared, indices = search.run(raw, None if own is None else own[rows])
            found.distances[rows], found.indices[rows] = space.distance(squared), indices
    return found


@dataclass(frozen=True)
class _Search:
    """One bank in one space; each `run` takes a group of queries through it."""

    bank: Bank
    space: Space
    k: int
    only: Mask | None
    pool: ThreadPoolExecutor
    threads: int

    def run(self, raw: Raw, own: Rows | None) -> tuple[Matrix, Indices]:
        """Squared distances and rows of the bank, each of shape (n_queries, k)."""
        squared, indices, sure = self._pass(raw, own, np.float32)
        again = np.flatnonzero(~sure)
        if len(again):
            some = None if own is None else own[again]
            squared[again], indices[again], sure = self._pass(raw[again], some, np.float64)
            again = again[~sure & (squared[again, -1] > 0)]  # nothing is nearer than a copy
        if len(again):
            some = None if own is None else own[again]
            squared[again], indices[again] = self._compare_all(raw[again], some)
        return squared, indices

    def _pass(
        self, raw: Raw, own: Rows | None, dtype: type[np.floating]
    ) -> tuple[Matrix, Indices, Mask]:
        """All pairs in `dtype`; the last result is False where a neighbour may be missing."""
        scanned, lengths = self._scan(raw, own, dtype)
        squared = np.empty((len(raw), self.k))
        indices = np.empty((len(raw), self.k), np.int32)
        sure = np.empty(len(raw), np.bool_)
        parts: dict[int, tuple[Candidates, Mask]] = {}

        def sort(rows: slice) -> None:
            scores, columns = scanned.smallest(rows)
            doubled = 2.0 * scores + lengths[rows, np.newaxis]
            candidates = Candidates.of(doubled, columns, lengths[rows], dtype)
            parts[rows.start] = candidates, candidates.doubtful(self.k)

        def choose(rows: slice) -> None:
            candidates, doubtful = parts.pop(rows.start)
            pairs = slice(*np.searchsorted(query, [rows.start, rows.stop]))
            squared[rows], indices[rows], sure[rows] = candidates.best(
                doubtful, exact[pairs], self.k
            )

        blocks = self._blocks(len(raw))
        self._side_by_side(sort, blocks)
        ordered = [parts[rows.start] for rows in blocks]
        query = np.nonzero(np.concatenate([doubtful for _, doubtful in ordered]))[0]
        row = np.concatenate([candidates.rows[doubtful] for candidates, doubtful in ordered])
        exact = self._exact(raw, query, row)
        self._side_by_side(choose, blocks)
        return squared, indices, sure

    def _scan(self, raw: Raw, own: Rows | None, dtype: type[np.floating]) -> tuple[Running, Vector]:
        """Each query's best k + 32 scores |b|²/2 - ab, and |a|².

        A thread takes pieces of the bank in turn and compares each with all queries; the threads
        start at different blocks of queries, of which two rarely meet.
        """
        blocks = self._blocks(len(raw))
        points, lengths = self._points(raw, blocks, dtype)
        running = Running(len(raw), self.k + MARGIN, dtype)
        locks = [Lock() for _ in blocks]
        widest = max(rows.stop - rows.start for rows in blocks)

        def compare(worker: int, pieces: Iterator[tuple[Indices, Raw]]) -> None:
            first = worker * len(blocks) // self.threads
            turns = [*range(first, len(blocks)), *range(first)]
            # Fresh arrays for every product would cost a page fault for each 4 KiB.
            held = np.empty((PIECE, points.shape[1]), dtype)
            table = np.empty(widest * PIECE, dtype)
            with np.errstate(over="ignore", invalid="ignore"):  # searched again in float64
                for numbers, values in pieces:
                    piece = held[: len(numbers)]
                    piece[:, -1] = self._fill(values, piece[:, :-1]) / 2
                    for turn in turns:
                        rows = blocks[turn]
                        shape = rows.stop - rows.start, len(numbers)
                        scores = table[: shape[0] * shape[1]].reshape(shape)
                        np.matmul(points[rows], piece.T, out=scores)
                        if own is not None:
                            _leave_out(scores, own[rows], numbers)
                        with locks[turn]:
                            running.offer(rows, scores, numbers)

        self._share(compare, self._pieces())
        return running, lengths

    def _pieces(self) -> Iterator[tuple[Indices, Raw]]:
        """The rows to search, a piece at a time: their numbers and their stored values."""
        size = min(PIECE, max(128, self.bank.rows // (8 * self.threads)))
        for rows, values in self.bank.chunks():
            numbers = np.arange(rows.start, rows.stop, dtype=np.int32)
            if self.only is not None:
                kept = self.only[rows]
                numbers, values = numbers[kept], values[kept]
            for start in range(0, len(numbers), size):
                yield numbers[start : start + size], values[start : start + size]

    def _points(
        self, raw: Raw, blocks: list[slice], dtype: type[np.floating]
    ) -> tuple[Raw, Vector]:
        """Queries as factors of the product, -a and 1, and their squared lengths |a|²."""
        points = np.empty((len(raw), self.bank.columns + 1), dtype)
        squares = np.empty(len(raw))

        def fill(rows: slice) -> None:
            squares[rows] = self._fill(raw[rows], points[rows, :-1])
            np.negative(points[rows], out=points[rows])

        points[:, -1] = -1
        self._side_by_side(fill, blocks)
        return points, squares

    def _fill(self, values: Raw, points: Raw) -> Vector:
        """Put points about the centre into place, and return their squared lengths."""
        squares = np.empty(len(values))
        for start in range(0, len(values), ROWS):
            rows = slice(start, start + ROWS)
            squares[rows] = self.space.place(values[rows], points[rows])
        _require_finite(squares)
        return squares

    def _exact(self, raw: Raw, query: Rows, row: Rows) -> Vector:
        """Squared distances of pairs from float64 differences: ndarray of shape (n_pairs,)."""
        squared = np.empty(len(query))
        if not len(query):
            return squared
        order = np.argsort(row)
        ends = row[order]

        def measure(_: int, chunks: Iterator[tuple[slice, Raw]]) -> None:
            for rows, values in chunks:
                first, last = np.searchsorted(ends, [rows.start, rows.stop])
                for start in range(first, last, ROWS):
                    pairs = order[start : min(start + ROWS, last)]
                    theirs = self.space.prepare(values[row[pairs] - rows.start])
                    penalty = self.space.zero_penalty(theirs)
                    ours = self.space.prepare(raw[query[pairs]])
                    penalty += self.space.zero_penalty(ours)
                    ours -= theirs  # with a zero row: 2, but for the rounding of unit length
                    squared[pairs] = np.where(penalty > 0, 2.0, np.vecdot(ours, ours))

        self._share(measure, self.bank.chunks())
        return squared

    def _compare_all(self, raw: Raw, own: Rows | None) -> tuple[Matrix, Indices]:
        """As `run`, by differences from every row: for what no product can tell apart."""
        ours = self.space.prepare(raw)
        our_penalty = self.space.zero_penalty(ours)
        running = Running(len(raw), self.k, np.float64)
        blocks = self._blocks(len(raw))
        for numbers, values in self._pieces():
            theirs = self.space.prepare(values)
            penalty = self.space.zero_penalty(theirs)

            def compare(
                rows: slice,
                theirs: Matrix = theirs,
                penalty: Vector = penalty,
                numbers: Indices = numbers,
            ) -> None:
                squared = np.empty((rows.stop - rows.start, len(numbers)))
                for i, query in enumerate(range(rows.start, rows.stop)):
                    away = theirs - ours[query]
                    either = penalty + our_penalty[query] > 0
                    squared[i] = np.where(either, 2.0, np.vecdot(away, away))
                if own is not None:
                    _leave_out(squared, own[rows], numbers)
                running.offer(rows, squared, numbers)

            self._side_by_side(compare, blocks)
        return running.smallest(slice(0, len(raw)))

    def _blocks(self, length: int) -> list[slice]:
        """Slices of `range(length)`, at most `BLOCK` long and at least one for each thread."""
        size = max(1, min(BLOCK, -(-length // self.threads)))
        return [slice(start, min(start + size, length)) for start in range(0, length, size)]

    def _side_by_side(self, function: Callable[[slice], None], blocks: list[slice]) -> None:
        together = self.pool.map if len(blocks) > 1 and self.threads > 1 else map
        for _ in together(function, blocks):  # raises what a call raised
            pass

    def _share(
        self, function: Callable[[int, Iterator[Item]], None], items: Iterator[Item]
    ) -> None:
        """Call `function` once in each thread; each item goes to the one that asks next."""
        shared = _Shared(items)
        for _ in self.pool.map(lambda worker: function(worker, shared), range(self.threads)):
            pass


class _Shared(Iterator[Item]):
    """An iterator that threads may share."""

    def __init__(self, items: Iterator[Item]) -> None:
        self._items = items
        self._lock = Lock()

    def __next__(self) -> Item:
        with self._lock:
            return next(self._items)


def _leave_out(scores: Raw, own: Rows, numbers: Indices) -> None:
    """Put a query's own row out of reach, where it is among the columns."""
    place = np.minimum(np.searchsorted(numbers, own), len(numbers) - 1)
    found = np.flatnonzero(numbers[place] == own)
    scores[found, place[found]] = np.inf


def _groups(queries: Bank, size: int) -> Iterator[tuple[slice, Raw]]:
    """Queries in groups of `size`, across the borders of chunks."""
    held: list[Raw] = []
    start = 0
    for rows, values in queries.chunks():
        taken = 0
        while rows.start + taken < rows.stop:
            more = min(size - (rows.start + taken - start), len(values) - taken)
            held.append(values[taken : taken + more])
            taken += more
            stop = rows.start + taken
            if stop - start == size or stop == queries.rows:
                yield slice(start, stop), held[0] if len(held) == 1 else np.concatenate(held)
                held, start = [], stop


def _check(bank: Bank, queries: Bank, k: int, own: Rows | None, only: Mask | None) -> None:
    if bank.columns != queries.columns:
        raise ProbelineError(
            "neighbour search",
            "the queries have another number of features than the bank",
            expected=str(bank.columns),
            found=str(queries.columns),
        )
    if bank.rows > MOST_COLUMNS:
        raise ProbelineError(
            "neighbour search",
            "the bank has too many rows",
            expected=f"at most {MOST_COLUMNS:,}",
            found=f"{bank.rows:,}",
        )
    available = bank.rows if only is None else int(np.count_nonzero(only))
    if own is not None and (only is None or only[own].any()):
        available -= 1
    if not 1 <= k <= available:
        raise ProbelineError(
            "neighbour search",
            f"k = {k} neighbours of {available} train rows can't be found",
            expected=f"k from 1 to {available}",
            found=str(k),
            remedy="ask for fewer neighbours, or leave this data set out",
        )


def _require_finite(squares: Vector) -> None:
    wrong = np.flatnonzero(~np.isfinite(squares))
    if len(wrong):
        raise NonFiniteError(
            "neighbour search",
            f"{len(wrong)} rows hold NaN or infinity",
            remedy="`probeline cache verify --deep` names the cell",
        )


def _blas_threads() -> int:
    """What the caller's limits leave BLAS."""
    pools = [p["num_threads"] for p in threadpoolctl.threadpool_info() if p["user_api"] == "blas"]
    return max(pools, default=1)


def _group_size(bank: Bank, queries: Bank, k: int, threads: int, memory: int | None) -> int:
    """Queries that can be searched together in the allowed memory."""
    if memory is None:
        return queries.rows
    width, kept = 8 * (bank.columns + 1), k + MARGIN  # all as if in float64
    query = 2 * width + 16 * ROOM * kept + 96 * kept  # values and point, keys, candidates and pairs
    thread = (
        width * PIECE  # a piece of the bank, or its differences from a query
        + 8 * BLOCK * PIECE  # scores
        + BAND * (64 * PIECE + 16 * ROOM * kept)  # choosing from them
        + 8 * width * ROWS  # widening rows, or measuring pairs
        + bank.chunk_bytes
    )
    fixed = (
        (12 * k + 16) * queries.rows
        + 2 * (bank.chunk_bytes + queries.chunk_bytes)
        + 2 * width * PIECE  # statistics; the piece from which differences are taken
        + threads * thread
    )
    fewest = min(queries.rows, 64)
    if memory < fixed + fewest * query:
        raise ProbelineError(
            "neighbour search",
            "the allowed memory is too small",
            expected=f"at least {fixed + fewest * query:,} bytes",
            found=f"{memory:,} bytes",
            remedy="allow more memory, or ask for fewer neighbours",
        )
    return min(queries.rows, (memory - fixed) // query)
