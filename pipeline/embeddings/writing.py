"""The cells of one split that are being written, by one thread, from blocks of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cache.ahead import Ahead
from cache.cell import Cell
from cache.chunking import blocks
from cache.shared_writer import SharedCellWriter
from cache.storage import Storage
from cache.writer import CellWriter
from pipeline.datasets.former_cells import digests_of
from pipeline.datasets.index import Index
from pipeline.embeddings.assembling import Assembler
from pipeline.embeddings.cells import samples_of
from pipeline.embeddings.jobs import Job, Sharing
from pipeline.embeddings.loading import Batch
from pipeline.embeddings.running import Runner
from pipeline.machine.environment import wait_seconds
from pipeline.project.paths import cell_address

WRITES_AHEAD = 2
"""Chunks that may wait for the disk; bounds the memory when the disk is slower than the device."""

JOIN_SECONDS = 60
"""How long a shard waits for a lone process at the same cell, at least: it may be about to end."""


class Opener:
    """Opens the cells of one split, alone or together with other processes.

    Parameters
    ----------
    index : Index
    split : str
        With the number of the augmented view, if it is one.
    storage : {"float16", "float32"}
        Preferred stored type.
    sharing : Sharing, optional
    """

    def __init__(self, index: Index, split: str, storage: str, sharing: Sharing | None) -> None:
        of = samples_of(split)[0]
        self._dataset, self._split, self._sharing = index.name, split, sharing
        self.paths: list[str] = index.split(of)["path"].tolist()
        self._asked: dict[str, Any] = {
            "ids": self.paths,
            "labels": index.labels(of),
            "dtype": storage,
            "digests": digests_of(index, of),
        }

    def open(
        self, job: Job, storage: Storage | None = None, ahead: Ahead | None = None
    ) -> CellWriter:
        """A job's cell; what is decided and computed of it counts where it is not begun yet."""
        at = cell_address(self._dataset, job.name, self._split)
        asked = {**self._asked, "key": job.key, "columns": job.model.columns}
        asked |= {"storage": storage, "ahead": ahead}
        if self._sharing is None:
            return CellWriter(at, wait=wait_seconds(), **asked)
        wait = max(wait_seconds(), JOIN_SECONDS)
        return SharedCellWriter(at, mutex=self._sharing.mutex, wait=wait, **asked)


class Writers:
    """The open cells of one split, and the one thread that writes them.

    Parameters
    ----------
    opener : Opener
    jobs : sequence of Job
    held : mapping of str to list of Cell
        See `pipeline.embeddings.held.held_cells`.
    sharing : Sharing, optional
    """

    def __init__(
        self,
        opener: Opener,
        jobs: Sequence[Job],
        held: Mapping[str, list[Cell]],
        sharing: Sharing | None,
    ) -> None:
        self._sharing, self._paths = sharing, opener.paths
        self._pool = ThreadPoolExecutor(1, "write")
        self._pending: list[Future[None]] = []
        self._assemblers: list[Assembler] = []
        self._runner: Runner | None = None
        try:
            with nullcontext() if sharing is None else sharing.mutex.held():
                for job in jobs:
                    self._add(job, opener.open(job), held)
            self._runner = Runner(self._assemblers, self._paths)
        except BaseException:
            self.close()
            raise

    def _add(self, job: Job, cell: CellWriter, held: Mapping[str, list[Cell]]) -> None:
        try:
            self._assemblers.append(Assembler(job, cell, held, self._submit))
        except BaseException:
            cell.close()
            raise

    def __iter__(self) -> Iterator[Assembler]:
        return iter(self._assemblers)

    def rows_left(self) -> int:
        """How many images some cell misses and nothing holds."""
        masks = [assembler.rows_left() for assembler in self._assemblers]
        return int(np.count_nonzero(np.logical_or.reduce(masks)))

    def batches(self, size: int) -> Iterator[NDArray[np.int64]]:
        """Rows that some cell misses and nothing holds, ascending in each block, in batches.

        A block is begun, and claimed, when its first batch is asked for.
        """
        for block in self._blocks():
            for assembler in self._assemblers:
                assembler.begin(block)
            for part in self._parts(block):
                rows = np.arange(part.start, part.stop)
                masks = [assembler.needs(rows) for assembler in self._assemblers]
                wanted = rows[np.logical_or.reduce(masks)].astype(np.int64)
                yield from (wanted[start : start + size] for start in range(0, len(wanted), size))

    def _parts(self, block: slice) -> list[slice]:
        """What no batch goes beyond: the smallest chunk, so that a resumed run forms the same ones.

        Where rows are copied, few of a chunk may be left, and batches are filled from many.
        """
        if any(assembler.copies for assembler in self._assemblers):
            return [block]
        size = min(assembler.cell.chunk_rows for assembler in self._assemblers)
        return [slice(n, min(n + size, block.stop)) for n in range(block.start, block.stop, size)]

    def _blocks(self) -> list[slice]:
        """What is claimed together: whole chunks of every cell; all of it by who works alone."""
        rows = len(self._paths)
        if self._sharing is None:
            return [slice(0, rows)]
        parts = blocks(rows, (assembler.cell.chunk_rows for assembler in self._assemblers))
        return [parts[number] for number in self._sharing.shard.order(len(parts))]

    def take(self, rows: NDArray[np.int64], pixels: Batch) -> None:
        """See `Runner.take`."""
        assert self._runner is not None
        self._runner.take(rows, pixels)

    def wait(self) -> None:
        """Until all is computed and every chunk on disk; raises what a write raised."""
        assert self._runner is not None
        self._runner.finish()
        while self._pending:
            self._pending.pop(0).result()

    def close(self) -> None:
        """Finish or give up pending writes, and let go of all locks."""
        self._pool.shutdown(cancel_futures=True)
        if self._runner is not None:
            self._runner.close()
        for assembler in self._assemblers:
            assembler.cell.close()

    def _submit(self, write: Callable[..., None], *arguments: Any) -> None:
        while len(self._pending) >= WRITES_AHEAD:
            self._pending.pop(0).result()
        self._pending.append(self._pool.submit(write, *arguments))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
