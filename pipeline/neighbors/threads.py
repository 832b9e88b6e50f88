"""Threads that share the work of one search."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from threading import Lock
from typing import TypeVar

import threadpoolctl

Item = TypeVar("Item")


@dataclass(frozen=True)
class Team:
    """A pool of so many threads."""

    pool: ThreadPoolExecutor
    threads: int

    def side_by_side(self, function: Callable[[Item], None], blocks: Sequence[Item]) -> None:
        """Call `function` with each block."""
        together = self.pool.map if len(blocks) > 1 and self.threads > 1 else map
        for _ in together(function, blocks):  # raises what a call raised
            pass

    def share(self, function: Callable[[int, Iterator[Item]], None], items: Iterator[Item]) -> None:
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


def even(length: int, most: int, threads: int) -> list[slice]:
    """Slices of `range(length)`, at most `most` (a multiple of 8) long, as many for each thread."""
    count = -(-max(1, -(-length // most)) // threads) * threads
    size = 8 * -(-length // (8 * count))
    return [slice(start, min(start + size, length)) for start in range(0, length, size or 1)]


@cache
def controller() -> threadpoolctl.ThreadpoolController:
    """Of NumPy's BLAS; found once, because listing the loaded libraries takes milliseconds."""
    return threadpoolctl.ThreadpoolController()


def blas_threads() -> int:
    """What the caller's limits leave BLAS."""
    pools = [p["num_threads"] for p in controller().info() if p["user_api"] == "blas"]
    return max(pools, default=1)
