"""Neighbours by the backend that is asked for; here also by scikit-learn and cuML.

Those two are for comparison with our own search, which computes with NumPy or torch. The library
chooses candidates, a few more than are asked for; their distances and order come from float64
differences, as in `pipeline.neighbors.search`. scikit-learn is given float64 features; cuML float32
ones, so that its candidates may miss neighbours whose distances agree to 1e-3 (relative).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cache.errors import ProbelineError
from pipeline.machine.backends import require_cuml_size
from pipeline.machine.device_memory import Pieces
from pipeline.neighbors.banks import Bank, non_finite
from pipeline.neighbors.limits import MARGIN
from pipeline.neighbors.preparation import Space
from pipeline.neighbors.search import Neighbors, nearest

BLOCK_BYTES = 32 << 20
"""Differences that are held at a time."""

Matrix = NDArray[np.float64]
Rows = NDArray[np.integer]
Mask = NDArray[np.bool_]


def nearest_by(
    backend: str,
    bank: Bank,
    queries: Bank,
    k: int,
    metric: str,
    preparation: str,
    *,
    own: Rows | None = None,
    only: Mask | None = None,
    memory: int | None = None,
) -> Neighbors:
    """As `pipeline.neighbors.search.nearest`, by any backend.

    Parameters
    ----------
    backend : {"numpy", "sklearn", "torch", "cuml"}
        scikit-learn and cuML take all features into memory.

    Raises
    ------
    ProbelineError
        When the features do not fit into the allowed memory, or into cuML's counters.
    NonFiniteError
        When a feature is NaN or infinite; names it.
    """
    if backend in ("numpy", "torch"):
        options: dict[str, Any] = {"own": own, "only": only, "memory": memory}
        return nearest(bank, queries, k, metric, preparation, **options, backend=backend)
    _require_memory(bank, queries, k, memory)
    space = Space.fit(bank, preparation, metric)
    points, asked = _points(bank, space, 0), _points(queries, space, 1)
    if not (np.isfinite(points).all() and np.isfinite(asked).all()):
        raise non_finite(bank, queries)
    numbers = np.arange(bank.rows) if only is None else np.flatnonzero(only)
    most = min(k + MARGIN + (own is not None), len(numbers))
    candidates = numbers[_candidates(backend, points[numbers], asked, most)]
    squared = _squared_distances(points, asked, candidates)
    if own is not None:
        squared[candidates == own[:, np.newaxis]] = np.inf
    order = np.lexsort((candidates, squared), axis=1)[:, :k]
    squared = np.take_along_axis(squared, order, axis=1)
    indices = np.take_along_axis(candidates, order, axis=1).astype(np.int32)
    return Neighbors(space.distance(squared), indices)


def _points(bank: Bank, space: Space, side: int) -> Matrix:
    """Points about the centre, with two columns that keep rows of zeros at cosine distance 1.

    A row of zeros of the bank holds 1 in the first of them, one of the queries in the second:
    its squared distance from any unit vector, and from another such row, is 2.
    """
    points = np.zeros((bank.rows, bank.columns + 2))
    for rows, values in bank.chunks():
        exact = space.prepare(values)
        points[rows, bank.columns + side] = space.zero_penalty(exact)
        with np.errstate(invalid="ignore"):  # the caller refuses what is not finite
            points[rows, : bank.columns] = exact - space.centre
    return points


def _candidates(backend: str, points: Matrix, asked: Matrix, k: int) -> NDArray[np.int64]:
    """Rows of the bank for each query, in no reliable order: shape (n_queries, k)."""
    if backend == "cuml":
        from cuml.neighbors import NearestNeighbors

        for side in (points, asked):
            require_cuml_size("neighbour search", *side.shape)
        require_cuml_size("neighbour search: its neighbours", len(asked), k)
        points, asked = points.astype(np.float32), asked.astype(np.float32)
    else:
        from sklearn.neighbors import NearestNeighbors
    index = NearestNeighbors(n_neighbors=k, algorithm="brute", metric="euclidean").fit(points)
    pieces = Pieces(max(1, len(asked)), "neighbour search")
    found = pieces.through(
        len(asked), lambda rows: np.asarray(index.kneighbors(asked[rows], return_distance=False))
    )
    return np.concatenate([np.empty((0, k), np.int64), *found])


def _squared_distances(points: Matrix, asked: Matrix, candidates: NDArray[np.int64]) -> Matrix:
    """From differences, a block of queries at a time: shape of `candidates`."""
    squared = np.empty(candidates.shape)
    size = max(1, BLOCK_BYTES // (8 * candidates.shape[1] * points.shape[1]))
    for start in range(0, len(asked), size):
        rows = slice(start, start + size)
        away = points[candidates[rows]] - asked[rows, np.newaxis]
        squared[rows] = np.vecdot(away, away)
    return squared


def _require_memory(bank: Bank, queries: Bank, k: int, memory: int | None) -> None:
    needed = 24 * (bank.rows + queries.rows) * (bank.columns + 2)  # points, copies, the library's
    needed += 40 * queries.rows * (k + MARGIN + 1) + 2 * BLOCK_BYTES
    if memory is not None and needed > memory:
        raise ProbelineError(
            "neighbour search",
            "the features do not fit into memory, where this backend needs them",
            expected=f"at least {needed:,} bytes",
            found=f"{memory:,} bytes",
            remedy="set PROBELINE_BACKEND=neighbors:auto,transfer:auto: the program's own search "
            "reads them in pieces",
        )
