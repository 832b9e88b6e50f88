"""Extraction: one pass over the decoded images of a data set for all models that lack cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cache.errors import NonFiniteError, ProbelineError
from cache.writer import CellWriter
from pipeline.devices import Machine
from pipeline.forward import Forward
from pipeline.index import Index, entries_of
from pipeline.loading import BatchLoader
from pipeline.models import LoadedModel
from pipeline.paths import cell_address
from pipeline.progress import Progress
from pipeline.roots import Root

WRITES_AHEAD = 2
"""Chunks that may wait for the disk; bounds the memory when the disk is slower than the device."""


@dataclass(frozen=True)
class Job:
    """One model to run on one split.

    Attributes
    ----------
    name : str
        The model's, for messages and paths.
    model : LoadedModel
    forward : Forward
    key : dict
        The cell's key.
    """

    name: str
    model: LoadedModel
    forward: Forward
    key: dict[str, Any]


@dataclass(frozen=True)
class Written:
    """A cell that is now whole.

    Attributes
    ----------
    seconds : float
        Spent in this model's forward passes, by earlier interrupted runs too.
    remarks : tuple of str
        What the cell says of itself, e.g. why it is stored in float32.
    """

    seconds: float
    remarks: tuple[str, ...]


def extract_split(
    index: Index, split: str, root: Root, jobs: Sequence[Job], machine: Machine, storage: str
) -> dict[str, Written]:
    """Compute and commit the cells of one split.

    Every image is read and decoded once, resized once per distinct geometry, and run through
    every model that still misses the chunk it belongs to. Batches are cut at multiples of the
    batch size, which divides every chunk, so that a resumed run forms the same batches.

    Parameters
    ----------
    index : Index
    split : str
    root : Root
        Where the images are.
    jobs : sequence of Job
    machine : Machine
    storage : {"float16", "float32"}
        Preferred stored type.

    Returns
    -------
    dict of str to Written
        By model name.

    Raises
    ------
    ProbelineError
        On a bad image, a value that is not finite, a full disk, or a cell that another process
        is writing. What was committed stays and is not computed again.
    """
    samples = index.split(split)
    loader = BatchLoader(
        root,
        entries_of(samples),
        list(dict.fromkeys(job.model.transform.geometry for job in jobs)),
        machine.workers,
    )
    with Writers(index, split, jobs, storage) as writers:
        while not all(writer.commit_if_whole() for writer in writers):
            _one_pass(index, split, loader, writers, machine.batch_size)
        return {w.job.name: Written(w.cell.seconds, w.cell.remarks) for w in writers}


def _one_pass(index: Index, split: str, loader: BatchLoader, writers: Writers, size: int) -> None:
    rows = len(index.split(split))
    wanted = sorted({start for w in writers for start in w.missing_batches(size)})
    batches = [slice(start, min(start + size, rows)) for start in wanted]
    with Progress(
        f"extract {index.name} {split}", sum(b.stop - b.start for b in batches), "images"
    ) as progress:
        for batch, pixels in loader.batches(batches):
            for writer in writers:
                writer.take(batch, pixels[writer.job.model.transform.geometry])
            progress.advance(batch.stop - batch.start)
    writers.wait()


class _Assembler:
    """Collects one model's batches into chunks and hands whole chunks to the writer thread."""

    def __init__(
        self, job: Job, cell: CellWriter, submit: Callable[..., None], samples: Any
    ) -> None:
        self.job, self.cell = job, cell
        self._submit, self._samples = submit, samples
        self._missing = set(cell.missing)
        self._chunk: NDArray[np.float32] | None = None
        self._since = job.forward.seconds

    def missing_batches(self, size: int) -> Iterator[int]:
        """First rows of the batches that the missing chunks need."""
        self._missing = set(self.cell.missing)
        for chunk in self._missing:
            rows = self.cell.rows_of(chunk)
            yield from range(rows.start, rows.stop, size)

    def take(self, batch: slice, pixels: NDArray[np.uint8]) -> None:
        """Run a batch if its chunk is missing; submit the chunk when it is full."""
        chunk = batch.start // self.cell.chunk_rows
        if chunk not in self._missing:
            return
        rows = self.cell.rows_of(chunk)
        if batch.start == rows.start:
            self._chunk = np.empty((rows.stop - rows.start, self.cell.columns), np.float32)
            self._since = self.job.forward.seconds
        assert self._chunk is not None  # batches come in order, whole chunks at a time
        self._chunk[batch.start - rows.start : batch.stop - rows.start] = self.job.forward(pixels)
        if batch.stop == rows.stop:
            seconds = self.job.forward.seconds - self._since
            self._submit(self._write, chunk, self._chunk, seconds)
            self._chunk = None

    def commit_if_whole(self) -> bool:
        """Whether the cell is in place; False when chunks are (again) missing."""
        return not self.cell.missing and self.cell.commit()

    def _write(self, chunk: int, values: NDArray[np.float32], seconds: float) -> None:
        try:
            self.cell.write(chunk, values, seconds)
        except NonFiniteError as error:
            raise ProbelineError(
                f"model {self.job.name} on {self._samples['path'].iloc[error.row]}",
                "the model's feature is not a finite number",
                found=error.found,
                remedy="check the weights; with half-precision compute, set "
                "`extraction.precision: float32`",
            ) from None


class Writers:
    """The open cells of one pass, and the one thread that writes them."""

    def __init__(self, index: Index, split: str, jobs: Sequence[Job], storage: str) -> None:
        samples = index.split(split)
        self._pool = ThreadPoolExecutor(1, "write")
        self._pending: list[Future[None]] = []
        self._assemblers: list[_Assembler] = []
        try:
            for job in jobs:
                cell = CellWriter(
                    cell_address(index.name, job.name, split),
                    key=job.key,
                    ids=samples["path"].tolist(),
                    labels=index.labels(split),
                    columns=job.model.columns,
                    dtype=storage,
                )
                self._assemblers.append(_Assembler(job, cell, self._submit, samples))
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[_Assembler]:
        return iter(self._assemblers)

    def wait(self) -> None:
        """Until every submitted chunk is on disk; raises what a write raised."""
        while self._pending:
            self._pending.pop(0).result()

    def close(self) -> None:
        """Finish or give up pending writes, and let go of all locks."""
        self._pool.shutdown(cancel_futures=True)
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
