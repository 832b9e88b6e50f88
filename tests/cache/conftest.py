"""What all tests of the cache share: small cells with values that anyone can compute again."""

from __future__ import annotations

import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cache.cell import CellAddress
from cache.writer import CellWriter

HERE = Path(__file__).parent


class Lab:
    """Makes addresses, cells and child processes."""

    values_of = staticmethod(runpy.run_path(str(HERE / "child_writer.py"))["values_of"])

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        self._factory = factory
        self.key = {"model": "tiny", "weights": "0" * 64, "transform": {"size": 224}}

    def folder(self) -> Path:
        return self._factory.mktemp("cache")

    def address(self, split="train", folder=None) -> CellAddress:
        return CellAddress((folder or self.folder()) / "digits" / "tiny.r18.zarr", split)

    def writer(self, address, shape, *, key=None, dtype="float16") -> CellWriter:
        rows, columns = shape
        return CellWriter(
            address,
            key=key or self.key,
            ids=[f"image/{row:05d}.png" for row in range(rows)],
            labels=np.arange(rows) % 10,
            columns=columns,
            dtype=dtype,
        )

    def fill(self, writer, values) -> None:
        for chunk in writer.missing:
            writer.write(chunk, values[writer.rows_of(chunk)], seconds=1.0)

    def cell(self, values, address=None, **options) -> CellAddress:
        """A whole cell that holds `values`."""
        address = address or self.address()
        with self.writer(address, values.shape, **options) as writer:
            while writer.missing or not writer.commit():
                self.fill(writer, values)
        return address

    def files(self, folder: Path) -> dict[str, bytes]:
        """Every file below `folder` by its relative path."""
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if not path.is_dir()
        }

    def child(self, script: str, *arguments: object, **options) -> subprocess.Popen:
        command = [sys.executable, "-W", "error", str(HERE / script), *map(str, arguments)]
        return subprocess.Popen(command, text=True, **options)


@pytest.fixture(scope="session")
def lab(tmp_path_factory) -> Lab:
    return Lab(tmp_path_factory)


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of 1 MB, which a test can fill; skipped where mounting is forbidden."""
    point = tmp_path / "small disk"
    point.mkdir()
    mount = shutil.which("mount")
    command = [mount or "", "-t", "tmpfs", "-o", "size=1m", "probeline-test", str(point)]
    if not mount or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a tmpfs is not allowed here")
    yield point
    subprocess.run(["umount", "-l", str(point)], check=True)


@pytest.fixture
def full_disk(monkeypatch):
    """Call it with n: the n-th fsync from then on, and all later ones, find the disk full."""
    import errno
    import os

    real = os.fsync

    def fill(after: int) -> None:
        calls = iter(range(1, 1_000_000))

        def fsync(handle: int) -> None:
            if next(calls) >= after:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            real(handle)

        monkeypatch.setattr(os, "fsync", fsync)

    fill.free = lambda: monkeypatch.setattr(os, "fsync", real)  # type: ignore[attr-defined]
    return fill
