"""Extraction: one pass over the decoded images of a data set for all models that lack cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from cache.cell import Cell
from cache.errors import NonFiniteError
from cache.rows import planned
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
from pipeline.models.networks import LoadedModel
from pipeline.project.paths import cell_address

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
) -> None:
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

    Raises
    ------
    ProbelineError
        On a bad image, a value that is not finite, a full disk, or a cell that another process
        is writing. What was committed stays and is not computed again.
    """
    held = held_cells([job.key for of_split in jobs.values() for job in of_split])
    if any(held.values()):
        return _together(index, jobs, root, machine, storage, held, record)
    for split, of_split in jobs.items():
        _together(index, {split: of_split}, root, machine, storage, held, record)
    return None


def _together(
    index: Index,
    jobs: Mapping[str, Sequence[Job]],
    root: Root,
    machine: Machine,
    storage: str,
    held: Mapping[str, list[Cell]],
    record: Record,
) -> None:
    """Splits that may copy from cells that others replace: those go when no row is missing."""
    with ExitStack() as all_open:
        splits = {
            split: all_open.enter_context(Writers(index, split, of_split, storage, held))
            for split, of_split in jobs.items()
        }
        left = [writer for writers in splits.values() for writer in writers]
        while left:
            for split, writers in splits.items():
                if any(writer.cell.missing for writer in writers):
                    _one_pass(index, split, root, writers, machine)
                for writer in [w for w in writers if w in left]:
                    needed = any(other.needs_cell(writer) for other in left)
                    if needed or writer.cell.missing:
                        continue
                    if not writer.cell.finished:  # else another process has recorded it
                        record(split, writer.job.name, writer.written)
                    if writer.cell.commit():
                        left.remove(writer)


def _one_pass(index: Index, split: str, root: Root, writers: Writers, machine: Machine) -> None:
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
        writer.begin()
    wanted = writers.rows_to_compute()
    size = machine.batch_size
    batches = [wanted[start : start + size] for start in range(0, len(wanted), size)]
    with Progress(f"extract {index.name} {split}", len(wanted), "images") as progress:
        for batch, pixels in loader.batches(batches):
            writers.take(batch, pixels)
            progress.advance(len(batch))
    writers.wait()


@dataclass
class _Chunk:
    """A chunk whose computed rows are being collected."""

    rows: NDArray[np.int64]
    values: NDArray[np.float32] | None = None
    filled: int = 0
    seconds: float = 0.0


class _Assembler:
    """Collects one model's rows into chunks and hands whole chunks to the writer thread."""

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
        self._plan_rows()

    def _plan_rows(self) -> None:
        self._dtype = self.cell.dtype
        around = candidates(self._held, self.job.key, self.cell.address)
        self._plan = planned(self.cell, around)

    def needs_cell(self, other: _Assembler) -> bool:
        """Whether rows that are still missing are to be copied from what `other` will replace."""
        return other is not self and bool(self.cell.missing) and self._plan.uses(other.cell.address)

    @property
    def written(self) -> Written:
        """What became of the cell."""
        return Written(self.cell.seconds, self.cell.remarks, self.cell.copied)

    def begin(self) -> None:
        """Take up the missing chunks; those that are copied as a whole are submitted at once."""
        if self.cell.dtype != self._dtype:  # it needs float32, and began anew
            self._plan_rows()
        self._chunks = {}
        self._wanted[:] = False
        for chunk in self.cell.missing:
            span = self.cell.rows_of(chunk)
            rows = span.start + np.flatnonzero(self._plan.computed[span])
            self._wanted[rows] = True
            self._chunks[chunk] = _Chunk(rows)
        for chunk in [c for c, part in self._chunks.items() if not len(part.rows)]:
            self._submit(self._write, chunk, self._chunks.pop(chunk))

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
    ) -> None:
        of = samples_of(split)[0]
        samples = index.split(of)
        self._pool = ThreadPoolExecutor(1, "write")
        devices = {job.forward.device for job in jobs}
        self._devices = ThreadPoolExecutor(max(1, len(devices)), "device")
        self._pending: list[Future[None]] = []
        self._begun: _Begun | None = None
        self._paths = samples["path"].tolist()
        self._assemblers: list[_Assembler] = []
        digests = digests_of(index, of)
        try:
            for job in jobs:
                cell = CellWriter(
                    cell_address(index.name, job.name, split),
                    key=job.key,
                    ids=self._paths,
                    labels=index.labels(of),
                    columns=job.model.columns,
                    dtype=storage,
                    wait=wait_seconds(),
                    digests=digests,
                )
                try:
                    self._assemblers.append(_Assembler(job, cell, held, self._submit))
                except BaseException:
                    cell.close()
                    raise
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[_Assembler]:
        return iter(self._assemblers)

    def rows_to_compute(self) -> NDArray[np.int64]:
        """Rows that some cell misses and nothing holds, ascending."""
        rows = np.arange(len(self._paths))
        masks = [assembler.needs(rows) for assembler in self._assemblers]
        found: NDArray[np.int64] = rows[np.logical_or.reduce(masks)].astype(np.int64)
        return found

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
