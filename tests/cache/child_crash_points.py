"""Dies at every step of writing a cell, one after the other, and checks what is left each time.

python child_crash_points.py FOLDER STRIDE: forks a process that writes a cell over a stale one and
kills itself (SIGKILL) just before its n-th change of the file system, for n = 1, 1 + STRIDE, ...
until a process lives to the end. Prints the number of crashes; exits with status 1 on a fault.
"""

import os
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import zarr  # noqa: F401  (imported once here, not in every fork)
from child_writer import values_of

from cache.cell import Cell, CellAddress
from cache.errors import CellMissingError
from cache.fingerprint import fingerprint
from cache.verify import verify
from cache.writer import CellWriter

CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "shutil.rmtree"}
SHAPE = (600, 4)
OLD, NEW = {"key": "old"}, {"key": "new"}


def write(address: CellAddress, key: dict[str, str]) -> None:
    values = values_of(*SHAPE, seed=len(key["key"]) + (key is NEW))
    with CellWriter(
        address,
        key=key,
        ids=[str(row) for row in range(SHAPE[0])],
        labels=np.arange(SHAPE[0]),
        columns=SHAPE[1],
    ) as writer:
        for chunk in writer.missing:
            writer.write(chunk, values[writer.rows_of(chunk)])
        assert writer.commit()


def die_at(step: int) -> None:
    left = step

    def hook(event: str, arguments: tuple) -> None:
        nonlocal left
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & 3
        if event in CHANGES or writes:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def forked(address: CellAddress, key: dict[str, str], step: int = 0) -> bool:
    """Write in a process of its own; False when it was killed."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if step:
                die_at(step)
            write(address, key)
            status = 0
        finally:
            os._exit(status)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), f"step {step}: status {status}"
    return status == 0


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if not p.is_dir()}


def main(folder: Path, stride: int) -> None:
    stale, reference = (CellAddress(folder / name / "m.zarr", "train") for name in ("old", "new"))
    forked(stale, OLD)
    forked(reference, NEW)
    step = 1
    while True:
        place = folder / f"crash{step}"
        shutil.copytree(folder / "old", place)
        address = CellAddress(place / "m.zarr", "train")
        lived = forked(address, NEW, step)
        try:
            found = Cell.open(address)
            assert found.manifest.key in (OLD, NEW), step
            assert verify(address, deep=True) == [] or not lived
            expected = values_of(*SHAPE, seed=3 + (found.manifest.key == NEW)).astype(np.float16)
            np.testing.assert_array_equal(found.read(), expected)
        except CellMissingError:  # between the two renames: the new cell is whole beside its place
            assert (address.partial / "cell" / "zarr.json").is_file(), step
            assert (address.partial / "stale" / "zarr.json").is_file(), step
        if lived:
            break
        forked(address, NEW)
        Cell.open(address, fingerprint(NEW))
        assert files(address.store) == files(reference.store), step
        assert list(place.iterdir()) == [address.store], (step, list(place.iterdir()))
        shutil.rmtree(place)
        step += stride
    print((step - 1) // stride)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
