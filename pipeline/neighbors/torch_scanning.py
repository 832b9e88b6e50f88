"""One pass of queries over a bank on a GPU, or on the CPU, by torch.

Products are of full float32: TF32 would lose neighbours. The result is as good as NumPy's, because
`pipeline.neighbors.search` measures again what float32 leaves open, whoever multiplied.

A device is idle while it is told what to do, so it gets much at once: rows of the bank are uploaded
once for all queries, into a piece of many thousands, and each piece is compared with as many
queries as a table of scores has room for. Of a table only what is below a query's limit is looked
at again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.machine.device_memory import Pieces
from pipeline.machine.devices import this_machine
from pipeline.neighbors import limits
from pipeline.neighbors.scanning import own_places

Raw = NDArray[np.floating]
Rows = NDArray[np.integer]
Indices = NDArray[np.int32]
Vector = NDArray[np.float64]


class TorchScan:
    """The `pipeline.neighbors.scanning.Scan` of a torch device.

    Parameters
    ----------
    points : ndarray of shape (n_queries, n_features + 1), float32
        Queries as factors of the product: -a and 1.
    own : ndarray of shape (n_queries,) or None
        The bank row that each query is, left out.
    kept : int
        Scores kept of each query.
    available : int
        Rows of the bank that are going to be offered.
    """

    def __init__(self, points: Raw, own: Rows | None, kept: int, available: int) -> None:
        self._device = this_machine().devices[0]
        self._points = torch.from_numpy(points).to(self._device)
        self._own, self._kept = own, kept
        n, width = points.shape
        self._scores = torch.full((n, kept), torch.inf, device=self._device)
        self._rows = torch.full((n, kept), -1, dtype=torch.int32, device=self._device)
        length = max(1, min(available, limits.DEVICE_PIECE, limits.DEVICE_BYTES // (4 * width)))
        self._piece = torch.empty((length, width), device=self._device)
        self._numbers = np.empty(length, np.int32)
        self._filled = 0
        self._queries = Pieces(max(1, limits.DEVICE_TABLE // length), "neighbour search")
        self._lock = Lock()
        self._found: tuple[Raw, Indices] | None = None

    def offer(self, worker: int, piece: Raw, numbers: Indices) -> None:
        """See `Scan`."""
        with self._lock:
            start = 0
            while start < len(numbers):
                part = slice(start, start + len(self._numbers) - self._filled)
                count = len(numbers[part])
                place = slice(self._filled, self._filled + count)
                self._piece[place].copy_(torch.from_numpy(piece[part]))
                self._numbers[place] = numbers[part]
                self._filled += count
                start += count
                if self._filled == len(self._numbers):
                    self._compare()

    def smallest(self, rows: slice) -> tuple[Vector, Indices, Vector]:
        """See `Scan`."""
        with self._lock:
            if self._found is None:
                self._compare()
                scores, order = self._scores.sort(dim=1)
                found = self._rows.gather(1, order).masked_fill(scores.isinf(), -1)
                self._found = scores.cpu().numpy(), found.cpu().numpy()
        values = self._found[0][rows].astype(np.float64)
        return values, self._found[1][rows], values[:, -1].copy()

    def _compare(self) -> None:
        """The piece, as far as it is filled, with all queries."""
        theirs, numbers = self._piece[: self._filled], self._numbers[: self._filled]
        if not self._filled:
            return
        columns = torch.from_numpy(numbers.copy()).to(self._device)
        left_out = None
        if self._own is not None:
            order = np.argsort(numbers)  # threads come in any order
            query, place = own_places(self._own, numbers[order])
            left_out = query, order[place]

        def some(rows: slice) -> None:
            scores = self._points[rows] @ theirs.T
            if left_out is not None:
                first, last = np.searchsorted(left_out[0], [rows.start, rows.stop])
                if first < last:
                    places = left_out[0][first:last] - rows.start, left_out[1][first:last]
                    scores[tuple(torch.from_numpy(p).to(self._device) for p in places)] = torch.inf
            self._keep(rows, scores, columns)

        self._queries.through(len(self._points), some)
        self._filled = 0

    def _keep(self, rows: slice, scores: Tensor, columns: Tensor) -> None:
        """Take the smallest of what is held and what is new; infinity and NaN are passed over."""
        few = scores <= self._scores[rows].amax(1, keepdim=True)
        counts = few.sum(1)
        width = int(counts.amax())  # here the device is waited for
        if not width:
            return
        if width > limits.FEW * self._kept:  # the first piece, or a query's own class
            count = min(self._kept, len(columns))
            best = scores.nan_to_num_(torch.inf, torch.inf, -torch.inf)
            new, places = best.topk(count, dim=1, largest=False, sorted=False)
            numbers = columns[places]
        else:
            query, column = few.nonzero(as_tuple=True)  # a query after the other
            begin = counts.cumsum(0) - counts
            place = torch.arange(len(query), device=self._device) - begin[query]
            new = torch.full((len(scores), width), torch.inf, device=self._device)
            numbers = torch.full_like(new, -1, dtype=torch.int32)
            new[query, place] = scores[query, column]
            numbers[query, place] = columns[column]
        both = torch.cat([self._scores[rows], new], dim=1)
        all_numbers = torch.cat([self._rows[rows], numbers], dim=1)
        best, places = both.topk(self._kept, dim=1, largest=False, sorted=False)
        found = all_numbers.gather(1, places)
        self._scores[rows], self._rows[rows] = best, found  # together: an attempt may have no room


@contextmanager
def exact_products(threads: int) -> Iterator[None]:
    """Full float32 on a GPU; on a CPU so many threads, as one thread at a time calls torch."""
    former, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_num_threads(former)
        torch.set_float32_matmul_precision(precision)


def free_memory() -> int | None:
    """Bytes that are free on the GPU that searches; None on the CPU."""
    device = this_machine().devices[0]
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None
