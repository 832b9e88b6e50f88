"""Extraction: one pass over the decoded images of a data set for all models that lack cells."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from cache.cell import Cell, CellAddress
from cache.errors import NonFiniteError
from cache.lock import Mutex
from cache.rows import planned
from cache.shared_writer import SharedCellWriter
from cache.writer import CellWriter
from pipeline.datasets.former_cells import digests_of
from pipeline.datasets.index import Index
from pipeline.datasets.roots import Root
from pipeline.embeddings.cells import samples_of
from pipeline.embeddings.forward import Forward, Started, finish
from pipeline.embeddings.loading import Batch, BatchLoader, Pixels
from pipeline.embeddings.reuse import candidates, held_cells
from pipeline.embeddings.uploads import Uploaded, memory_for
from pipeline.machine.devices import Machine
from pipeline.machine.environment import wait_seconds
from pipeline.machine.progress import Progress
from pipeline.machine.shards import Shard
from pipeline.models.networks import LoadedModel
from pipeline.project.paths import cell_address

WRITES_AHEAD = 2
"""Chunks that may wait for the disk; bounds the memory when the disk is slower than the device."""

LOOK_SECONDS = 1.0
"""Between two looks at chunks that other shards compute."""

JOIN_SECONDS = 60
"""How long a shard waits for a lone process at the same cell, at least: it may be about to end."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sharing:
    """How several processes extract a data set together.

    Attributes
    ----------
    shard : Shard
        Which of them this one is.
    mutex : Mutex
        Of the data set, see `cache.shared_writer`.
    patient : bool
        Whether to wait for chunks that others compute, to take over those of who is killed.
    """

    shard: Shard
    mutex: Mutex
    patient: bool


@dataclass(frozen=True)
class Job:
    """One model to run on one split.

    Attributes
    ----------
    name : str
        The model's, for messages and paths.
    model : LoadedModel
    forward : Forward
        The network on its device; jobs that take other features of the same network share it.
    key : dict
        The cell's key.
    view : int
        Number of the augmented view; 0 is the evaluation crop.
    """

    name: str
    model: LoadedModel
    forward: Forward
    key: dict[str, Any]
    view: int = 0

    @property
    def pixels(self) -> Pixels:
        """What is done to a decoded image for this job."""
        return self.model.transform.pixels(self.view)


@dataclass(frozen=True)
class Written:
    """A cell that is about to be whole.

    Attributes
    ----------
    seconds : float
        Spent in this model's forward passes, by earlier interrupted runs too.
    remarks : tuple of str
        What the cell says of itself, e.g. why it is stored in float32.
    copied : mapping of str to int
        Rows that other cells held already, by cell; all others were computed.
    """

    seconds: float
    remarks: tuple[str, ...]
    copied: Mapping[str, int] = field(default_factory=dict)


Record = Callable[[str, str, "Written"], None]
"""Told of a split, a model's name and its cell, before that cell is put in place."""


def extract_splits(
    index: Index,
    jobs: Mapping[str, Sequence[Job]],
    root: Root,
    machine: Machine,
    storage: str,
    record: Record,
    sharing: Sharing | None = None,
) -> int:
    """Compute and commit cells of a data set.

    Rows that other cells hold are copied. Every other image of a split is read and decoded once,
    resized once per distinct geometry, and run through every model that still misses it. Where
    nothing is copied, batches are cut at multiples of the batch size, which divides every chunk, so
    that a resumed run forms the same batches.

    Parameters
    ----------
    index : Index
    jobs : mapping of str to sequence of Job
        By split.
    root : Root
        Where the images are.
    machine : Machine
    storage : {"float16", "float32"}
        Preferred stored type.
    record : callable
        See `Record`. A cell that is whole has its record: killed in between, the next run goes on
        with both.
    sharing : Sharing, optional
        With other processes, block of images by block. Who is not patient may leave cells that
        others are to finish.

    Returns
    -------
    int
        Chunks that were written here.

    Raises
    ------
    ProbelineError
        On a bad image, a value that is not finite, a full disk, or a cell that another process
        is writing. What was committed stays and is not computed again.
    """
    held = held_cells([job.key for of_split in jobs.values() for job in of_split])
    parts = [jobs] if any(held.values()) else [{split: some} for split, some in jobs.items()]
    return sum(
        _together(index, part, root, machine, storage, held, record, sharing) for part in parts
    )


def _together(
    index: Index,
    jobs: Mapping[str, Sequence[Job]],
    root: Root,
    machine: Machine,
    storage: str,
    held: Mapping[str, list[Cell]],
    record: Record,
    sharing: Sharing | None,
) -> int:
    """Splits that may copy from cells that others replace: those go when no row is missing."""
    with ExitStack() as all_open:
        splits = {
            split: all_open.enter_context(Writers(index, split, of_split, storage, held, sharing))
            for split, of_split in jobs.items()
        }
        left = [writer for writers in splits.values() for writer in writers]
        cells = [writer.cell for writer in left]
        waited = False
        while left:
            begun = 0
            for split, writers in splits.items():
                if any(writer.cell.missing for writer in writers):
                    begun += _one_pass(index, split, root, writers, machine)
                for cell in cells:
                    cell.refresh()
                for writer in [w for w in writers if w in left]:
                    needed = any(other.needs_cell(writer) for other in left)
                    if not (needed or writer.cell.missing) and _put_in_place(split, writer, record):
                        left.remove(writer)
            if left and sharing is not None and not begun:
                if not sharing.patient:
                    break
                if not waited:
                    _log.warning("%s: waiting for chunks that other shards compute", index.name)
                waited = True
                time.sleep(LOOK_SECONDS)
        return sum(cell.own for cell in cells)


def _put_in_place(split: str, writer: _Assembler, record: Record) -> bool:
    """Record and commit a cell; False where it turns out to need float32."""
    with writer.cell.in_turn():
        if writer.cell.missing:
            return False
        if not writer.cell.finished:  # else another process has recorded it
            record(split, writer.job.name, writer.written)
        return writer.cell.commit()


def _one_pass(index: Index, split: str, root: Root, writers: Writers, machine: Machine) -> int:
    """Compute what is missing, and is not claimed by others; the chunks that were begun."""
    loader = BatchLoader(
        root,
        index.split(samples_of(split)[0]),
        list(dict.fromkeys(writer.job.pixels for writer in writers)),
        machine.workers,
        pad=index.pad,
        seeds=index.seeds,
        white=index.white,
        memory=memory_for(machine.devices),
    )
    for writer in writers:
        writer.begin_pass()
    with Progress(f"extract {index.name} {split}", writers.rows_left(), "images") as progress:
        for batch, pixels in loader.batches(writers.batches(machine.batch_size)):
            writers.take(batch, pixels)
            progress.advance(len(batch))
    writers.wait()
    return sum(writer.begun for writer in writers)


@dataclass
class _Chunk:
    """A chunk whose computed rows are being collected."""

    rows: NDArray[np.int64]
    values: NDArray[np.float32] | None = None
    filled: int = 0
    seconds: float = 0.0


class _Assembler:
    """Collects one model's rows into chunks and hands whole chunks to the writer thread.

    Attributes
    ----------
    begun : int
        Chunks that were taken up in this pass.
    """

    def __init__(
        self,
        job: Job,
        cell: CellWriter,
        held: Mapping[str, list[Cell]],
        submit: Callable[..., None],
    ) -> None:
        self.job, self.cell, self._held, self._submit = job, cell, held, submit
        self._chunks: dict[int, _Chunk] = {}
        self._wanted = np.zeros(cell.rows, bool)
        self.begun = 0
        self._plan_rows()

    def _plan_rows(self) -> None:
        around = candidates(self._held, self.job.key, self.cell.address)
        with self.cell.in_turn():  # all processes follow one plan
            self._dtype = self.cell.dtype
            self._plan = planned(self.cell, around)

    def needs_cell(self, other: _Assembler) -> bool:
        """Whether rows that are still missing are to be copied from what `other` will replace."""
        return other is not self and bool(self.cell.missing) and self._plan.uses(other.cell.address)

    @property
    def written(self) -> Written:
        """What became of the cell."""
        return Written(self.cell.seconds, self.cell.remarks, self.cell.copied)

    def begin_pass(self) -> None:
        """Before the images are gone through."""
        if self.cell.dtype != self._dtype:  # it needs float32, and began anew
            self._plan_rows()
        self._chunks = {}
        self._wanted[:] = False
        self.begun = 0

    def rows_left(self) -> NDArray[np.bool_]:
        """Which rows are missing and held by no other cell."""
        left = np.zeros(self.cell.rows, bool)
        for chunk in self.cell.missing:
            span = self.cell.rows_of(chunk)
            left[span] = self._plan.computed[span]
        return left

    def begin(self, block: slice) -> None:
        """Take up the missing chunks of some rows that no other process is at.

        Those that are copied as a whole are submitted at once.
        """
        for chunk in self.cell.missing:
            span = self.cell.rows_of(chunk)
            if not block.start <= span.start < block.stop or not self.cell.claim(chunk):
                continue
            self.begun += 1
            rows = span.start + np.flatnonzero(self._plan.computed[span])
            self._wanted[rows] = True
            if len(rows):
                self._chunks[chunk] = _Chunk(rows)
            else:
                self._submit(self._write, chunk, _Chunk(rows))

    def needs(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of these rows are to be computed."""
        return self._wanted[rows]

    def take(self, rows: NDArray[np.int64], features: NDArray[np.float32], seconds: float) -> None:
        """Put rows' features into their chunks; submit each chunk whose last row it was."""
        chunks = rows // self.cell.chunk_rows
        for chunk in np.unique(chunks).tolist():
            here, part = chunks == chunk, self._chunks[chunk]
            count = int(here.sum())
            if part.values is None:
                part.values = np.empty((len(part.rows), self.cell.columns), np.float32)
            part.values[part.filled : part.filled + count] = features[here]  # rows come in order
            part.filled += count
            part.seconds += seconds * count / len(rows)
            if part.filled == len(part.rows):
                self._submit(self._write, chunk, self._chunks.pop(chunk))

    def _write(self, chunk: int, part: _Chunk) -> None:
        """In the writer thread."""
        span = self.cell.rows_of(chunk)
        if part.values is not None and len(part.rows) == span.stop - span.start:
            self.cell.write(chunk, part.values, part.seconds)
            return
        values = np.empty((span.stop - span.start, self.cell.columns), np.float32)
        if part.values is not None:
            values[part.rows - span.start] = part.values
        copied, rounded = self._plan.copy_into(values, span)
        self.cell.write(chunk, values, part.seconds, copied=copied, rounded=rounded)


@dataclass(frozen=True)
class _Pass:
    """One network's forward pass on the rows of a batch that some of its jobs miss."""

    assemblers: Sequence[_Assembler]
    masks: Sequence[NDArray[np.bool_]]
    started: Started

    @classmethod
    def start(
        cls, assemblers: Sequence[_Assembler], rows: NDArray[np.int64], batch: Uploaded
    ) -> _Pass:
        masks = [assembler.needs(rows) for assembler in assemblers]
        images = batch.images(assemblers[0].job.pixels, np.logical_or.reduce(masks))
        kinds = dict.fromkeys(a.job.model.feature for a in assemblers)
        return cls(assemblers, masks, assemblers[0].job.forward.start(images, list(kinds)))

    def shared(
        self, rows: NDArray[np.int64], features: Mapping[str, NDArray[np.float32]]
    ) -> Iterator[tuple[_Assembler, NDArray[np.int64], NDArray[np.float32], float]]:
        """Each job, its rows, their features and its share of the seconds, after the wait."""
        seen = np.logical_or.reduce(self.masks)
        seconds = self.started.clock.seconds() / len(self.assemblers)
        for assembler, mask in zip(self.assemblers, self.masks, strict=True):
            yield assembler, rows[mask], features[assembler.job.model.feature][mask[seen]], seconds


@dataclass(frozen=True)
class _Begun:
    """A batch that devices compute: its passes by device."""

    rows: NDArray[np.int64]
    pixels: Batch
    passes: list[list[_Pass]]


class Writers:
    """The open cells of one split, and the one thread that writes them."""

    def __init__(
        self,
        index: Index,
        split: str,
        jobs: Sequence[Job],
        storage: str,
        held: Mapping[str, list[Cell]],
        sharing: Sharing | None,
    ) -> None:
        self._sharing = sharing
        of = samples_of(split)[0]
        samples = index.split(of)
        self._pool = ThreadPoolExecutor(1, "write")
        devices = {job.forward.device for job in jobs}
        self._devices = ThreadPoolExecutor(max(1, len(devices)), "device")
        self._pending: list[Future[None]] = []
        self._begun: _Begun | None = None
        self._paths = samples["path"].tolist()
        self._assemblers: list[_Assembler] = []
        asked: dict[str, Any] = {
            "ids": self._paths,
            "labels": index.labels(of),
            "dtype": storage,
            "digests": digests_of(index, of),
        }
        try:
            with nullcontext() if sharing is None else sharing.mutex.held():
                for job in jobs:
                    self._open(job, cell_address(index.name, job.name, split), held, asked)
        except BaseException:
            self.close()
            raise

    def _open(
        self, job: Job, at: CellAddress, held: Mapping[str, list[Cell]], asked: dict[str, Any]
    ) -> None:
        asked = {**asked, "key": job.key, "columns": job.model.columns}
        if self._sharing is None:
            cell = CellWriter(at, wait=wait_seconds(), **asked)
        else:
            wait = max(wait_seconds(), JOIN_SECONDS)
            cell = SharedCellWriter(at, mutex=self._sharing.mutex, wait=wait, **asked)
        try:
            self._assemblers.append(_Assembler(job, cell, held, self._submit))
        except BaseException:
            cell.close()
            raise

    def __iter__(self) -> Iterator[_Assembler]:
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
            rows = np.arange(block.start, block.stop)
            masks = [assembler.needs(rows) for assembler in self._assemblers]
            wanted = rows[np.logical_or.reduce(masks)].astype(np.int64)
            yield from (wanted[start : start + size] for start in range(0, len(wanted), size))

    def _blocks(self) -> list[slice]:
        """What is claimed together: whole chunks of every cell; all of it by who works alone."""
        rows = len(self._paths)
        if self._sharing is None:
            return [slice(0, rows)]
        size = max(assembler.cell.chunk_rows for assembler in self._assemblers)
        order = self._sharing.shard.order(-(-rows // size))
        return [slice(n * size, min((n + 1) * size, rows)) for n in order]

    def take(self, rows: NDArray[np.int64], pixels: Batch) -> None:
        """Run a batch through every network that misses some of its rows, once each."""
        sharing: dict[Forward, list[_Assembler]] = {}
        for assembler in self._assemblers:
            if assembler.needs(rows).any():
                sharing.setdefault(assembler.job.forward, []).append(assembler)
        by_device: dict[torch.device, list[Forward]] = {}
        for forward in sharing:
            by_device.setdefault(forward.device, []).append(forward)

        def on_device(forwards: list[Forward]) -> list[_Pass]:
            batch = Uploaded(pixels, forwards[0].device)
            return [_Pass.start(sharing[forward], rows, batch) for forward in forwards]

        # Devices work side by side, the networks of one device in turn. A single device works in
        # this thread: PyTorch keeps its own threads for each thread that calls it.
        run = map if len(by_device) == 1 else self._devices.map
        begun = _Begun(rows, pixels, list(run(on_device, by_device.values())))
        self._finish()  # the batch before: a GPU has the next one by now
        self._begun = begun
        if all(device.type != "cuda" for device in by_device):
            self._finish()

    def _finish(self) -> None:
        """Take what the devices have computed of the last batch."""
        begun, self._begun = self._begun, None
        if begun is None:
            return
        for passes in begun.passes:
            found = finish([each.started for each in passes])
            for each, features in zip(passes, found, strict=True):
                for assembler, own, values, seconds in each.shared(begun.rows, features):
                    finite = np.isfinite(values).all(axis=1)
                    if not finite.all():
                        row = int(own[np.argmin(finite)])
                        of_job = begun.pixels[assembler.job.pixels]
                        seen = of_job[np.searchsorted(begun.rows, row)]
                        raise self._not_finite(assembler.job, row, seen)
                    assembler.take(own, values, seconds)

    def _not_finite(self, job: Job, row: int, pixels: NDArray[np.uint8]) -> NonFiniteError:
        image = self._paths[row]
        layer = job.forward.first_layer_not_finite(pixels)
        return NonFiniteError(
            f"model {job.name} on image {image}",
            "the model's feature is not a finite number",
            found=f"NaN or infinity, first in the output of {layer}",
            remedy="check the weights; with half-precision compute, set "
            "`extraction.precision: float32`",
        )

    def wait(self) -> None:
        """Until all is computed and every chunk on disk; raises what a write raised."""
        self._finish()
        while self._pending:
            self._pending.pop(0).result()

    def close(self) -> None:
        """Finish or give up pending writes, and let go of all locks."""
        self._pool.shutdown(cancel_futures=True)
        self._devices.shutdown(cancel_futures=True)
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
