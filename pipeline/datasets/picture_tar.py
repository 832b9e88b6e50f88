"""Tar files of images that are made here, the same bytes on every machine."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cache.files import write_durably


def write_pictures(target: Path, pictures: Iterable[tuple[str, NDArray[np.uint8]]]) -> None:
    """Write an uncompressed tar file of PNG files.

    Parameters
    ----------
    target : Path
    pictures : iterable of (str, ndarray of shape (height, width, 3))
        Name inside the tar file, and pixels.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, pixels in pictures:
            file = io.BytesIO()
            # Stored, not deflated: the bytes must not depend on the machine's zlib.
            Image.fromarray(pixels).save(file, "PNG", compress_level=0)
            member = tarfile.TarInfo(name)
            member.size = file.tell()
            file.seek(0)
            archive.addfile(member, file)
    write_durably(target, buffer.getvalue())
