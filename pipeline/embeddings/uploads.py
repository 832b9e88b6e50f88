"""Batches on their way to a device and back: each geometry goes once, all features come together.

A GPU works on what it has been given while the program goes on. So a batch is copied from pinned
memory on a stream of its own, while the batch before is computed, and what a batch has given is
waited for once, after the next one was started.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.embeddings.loading import Pixels

Shape = tuple[int, ...]


def memory_for(devices: Sequence[torch.device]) -> Callable[[Shape], NDArray[np.uint8]]:
    """Makes arrays of pixels: pinned where a GPU copies them, so that no other copy is needed."""
    if all(device.type != "cuda" for device in devices):
        return lambda shape: np.empty(shape, np.uint8)
    return lambda shape: torch.empty(shape, dtype=torch.uint8, pin_memory=True).numpy()


def upload(pixels: NDArray[np.uint8], device: torch.device) -> torch.Tensor:
    """An array on a device; a GPU copies it while it computes, and waits for it before its use."""
    with torch.inference_mode():
        batch = torch.from_numpy(pixels)
        if device.type != "cuda":
            return batch
        copies, here = _copies(device), torch.cuda.current_stream(device)
        with torch.cuda.stream(copies):
            pinned = batch if batch.is_pinned() else batch.pin_memory()
            there = pinned.to(device, non_blocking=True)
        here.wait_stream(copies)
        there.record_stream(here)  # its memory was taken on the other stream
        return there


@cache
def _copies(device: torch.device) -> Any:
    """The stream of a GPU on which batches are copied."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


class Uploaded:
    """One batch on one device, each geometry copied when a network first asks for it.

    Parameters
    ----------
    pixels : mapping of Pixels to ndarray of shape (n_images, size, size, 3)
    device : torch.device
    """

    def __init__(self, pixels: Mapping[Pixels, NDArray[np.uint8]], device: torch.device) -> None:
        self._pixels, self._device = pixels, device
        self._there: dict[Pixels, torch.Tensor] = {}

    def images(self, geometry: Pixels, rows: NDArray[np.bool_]) -> torch.Tensor:
        """Some images of the batch in one geometry."""
        if geometry not in self._there:
            self._there[geometry] = upload(self._pixels[geometry], self._device)
        images = self._there[geometry]
        if rows.all():
            return images
        with torch.inference_mode():
            return images[torch.from_numpy(np.flatnonzero(rows)).to(self._device)]


class Clock:
    """Seconds that a device works, from now until `stop`; to be read when it is done.

    Parameters
    ----------
    device : torch.device
        A GPU tells by events of its own.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._marks = [self._mark()]

    def stop(self) -> None:
        """The end."""
        self._marks.append(self._mark())

    def seconds(self) -> float:
        """Between both."""
        start, end = self._marks
        if self._device.type == "cuda":
            return float(start.elapsed_time(end)) / 1000
        return float(end - start)

    def _mark(self) -> Any:
        if self._device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self._device))
        return event


def download(
    features: Sequence[Mapping[str, torch.Tensor]],
) -> list[dict[str, NDArray[np.float32]]]:
    """Features of several networks of one device, in float32: one copy, one wait for the device.

    Parameters
    ----------
    features : sequence of mapping of str to Tensor of shape (n_images, n_features)
        Of each network, by kind.
    """
    values = [tensor.float() for each in features for tensor in each.values()]
    if not values or values[0].device.type != "cuda":
        arrays = [tensor.numpy() for tensor in values]
    else:
        together = torch.cat([tensor.flatten() for tensor in values]).cpu().numpy()
        ends = np.cumsum([tensor.numel() for tensor in values])[:-1]
        parts = np.split(together, ends)
        arrays = [part.reshape(t.shape) for part, t in zip(parts, values, strict=True)]
    left = iter(arrays)
    return [{kind: next(left) for kind in each} for each in features]
