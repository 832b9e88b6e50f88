"""One pass of queries over a bank on a GPU, or on the CPU, by torch.

Products are of full float32: TF32 would lose neighbours. The result is as good as NumPy's, because
`pipeline.neighbors.search` measures again what float32 leaves open, whoever multiplied.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.machine.devices import this_machine
from pipeline.neighbors.scanning import own_places, turns

Raw = NDArray[np.floating]
Rows = NDArray[np.integer]
Indices = NDArray[np.int32]
Vector = NDArray[np.float64]


class TorchScan:
    """The `pipeline.neighbors.scanning.Scan` of a torch device; parameters as of `NumpyScan`."""

    def __init__(
        self,
        points: Raw,
        own: Rows | None,
        kept: int,
        blocks: Sequence[slice],
        workers: int,
    ) -> None:
        self._device = this_machine().devices[0]
        self._points = torch.from_numpy(points).to(self._device)
        self._own, self._kept, self._blocks = own, kept, blocks
        shape = len(points), kept
        self._scores = torch.full(shape, torch.inf, dtype=self._points.dtype, device=self._device)
        self._rows = torch.full(shape, -1, dtype=torch.int32, device=self._device)
        self._locks = [Lock() for _ in blocks]
        self._order = [turns(len(blocks), worker, workers) for worker in range(workers)]

    def offer(self, worker: int, piece: Raw, numbers: Indices) -> None:
        """See `Scan`."""
        theirs = torch.from_numpy(piece).to(self._device)
        columns = torch.from_numpy(numbers).to(self._device)
        for turn in self._order[worker]:
            rows = self._blocks[turn]
            scores = self._points[rows] @ theirs.T
            if self._own is not None:
                places = own_places(self._own[rows], numbers)
                scores[tuple(torch.from_numpy(p).to(self._device) for p in places)] = torch.inf
            with self._locks[turn]:
                self._keep(rows, scores, columns)

    def smallest(self, rows: slice) -> tuple[Vector, Indices, Vector]:
        """See `Scan`."""
        scores, order = self._scores[rows].sort(dim=1)
        numbers = self._rows[rows].gather(1, order)
        numbers[scores.isinf()] = -1
        values = scores.double().cpu().numpy()
        return values, numbers.cpu().numpy(), values[:, -1].copy()

    def _keep(self, rows: slice, scores: Tensor, columns: Tensor) -> None:
        """Take the smallest of what is held and what is new; NaN counts as the largest."""
        both = torch.cat([self._scores[rows], scores], dim=1)
        numbers = torch.cat([self._rows[rows], columns.expand(len(scores), -1)], dim=1)
        self._scores[rows], places = both.topk(self._kept, dim=1, largest=False, sorted=False)
        self._rows[rows] = numbers.gather(1, places)


@contextmanager
def exact_products() -> Iterator[None]:
    """Full float32 on a GPU, and one thread for each thread that calls torch."""
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(precision)


def free_memory() -> int | None:
    """Bytes that are free on the GPU that searches; None on the CPU."""
    device = this_machine().devices[0]
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None
