"""Batches of images through all networks: each once, on its device, for all that want its rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from cache.errors import NonFiniteError
from pipeline.datasets.index import Index
from pipeline.datasets.roots import Root
from pipeline.datasets.settings import Split
from pipeline.embeddings.forward import Forward, Started, finish
from pipeline.embeddings.jobs import Job
from pipeline.embeddings.loading import Batch, BatchLoader, Pixels
from pipeline.embeddings.uploads import Uploaded, memory_for
from pipeline.machine.devices import Machine


class Taker(Protocol):
    """What wants some rows of one model."""

    @property
    def job(self) -> Job:
        """Model, network and feature."""

    def needs(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of these rows are to be computed."""

    def take(self, rows: NDArray[np.int64], features: NDArray[np.float32], seconds: float) -> None:
        """Have the features of some of them, in order."""


@dataclass(frozen=True)
class _Pass:
    """One network's forward pass on the rows of a batch that some of its jobs miss."""

    takers: Sequence[Taker]
    masks: Sequence[NDArray[np.bool_]]
    started: Started

    @classmethod
    def start(cls, takers: Sequence[Taker], rows: NDArray[np.int64], batch: Uploaded) -> _Pass:
        masks = [taker.needs(rows) for taker in takers]
        images = batch.images(takers[0].job.pixels, np.logical_or.reduce(masks))
        kinds = dict.fromkeys(t.job.model.feature for t in takers)
        return cls(takers, masks, takers[0].job.forward.start(images, list(kinds)))

    def shared(
        self, rows: NDArray[np.int64], features: Mapping[str, NDArray[np.float32]]
    ) -> Iterator[tuple[Taker, NDArray[np.int64], NDArray[np.float32], float]]:
        """Each job, its rows, their features and its share of the seconds, after the wait."""
        seen = np.logical_or.reduce(self.masks)
        seconds = self.started.clock.seconds() / len(self.takers)
        for taker, mask in zip(self.takers, self.masks, strict=True):
            yield taker, rows[mask], features[taker.job.model.feature][mask[seen]], seconds


@dataclass(frozen=True)
class _Begun:
    """A batch that devices compute: its passes by device."""

    rows: NDArray[np.int64]
    pixels: Batch
    passes: list[list[_Pass]]


class Runner:
    """The networks of one split on their devices, and the batch that they are at.

    Parameters
    ----------
    takers : sequence of Taker
    paths : sequence of str
        Of the split's images, for errors.
    """

    def __init__(self, takers: Sequence[Taker], paths: Sequence[str]) -> None:
        self._takers, self._paths = takers, paths
        devices = {taker.job.forward.device for taker in takers}
        self._devices = ThreadPoolExecutor(max(1, len(devices)), "device")
        self._begun: _Begun | None = None

    def take(self, rows: NDArray[np.int64], pixels: Batch) -> None:
        """Run a batch through every network that misses some of its rows, once each."""
        sharing: dict[Forward, list[Taker]] = {}
        for taker in self._takers:
            if taker.needs(rows).any():
                sharing.setdefault(taker.job.forward, []).append(taker)
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
        self.finish()  # the batch before: a GPU has the next one by now
        self._begun = begun
        if all(device.type != "cuda" for device in by_device):
            self.finish()

    def finish(self) -> None:
        """Take what the devices have computed of the last batch."""
        begun, self._begun = self._begun, None
        if begun is None:
            return
        for passes in begun.passes:
            found = finish([each.started for each in passes])
            for each, features in zip(passes, found, strict=True):
                for taker, own, values, seconds in each.shared(begun.rows, features):
                    finite = np.isfinite(values).all(axis=1)
                    if not finite.all():
                        row = int(own[np.argmin(finite)])
                        of_job = begun.pixels[taker.job.pixels]
                        seen = of_job[np.searchsorted(begun.rows, row)]
                        raise self._not_finite(taker.job, row, seen)
                    taker.take(own, values, seconds)

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

    def close(self) -> None:
        """Give up what was not begun."""
        self._devices.shutdown(cancel_futures=True)


def image_loader(
    index: Index, split: Split, root: Root, geometries: Sequence[Pixels], machine: Machine
) -> BatchLoader:
    """Of an index's images of a split, into memory that the machine's devices copy from.

    Parameters
    ----------
    index : Index
    split : {"train", "val"}
    root : Root
        Where the images are.
    geometries : sequence of Pixels
        May name one several times.
    machine : Machine
    """
    return BatchLoader(
        root,
        index.split(split),
        list(dict.fromkeys(geometries)),
        machine.workers,
        pad=index.pad,
        seeds=index.seeds,
        white=index.white,
        memory=memory_for(machine.devices),
    )
