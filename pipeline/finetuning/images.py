"""Images decoded once, and the random views of them that an epoch trains on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from cache.files import explain_disk_errors, not_through_links
from pipeline.datasets.roots import Root
from pipeline.embeddings.loading import BatchLoader, Pixels
from pipeline.machine.memory import memory_budget
from pipeline.models.transforms import Geometry, Pad, View

Picture = NDArray[np.uint8]
"""Ndarray of shape (height, width, 3)."""

_AHEAD_OF_EACH = 4
"""Images decoded ahead for each thread."""
_SHAPE = 4 / 3
"""Width to height of a usual photograph, to foresee how much memory images take."""


class Decoded:
    """Decoded images in memory, or in a file that is read as if it were memory.

    Parameters
    ----------
    sizes : ndarray of shape (n_images, 2)
        Height and width of each.
    flat : ndarray of uint8, optional
        All pixels, one image after the other.
    path : Path, optional
        Of a file with the same, where `flat` is not given.
    """

    def __init__(
        self,
        sizes: NDArray[np.int64],
        flat: NDArray[np.uint8] | None = None,
        path: Path | None = None,
    ) -> None:
        self._sizes, self._given, self._path = sizes, flat, path
        self._ends = np.cumsum(sizes.prod(axis=1) * 3)

    def __len__(self) -> int:
        return len(self._sizes)

    def __getitem__(self, position: int) -> Picture:
        end = int(self._ends[position])
        height, width = (int(side) for side in self._sizes[position])
        return self._flat[end - height * width * 3 : end].reshape(height, width, 3)

    @cached_property
    def _flat(self) -> NDArray[np.uint8]:
        if self._given is not None:
            return self._given
        assert self._path is not None
        return np.memmap(self._path, np.uint8, mode="r")

    def __getstate__(self) -> dict[str, object]:
        # A process of its own maps the file; the pixels are not copied to it.
        return {name: value for name, value in self.__dict__.items() if name != "_flat"}


def decode_once(
    root: Root,
    samples: pd.DataFrame,
    pixels: Pixels,
    *,
    pad: Pad,
    workers: int,
    path: Path,
    shared: bool = False,
    white: float | None = None,
) -> Decoded:
    """Decode images as the extraction does.

    Parameters
    ----------
    root : Root
    samples : DataFrame
        Rows of an index.
    pixels : Pixels
        What is made of each image.
    pad : bool or "crop"
        Whether images are first padded to a square, or cut to one.
    workers : int
        Threads.
    path : Path
        Of a file for the pixels where they would take more than half of the free memory.
    shared : bool
        Whether several processes read them: always in a file.
    white : float, optional
        What is white in grey images of more than 8 bits.

    Raises
    ------
    ProbelineError
        When an image can't be decoded, or the disk is full.
    """
    wanted = [slice(row, row + 1) for row in range(len(samples))]
    ahead = _AHEAD_OF_EACH * max(1, workers)
    loader = BatchLoader(root, samples, [pixels], workers, pad=pad, white=white, ahead=ahead)
    pictures = (batch[pixels][0] for _, batch in loader.batches(wanted))
    if not shared and _bytes_of(pixels, len(samples)) <= memory_budget() // 2:
        held = list(pictures)
        sizes = _sizes([picture.shape for picture in held])
        flat = np.concatenate([picture.reshape(-1) for picture in held] or [np.empty(0, np.uint8)])
        return Decoded(sizes, flat=flat)
    shapes = []
    with explain_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb", opener=not_through_links) as file:
            for picture in pictures:
                file.write(np.ascontiguousarray(picture).data)
                shapes.append(picture.shape)
    return Decoded(_sizes(shapes), path=path)


def _bytes_of(pixels: Pixels, images: int) -> int:
    """About how much decoded images take, twice while they are put together."""
    if isinstance(pixels, Geometry | View):
        return 2 * images * 3 * pixels.size**2
    short = pixels.geometry.size / pixels.geometry.crop
    return int(2 * images * 3 * short**2 * _SHAPE)


def _sizes(shapes: Sequence[tuple[int, ...]]) -> NDArray[np.int64]:
    return np.array([shape[:2] for shape in shapes], np.int64).reshape(-1, 2)


def view_of(picture: Picture, view: View, row: int) -> Picture:
    """A random view of a decoded image, of shape (size, size, 3)."""
    return view.apply(Image.fromarray(picture), row)


def batches_of(
    positions: Sequence[NDArray[np.int64]], make: Callable[[int], Picture], workers: int
) -> Iterator[NDArray[np.uint8]]:
    """Batches of shape (n_images, size, size, 3), made in threads one batch ahead.

    Parameters
    ----------
    positions : sequence of ndarray of int
        Of each batch.
    make : callable
        From a position to an image.
    workers : int
        Threads; 0 makes them in the caller's.
    """
    if workers == 0:
        for batch in positions:
            yield np.stack([make(int(position)) for position in batch])
        return
    with ThreadPoolExecutor(workers, "views") as pool:
        ahead: deque[list[Future[Picture]]] = deque()
        try:
            for batch in positions:
                ahead.append([pool.submit(make, int(position)) for position in batch])
                if len(ahead) > 1:
                    yield np.stack([image.result() for image in ahead.popleft()])
            while ahead:
                yield np.stack([image.result() for image in ahead.popleft()])
        finally:
            pool.shutdown(cancel_futures=True)
