"""Extraction: one pass over the decoded images of a data set for all models that lack cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from cache.errors import NonFiniteError
from cache.writer import CellWriter
from pipeline.datasets.index import Index
from pipeline.datasets.roots import Root
from pipeline.embeddings.cells import samples_of
from pipeline.embeddings.forward import Forward
from pipeline.embeddings.loading import Batch, BatchLoader, Pixels
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
    samples = index.split(samples_of(split)[0])
    loader = BatchLoader(
        root,
        samples,
        list(dict.fromkeys(job.pixels for job in jobs)),
        machine.workers,
        pad=index.pad,
        white=index.white,
    )
    with Writers(index, split, jobs, storage) as writers:
        # A list: every cell is tried, so that those that need float32 share the next pass.
        while not all([writer.commit_if_whole() for writer in writers]):  # noqa: C419
            _one_pass(index, split, loader, writers, machine.batch_size)
        return {w.job.name: Written(w.cell.seconds, w.cell.remarks) for w in writers}


def _one_pass(index: Index, split: str, loader: BatchLoader, writers: Writers, size: int) -> None:
    rows = len(index.split(samples_of(split)[0]))
    wanted = sorted({start for w in writers for start in w.missing_batches(size)})
    batches = [slice(start, min(start + size, rows)) for start in wanted]
    with Progress(
        f"extract {index.name} {split}", sum(b.stop - b.start for b in batches), "images"
    ) as progress:
        for batch, pixels in loader.batches(batches):
            writers.take(batch, pixels)
            progress.advance(batch.stop - batch.start)
    writers.wait()


class _Assembler:
    """Collects one model's batches into chunks and hands whole chunks to the writer thread."""

    def __init__(self, job: Job, cell: CellWriter, submit: Callable[..., None]) -> None:
        self.job, self.cell, self._submit = job, cell, submit
        self._missing = set(cell.missing)
        self._chunk: NDArray[np.float32] | None = None
        self._seconds = 0.0

    def missing_batches(self, size: int) -> Iterator[int]:
        """First rows of the batches that the missing chunks need."""
        self._missing = set(self.cell.missing)
        for chunk in self._missing:
            rows = self.cell.rows_of(chunk)
            yield from range(rows.start, rows.stop, size)

    def needs(self, batch: slice) -> bool:
        """Whether the batch's chunk is missing."""
        return self.cell.chunk_of(batch.start) in self._missing

    def take(self, batch: slice, features: NDArray[np.float32], seconds: float) -> None:
        """Put a batch's features into its chunk; submit the chunk when it is full."""
        chunk = self.cell.chunk_of(batch.start)
        rows = self.cell.rows_of(chunk)
        if batch.start == rows.start:
            self._chunk = np.empty((rows.stop - rows.start, self.cell.columns), np.float32)
            self._seconds = 0.0
        assert self._chunk is not None  # batches come in order, whole chunks at a time
        self._chunk[batch.start - rows.start : batch.stop - rows.start] = features
        self._seconds += seconds
        if batch.stop == rows.stop:
            self._submit(self.cell.write, chunk, self._chunk, self._seconds)
            self._chunk = None

    def commit_if_whole(self) -> bool:
        """Whether the cell is in place; False when chunks are (again) missing."""
        return not self.cell.missing and self.cell.commit()


_Features = tuple[_Assembler, NDArray[np.float32], float]
"""For whom, of shape (n_images, n_features), and the seconds that it took."""


def _run(forward: Forward, assemblers: Sequence[_Assembler], pixels: Batch) -> list[_Features]:
    """One forward pass; for each job that takes a feature of it: the values and its seconds."""
    before = forward.seconds
    kinds = dict.fromkeys(a.job.model.feature for a in assemblers)
    features = forward(pixels[assemblers[0].job.pixels], list(kinds))
    seconds = (forward.seconds - before) / len(assemblers)
    return [(a, features[a.job.model.feature], seconds) for a in assemblers]


class Writers:
    """The open cells of one pass, and the one thread that writes them."""

    def __init__(self, index: Index, split: str, jobs: Sequence[Job], storage: str) -> None:
        of = samples_of(split)[0]
        samples = index.split(of)
        self._pool = ThreadPoolExecutor(1, "write")
        devices = {job.forward.device for job in jobs}
        self._devices = ThreadPoolExecutor(max(1, len(devices)), "device")
        self._pending: list[Future[None]] = []
        self._paths = samples["path"].tolist()
        self._assemblers: list[_Assembler] = []
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
                )
                self._assemblers.append(_Assembler(job, cell, self._submit))
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[_Assembler]:
        return iter(self._assemblers)

    def take(self, batch: slice, pixels: Batch) -> None:
        """Run a batch through every network that some missing chunk needs, once each."""
        sharing: dict[Forward, list[_Assembler]] = {}
        for assembler in self._assemblers:
            if assembler.needs(batch):
                sharing.setdefault(assembler.job.forward, []).append(assembler)
        by_device: dict[torch.device, list[Forward]] = {}
        for forward in sharing:
            by_device.setdefault(forward.device, []).append(forward)

        def on_device(forwards: list[Forward]) -> list[_Features]:
            return [done for f in forwards for done in _run(f, sharing[f], pixels)]

        # Devices work side by side, the networks of one device in turn. A single device works in
        # this thread: PyTorch keeps its own threads for each thread that calls it.
        run = map if len(by_device) == 1 else self._devices.map
        for features in run(on_device, by_device.values()):
            for assembler, values, seconds in features:
                self._pass_on(assembler, batch, pixels, values, seconds)

    def _pass_on(
        self,
        assembler: _Assembler,
        batch: slice,
        pixels: Batch,
        values: NDArray[np.float32],
        seconds: float,
    ) -> None:
        finite = np.isfinite(values).all(axis=1)
        if not finite.all():
            row = int(np.argmin(finite))
            seen = pixels[assembler.job.pixels][row]
            raise self._not_finite(assembler.job, batch.start + row, seen)
        assembler.take(batch, values, seconds)

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
        """Until every submitted chunk is on disk; raises what a write raised."""
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
