"""Decode once for all models: batches of images, each in every geometry that some model wants."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cache.files import sha256_bytes
from pipeline.datasets.image_faults import BadImageError
from pipeline.datasets.images import decode
from pipeline.datasets.roots import Root
from pipeline.datasets.samples import entries_of
from pipeline.models.transforms import Geometry, Pad, Resized, View, squared

AHEAD = 2
"""Batches decoded ahead where nothing else is asked; with their size, this bounds the memory."""

Pixels = Geometry | View | Resized
"""What makes an array of a decoded image."""

Rows = TypeVar("Rows", slice, NDArray[np.int64])
"""Of a batch: a run of rows, or any rows in order."""

Batch = dict[Pixels, NDArray[np.uint8]]
"""For each geometry, an ndarray of shape (n_images, size, size, 3)."""


class BatchLoader:
    """Reads and decodes images in threads (Pillow's decoders and resizers release the GIL).

    Parameters
    ----------
    root : Root
    samples : DataFrame
        An index's rows: the images, in order. One whose content is not what was indexed is
        refused: it must not be stored under the indexed one's key.
    geometries : sequence of Pixels
        Each decoded image is resized once for each of these.
    workers : int
        Threads; 0 decodes in the caller's.
    pad : bool or "crop"
        Whether images are first padded with black to a square, or cut to one.
    white : float, optional
        What is white in grey images of more than 8 bits, as the index holds it.
    ahead : int
        Batches decoded ahead of the one in use.
    seeds : {"row", "digest"}
        What seeds a view: the image's row, or its digest, which does not change with the list.
    memory : callable, optional
        From a shape to the array that a batch is gathered in.
    """

    def __init__(
        self,
        root: Root,
        samples: pd.DataFrame,
        geometries: Sequence[Pixels],
        workers: int,
        *,
        pad: Pad = False,
        white: float | None = None,
        ahead: int = AHEAD,
        seeds: str = "row",
        memory: Callable[[tuple[int, ...]], NDArray[np.uint8]] | None = None,
    ) -> None:
        self._pad, self._white, self._ahead = pad, white, ahead
        self._root, self._entries = root, entries_of(samples)
        self._digests = samples["sha256"].tolist()
        self._geometries, self._workers = geometries, workers
        self._by_digest, self._memory = seeds == "digest", memory

    def batches(self, wanted: Iterable[Rows]) -> Iterator[tuple[Rows, Batch]]:
        """The batches of these rows, in order; `wanted` is asked for each as late as possible.

        Raises
        ------
        BadImageError
            When an image can't be decoded; names it.
        """
        if self._workers == 0:
            for rows in wanted:
                yield rows, self._stack([self._load(i) for i in _numbers(rows)])
            return
        with ThreadPoolExecutor(self._workers, "decode") as pool:
            ahead: deque[tuple[Rows, list[Future[Batch]]]] = deque()
            try:
                for rows in wanted:
                    images = [pool.submit(self._load, i) for i in _numbers(rows)]
                    ahead.append((rows, images))
                    if len(ahead) > self._ahead:
                        yield self._finish(*ahead.popleft())
                while ahead:
                    yield self._finish(*ahead.popleft())
            finally:
                pool.shutdown(cancel_futures=True)

    def _load(self, row: int) -> Batch:
        entry = self._entries[row]
        data = self._root.read(entry)
        if sha256_bytes(data) != self._digests[row]:
            raise BadImageError(
                entry.path,
                "the image is not the one that was indexed",
                expected=f"content with digest {self._digests[row][:12]}",
                found="other content",
                remedy="index the data set again: dvc repro -f index@NAME",
            )
        image = decode(data, entry.path, self._white)
        image = squared(image, self._pad)
        seed = int(self._digests[row][:16], 16) if self._by_digest else row
        return {geometry: geometry.apply(image, seed) for geometry in self._geometries}

    def _finish(self, rows: Rows, images: list[Future[Batch]]) -> tuple[Rows, Batch]:
        return rows, self._stack([image.result() for image in images])

    def _stack(self, images: list[Batch]) -> Batch:
        return {g: self._gathered([image[g] for image in images]) for g in self._geometries}

    def _gathered(self, images: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
        into = None if self._memory is None else self._memory((len(images), *images[0].shape))
        return np.stack(images, out=into)


def _numbers(rows: slice | NDArray[np.int64]) -> list[int]:
    return list(range(rows.start, rows.stop)) if isinstance(rows, slice) else rows.tolist()
