"""Dies at every step of copying rows into a cell, or of sealing one; checks what is left each time.

python child_copying.py FOLDER STRIDE copy|seal: as child_crash_points.py, whose hook it uses.
"""

import os
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import zarr  # noqa: F401  (imported once here, not in every fork)
from child_crash_points import die_at, files
from child_writer import values_of

from cache.cell import Cell, CellAddress
from cache.rows import copy_rows, planned, row_digests
from cache.sealing import seal_digests
from cache.verify import verify
from cache.writer import CellWriter

SHAPE = (600, 4)
NAMES = [f"{row:064x}" for row in range(SHAPE[0])]
ORDER = np.random.default_rng(5).permutation(SHAPE[0])


def writer(address: CellAddress, key: str, names: list[str] | None) -> CellWriter:
    return CellWriter(
        address,
        key={"key": key},
        ids=[str(row) for row in range(SHAPE[0])],
        labels=np.arange(SHAPE[0]),
        columns=SHAPE[1],
        digests=None if names is None else row_digests([n[::-1] for n in names]),
    )


def source(address: CellAddress, *, told: bool = True) -> None:
    values = values_of(*SHAPE)
    with writer(address, "old", NAMES if told else None) as cell:
        for chunk in cell.missing:
            cell.write(chunk, values[cell.rows_of(chunk)])
        assert cell.commit()


def copy(address: CellAddress) -> None:
    """Over the very cell that the rows come from."""
    held = [Cell.open(address)] if address.path.exists() else []
    with writer(address, "new", [NAMES[row] for row in ORDER]) as cell:
        plan = planned(cell, held)
        assert copy_rows(cell, plan)
        assert cell.commit()


def seal(address: CellAddress) -> None:
    seal_digests(address, row_digests([n[::-1] for n in NAMES]))


def forked(work, address: CellAddress, step: int = 0) -> bool:
    """Work in a process of its own; False when it was killed."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if step:
                die_at(step)
            work(address)
            status = 0
        finally:
            os._exit(status)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), f"step {step}: status {status}"
    return status == 0


def main(folder: Path, stride: int, what: str) -> None:
    from cache.manifest import Manifest

    work = {"copy": copy, "seal": seal}[what]
    first, reference = (CellAddress(folder / n / "d" / "m.zarr", "train") for n in ("old", "new"))
    source(first, told=what == "copy")
    if what == "seal":  # as the former layout had it
        import json
        from dataclasses import replace

        from cache.manifest import root_group

        path = first.path / "zarr.json"
        members = json.loads(path.read_bytes())["consolidated_metadata"]["metadata"]
        path.write_bytes(replace(Manifest.read(path), format=1).to_bytes(members))
        (first.store / "zarr.json").write_bytes(root_group(first.store))
    shutil.copytree(folder / "old", folder / "new")
    forked(work, reference)
    expected = values_of(*SHAPE).astype(np.float16)
    step = 1
    while True:
        place = folder / f"crash{step}"
        shutil.copytree(folder / "old", place)
        address = CellAddress(place / "d" / "m.zarr", "train")
        lived = forked(work, address, step)
        if (
            address.path.exists()
        ):  # else between two renames: the new cell is whole beside its place
            found = Cell.open(address)
            new = found.manifest.key == {"key": "new"}
            np.testing.assert_array_equal(found.read(), expected[ORDER] if new else expected)
        if lived:
            break
        forked(work, address)
        assert files(address.store) == files(reference.store), step
        assert verify(address, deep=True) == [], step
        if what == "copy":
            assert list((place / "d").iterdir()) == [address.store], step
        shutil.rmtree(place)
        step += stride
    print((step - 1) // stride)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
