"""CIFAR-100 as its authors give it out: two files of raw pixels, made a tar file of images once."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from cache.errors import ProbelineError
from cache.files import write_durably

_RECORD = 2 + 3 * 32 * 32
"""Bytes of an image: coarse label, fine label, red, green and blue pixels."""


def write_cifar_tar(folder: Path, target: Path) -> Path:
    """Write ``SPLIT/CLASS/NUMBER.png`` from the binary version, if absent.

    Parameters
    ----------
    folder : Path
        With train.bin, test.bin and fine_label_names.txt.
    target : Path
        The tar file.

    Raises
    ------
    ProbelineError
        When a file is missing or cut short.
    """
    if target.exists():
        return target
    names = _read(folder / "fine_label_names.txt").decode().split()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for split, name in (("train", "train.bin"), ("val", "test.bin")):
            data = np.frombuffer(_read(folder / name), np.uint8)
            if len(data) % _RECORD:
                raise ProbelineError(
                    str(folder / name),
                    "is cut short",
                    expected=f"records of {_RECORD:,} bytes",
                    found=f"{len(data):,} bytes",
                    remedy="unpack the data set again",
                )
            for number, record in enumerate(data.reshape(-1, _RECORD)):
                pixels = record[2:].reshape(3, 32, 32).transpose(1, 2, 0)
                file = io.BytesIO()
                # Stored, not deflated: the bytes must not depend on the machine's zlib.
                Image.fromarray(pixels).save(file, "PNG", compress_level=0)
                member = tarfile.TarInfo(f"{split}/{names[record[1]]}/{number:05d}.png")
                member.size = file.tell()
                file.seek(0)
                archive.addfile(member, file)
    write_durably(target, buffer.getvalue())
    return target


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ProbelineError(
            str(path),
            "can't be read",
            expected="the binary version of CIFAR-100, unpacked",
            found=error.strerror or str(error),
            remedy="unpack cifar-100-binary.tar.gz and name its folder as `path`",
        ) from None
