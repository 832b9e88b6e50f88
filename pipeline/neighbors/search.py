"""Exact nearest neighbours, streamed over a bank that need not fit into memory.

All pairs are compared by one float32 product, from which each query keeps its best k + 32
candidates. Where float32 can't tell their order, or a distance's digits, the distance is taken
again from float64 differences of the stored values; where it can't tell whether a candidate is
missing, the query is searched again in float64, and as a last resort by differences from all rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cache.errors import NonFiniteError
from pipeline.neighbors import limits
from pipeline.neighbors.banks import Bank, draw, non_finite
from pipeline.neighbors.candidates import Candidates
from pipeline.neighbors.limits import check_search, group_size, longest_piece
from pipeline.neighbors.preparation import Space
from pipeline.neighbors.running import Running
from pipeline.neighbors.scanning import NumpyScan, Scan, own_places
from pipeline.neighbors.threads import Team, blas_threads, controller, even

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]
Indices = NDArray[np.int32]
Rows = NDArray[np.integer]
Mask = NDArray[np.bool_]
Raw = NDArray[np.floating]

_Piece = tuple[Indices, Raw, Rows]
"""Numbers of rows in the bank, a chunk of stored values, and the rows' places in it."""


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
    backend: str = "numpy",
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
        See `pipeline.neighbors.preparation.Space`.
    own : ndarray of shape (n_queries,), optional
        The bank row that each query is, left out of its neighbours (leave-one-out).
    only : ndarray of shape (n_bank,), bool, optional
        Bank rows to search; the others are nobody's neighbours.
    memory : int, optional
        Bytes that the search may take, its result included. Without it, all queries go through
        the bank in one pass. What an `ArrayBank` holds already is not counted.
    threads : int, optional
        By default as many as BLAS may use now.
    backend : {"numpy", "torch"}
        Of the float32 products: NumPy's BLAS, or torch on the device that the environment asks
        for, where they and the scores take about 4 (n_features + 4 k) bytes for each query. Both
        find the same.

    Raises
    ------
    ProbelineError
        When fewer than k rows can be neighbours, or the memory does not suffice.
    NonFiniteError
        When a feature is NaN or infinite; names it.
    """
    check_search(bank, queries, k, own, only)
    threads = threads or blas_threads()
    size = group_size(bank, queries, k, threads, memory)
    found = Neighbors(np.empty((queries.rows, k)), np.empty((queries.rows, k), np.int32))
    with ExitStack() as stack:
        stack.enter_context(controller().limit(limits=1))
        if backend == "torch":
            from pipeline.neighbors.torch_scanning import exact_products  # takes seconds to import

            stack.enter_context(exact_products(threads))
        team = Team(stack.enter_context(ThreadPoolExecutor(threads)), threads)
        try:
            sample = draw(bank, limits.SAMPLE, only)
            space = Space.fit(bank, preparation, metric, sample[1])
            search = _Search(bank, space, k, only, sample, team, backend)
            for rows, raw in _groups(queries, size):
                squared, indices = search.run(raw, None if own is None else own[rows])
                found.distances[rows], found.indices[rows] = space.distance(squared), indices
        except NonFiniteError:
            raise non_finite(bank, queries) from None
    return found


@dataclass(frozen=True)
class _Search:
    """One bank in one space; each `run` takes a group of queries through it."""

    bank: Bank
    space: Space
    k: int
    only: Mask | None
    sample: tuple[Indices, Raw]
    team: Team
    backend: str

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
        scan, lengths = self._scan(raw, own, dtype)
        squared = np.empty((len(raw), self.k))
        indices = np.empty((len(raw), self.k), np.int32)
        sure = np.empty(len(raw), np.bool_)
        parts: dict[int, tuple[Candidates, Mask]] = {}

        def sort(rows: slice) -> None:
            scores, columns, beyond = scan.smallest(rows)
            scores *= 2
            scores += lengths[rows, np.newaxis]
            candidates = Candidates.of(
                scores, columns, 2 * beyond + lengths[rows], lengths[rows], dtype
            )
            parts[rows.start] = candidates, candidates.doubtful(self.k)

        def choose(rows: slice) -> None:
            candidates, doubtful = parts.pop(rows.start)
            pairs = slice(*np.searchsorted(query, [rows.start, rows.stop]))
            squared[rows], indices[rows], sure[rows] = candidates.best(
                doubtful, exact[pairs], self.k
            )

        blocks = self._blocks(len(raw))
        self.team.side_by_side(sort, blocks)
        ordered = [parts[rows.start] for rows in blocks]
        query = np.nonzero(np.concatenate([doubtful for _, doubtful in ordered]))[0]
        row = np.concatenate([candidates.rows[doubtful] for candidates, doubtful in ordered])
        exact = self._exact(raw, query, row)
        self.team.side_by_side(choose, blocks)
        return squared, indices, sure

    def _scan(self, raw: Raw, own: Rows | None, dtype: type[np.floating]) -> tuple[Scan, Vector]:
        """Each query's best k + 32 scores |b|²/2 - ab, and |a|²."""
        blocks = self._blocks(len(raw))
        points, lengths = self._points(raw, blocks, dtype)
        scan: Scan
        wanted = self.only
        if dtype == np.float32 and self.backend == "torch":
            from pipeline.neighbors.torch_scanning import TorchScan

            scan = TorchScan(points, own, self.k + limits.MARGIN, self._available())
        else:
            scan = NumpyScan(
                points, own, self.k + limits.MARGIN, blocks, self.team.threads, self._longest
            )
            if dtype == np.float32 and self._available() >= 4 * limits.SAMPLE:
                wanted = self._begin(scan)

        def compare(worker: int, pieces: Iterator[_Piece]) -> None:
            held = np.empty((self._longest, points.shape[1]), dtype)
            with np.errstate(over="ignore", invalid="ignore"):  # searched again in float64
                for numbers, values, rows in pieces:
                    piece = held[: len(numbers)]
                    self._fill_piece(piece, values, rows)
                    scan.offer(worker, piece, numbers)

        self.team.share(compare, self._pieces(wanted))
        return scan, lengths

    def _begin(self, scan: NumpyScan) -> Mask:
        """Compare the sample, which says what to pass over; the rows that are left."""
        numbers, values = self.sample
        piece = np.empty((len(numbers), self.bank.columns + 1), np.float32)
        self._fill_piece(piece, values, np.arange(len(numbers)))
        wanted = np.ones(self.bank.rows, np.bool_) if self.only is None else self.only.copy()
        wanted[numbers] = False
        # So many of the wanted values are expected in the sample; five deviations more are safe.
        expected = (self.k + limits.MARGIN) * len(numbers) / self._available()
        rank = int(expected + 5 * np.sqrt(expected)) + 1
        self.team.side_by_side(lambda turn: scan.begin(turn, piece, numbers, rank), scan.turns)
        return wanted

    @property
    def _longest(self) -> int:
        return longest_piece(self.bank.columns)

    def _available(self) -> int:
        """Rows of the bank that are searched."""
        return self.bank.rows if self.only is None else int(np.count_nonzero(self.only))

    def _pieces(self, wanted: Mask | None) -> Iterator[_Piece]:
        """The rows to search, a piece at a time."""
        for chunk, values in self.bank.chunks():
            rows = np.arange(len(values)) if wanted is None else np.flatnonzero(wanted[chunk])
            for part in even(len(rows), self._longest, self.team.threads):
                yield (rows[part] + chunk.start).astype(np.int32), values, rows[part]

    def _points(
        self, raw: Raw, blocks: list[slice], dtype: type[np.floating]
    ) -> tuple[Raw, Vector]:
        """Queries as factors of the product, -a and 1, and their squared lengths |a|²."""
        points = np.empty((len(raw), self.bank.columns + 1), dtype)
        squares = np.empty(len(raw))

        def fill(rows: slice) -> None:
            squares[rows] = self._fill(points[rows, :-1], raw, np.arange(rows.start, rows.stop))
            np.negative(points[rows], out=points[rows])

        points[:, -1] = -1
        self.team.side_by_side(fill, blocks)
        return points, squares

    def _fill_piece(self, piece: Raw, values: Raw, rows: Rows) -> None:
        """Rows of the bank as factors of the product: b and |b|²/2."""
        piece[:, -1] = self._fill(piece[:, :-1], values, rows) / 2

    def _fill(self, points: Raw, values: Raw, rows: Rows) -> Vector:
        """Put points about the centre into place, and return their squared lengths."""
        squares = np.empty(len(rows))
        for start in range(0, len(rows), limits.ROWS):
            part = slice(start, start + limits.ROWS)
            squares[part] = self.space.place(values[rows[part]], points[part])
        if not np.isfinite(squares).all():
            raise NonFiniteError("neighbour search", "a feature is not a finite number")
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
                for start in range(first, last, limits.ROWS):
                    pairs = order[start : min(start + limits.ROWS, last)]
                    theirs = self.space.prepare(values[row[pairs] - rows.start])
                    penalty = self.space.zero_penalty(theirs)
                    ours = self.space.prepare(raw[query[pairs]])
                    penalty += self.space.zero_penalty(ours)
                    ours -= theirs  # with a zero row: 2, but for the rounding of unit length
                    squared[pairs] = np.where(penalty > 0, 2.0, np.vecdot(ours, ours))

        self.team.share(measure, self.bank.chunks())
        return squared

    def _compare_all(self, raw: Raw, own: Rows | None) -> tuple[Matrix, Indices]:
        """As `run`, by differences from every row: for what no product can tell apart."""
        ours = self.space.prepare(raw)
        our_penalty = self.space.zero_penalty(ours)
        running = Running(len(raw), self.k, np.float64)
        blocks = self._blocks(len(raw))
        for numbers, values, rows in self._pieces(self.only):
            theirs = self.space.prepare(values[rows])
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
                    squared[own_places(own[rows], numbers)] = np.inf
                running.offer(rows, squared, numbers)

            self.team.side_by_side(compare, blocks)
        squared, indices, _ = running.smallest(slice(0, len(raw)))
        return squared, indices

    def _blocks(self, length: int) -> list[slice]:
        """The queries that are compared together."""
        return even(length, limits.BLOCK, self.team.threads)


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
