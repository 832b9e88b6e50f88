"""Tar files of images that are made here, the same bytes on every machine."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cache.files import whole_file

INDEX = "index.csv"
"""The member of a `write_collection` that lists the others."""


def write_pictures(target: Path, pictures: Iterable[tuple[str, NDArray[np.uint8]]]) -> None:
    """Write an uncompressed tar file of PNG files.

    Parameters
    ----------
    target : Path
    pictures : iterable of (str, ndarray of shape (height, width, 3))
        Name inside the tar file, and pixels.
    """
    write_files(target, ((name, png(Image.fromarray(pixels))) for name, pixels in pictures))


LEFT = "left.json"
"""A member that says of which of a library's splits no image was taken, and how many there are."""


def write_collection(
    target: Path,
    images: Iterable[tuple[str | None, str, str, bytes]],
    left: Mapping[str, int] = MappingProxyType({}),
) -> None:
    """Write an uncompressed tar file of image files, and `INDEX` with a row for each.

    Parameters
    ----------
    target : Path
    images : iterable of (str or None, str, str, bytes)
        Split (of all or of none), class, the file name's ending, and content.
    left : mapping of str to int
        See `LEFT`; asked for when the images have been taken.
    """

    def files() -> Iterator[tuple[str, bytes]]:
        rows = []
        for number, (split, label, suffix, content) in enumerate(images):
            name = f"{number // 10_000:05d}/{number:08d}{suffix}"
            rows.append((name, label) if split is None else (name, label, split))
            yield name, content
        text = io.StringIO()
        header = ("path", "label", "split")[: len(rows[0]) if rows else 3]
        csv.writer(text, lineterminator="\n").writerows([header, *rows])
        yield INDEX, text.getvalue().encode()
        if left:
            yield LEFT, json.dumps(dict(left)).encode()

    write_files(target, files())


def write_files(target: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Write an uncompressed tar file, one member after the other, whole or absent.

    Parameters
    ----------
    target : Path
    files : iterable of (str, bytes)
        Name inside the tar file, and content.

    Raises
    ------
    DiskFullError
        When the disk is full; the temporary file is removed.
    """
    with (
        whole_file(target) as file,
        tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def png(image: Image.Image) -> bytes:
    """A PNG file, stored, not deflated: the bytes must not depend on the machine's zlib."""
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=0)
    return file.getvalue()
