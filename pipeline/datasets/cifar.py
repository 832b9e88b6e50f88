"""CIFAR-100 as its authors give it out: two files of raw pixels, made a tar file of images once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cache.errors import ProbelineError
from pipeline.datasets.picture_tar import write_pictures

_FILES = {"train": "train.bin", "val": "test.bin"}
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
    files = {split: _records(folder / name) for split, name in _FILES.items()}
    write_pictures(
        target,
        (
            (f"{split}/{names[record[1]]}/{number:05d}.png", _pixels(record))
            for split, records in files.items()
            for number, record in enumerate(records)
        ),
    )
    return target


def _records(path: Path) -> NDArray[np.uint8]:
    data = np.frombuffer(_read(path), np.uint8)
    if len(data) % _RECORD:
        raise ProbelineError(
            str(path),
            "is cut short",
            expected=f"records of {_RECORD:,} bytes",
            found=f"{len(data):,} bytes",
            remedy="unpack the data set again",
        )
    return data.reshape(-1, _RECORD)


def _pixels(record: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return record[2:].reshape(3, 32, 32).transpose(1, 2, 0)


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
