"""Small pictures of a study's own images, as data URIs: bounded, checked, never a reason to fail.

They are read from the images themselves, at their sources, when the page is made: `results/` holds
no pixel and no file name. An image that is gone, or is another than was indexed, is counted.
"""

from __future__ import annotations

import base64
import io
from collections import Counter
from dataclasses import dataclass, field

from PIL import Image, ImageOps

from cache.errors import ProbelineError
from cache.files import sha256_bytes
from pipeline.datasets.images import decode
from pipeline.datasets.index import Index, read_index
from pipeline.datasets.roots import Root
from pipeline.datasets.samples import entries_of
from pipeline.datasets.sources import dataset_root
from pipeline.study.schema import Study

READ = 64_000_000
"""Bytes of image files that are decoded, at most: sixteen photographs of a camera, or thousands of
small images. The first picture is always made."""

QUALITY = 60

BOUND = "the bound on pictures is reached"


def checked_image(index: Index, root: Root, split: str, row: int) -> Image.Image:
    """An image of a data set, decoded.

    Raises
    ------
    ProbelineError
        When it is gone, another one than was indexed, or can't be decoded.
    """
    samples = index.split(split).iloc[[row]]
    [entry] = entries_of(samples)
    data = root.read(entry)
    if sha256_bytes(data) != samples["sha256"].iat[0]:
        raise ProbelineError(
            entry.path,
            "the image has changed since it was indexed",
            remedy=f"index the data set again: dvc repro -f index@{index.name}",
        )
    return decode(data, entry.path, index.white)


@dataclass
class Pictures:
    """Makes pictures until a bound is reached.

    Attributes
    ----------
    study : Study
    most : int
        Pictures.
    most_bytes : int
        Of all data URIs together.
    left_out : dict of str to int
        Why pictures are not there, and how many.
    """

    study: Study
    most: int
    most_bytes: int
    left_out: Counter[str] = field(default_factory=Counter)
    _known: dict[tuple[str, str, int, int], str] = field(default_factory=dict)
    _sources: dict[str, tuple[Index, Root] | str] = field(default_factory=dict)
    _used: int = 0
    _read: int = 0
    _bytes: int = 0

    def of(self, dataset: str, split: str, row: int, side: int) -> str:
        """A picture of at most `side` pixels; "" where there is none, which is counted.

        Asked for twice, it stands in the page twice, and counts twice.
        """
        if not self.most:
            return ""  # switched off, not left out
        key = dataset, split, row, side
        if self._used >= self.most or self._bytes >= self.most_bytes:
            return self._without(BOUND)
        if key not in self._known:
            self._known[key] = self._made(*key)
        made = self._known[key]
        if self._bytes + len(made) > self.most_bytes:
            return self._without(BOUND)
        self._bytes += len(made)
        self._used += bool(made)
        return made

    def told(self, dataset: str, split: str, row: int) -> tuple[str, str]:
        """Path and class of an image, as the index has them; "" where there is no index."""
        index = self._index(dataset)
        if index is None:
            return "", ""
        of = index.split(split)
        return str(of["path"].iat[row]), str(of["class"].iat[row])

    def _made(self, dataset: str, split: str, row: int, side: int) -> str:
        source = self._source(dataset)
        if isinstance(source, str):
            return self._without(source)
        [entry] = entries_of(source[0].split(split).iloc[[row]])
        if self._read and self._read + entry.size > READ:
            return self._without(BOUND)
        self._read += entry.size
        try:
            return data_uri(checked_image(*source, split, row), side)
        except ProbelineError as error:
            return self._without(f"{dataset}: {error.problem}")

    def _index(self, name: str) -> Index | None:
        source = self._source(name)
        if not isinstance(source, str):
            return source[0]
        try:
            return read_index(name)
        except ProbelineError:
            return None

    def _without(self, reason: str) -> str:
        self.left_out[reason] += 1
        return ""

    def _source(self, name: str) -> tuple[Index, Root] | str:
        if name not in self._sources:
            self._sources[name] = self._opened(name)
        return self._sources[name]

    def _opened(self, name: str) -> tuple[Index, Root] | str:
        entry = self.study.datasets.get(name)
        if entry is None or not entry.has_images:
            return f"{name}: only embeddings or scores were imported, no images"
        try:
            return read_index(name), dataset_root(name, entry)
        except ProbelineError as error:
            return f"{name}: {error.problem} ({error.place})"


def data_uri(image: Image.Image, side: int) -> str:
    """An image as a small WebP, nothing cut off, inside its own address."""
    small = ImageOps.contain(image, (side, side)) if max(image.size) > side else image
    buffer = io.BytesIO()
    small.save(buffer, "webp", quality=QUALITY, method=6)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
