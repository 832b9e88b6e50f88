"""Is the cache what was written? Names every file of a cell that is not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cache.cell import Cell, CellAddress, chunk_name
from cache.errors import CellCorruptError, CellMissingError
from cache.files import sha256_file
from cache.manifest import Manifest, root_group


@dataclass(frozen=True)
class Fault:
    """One thing wrong with a cell.

    Attributes
    ----------
    path : Path
        The file.
    problem : str
        What is wrong with it.
    """

    path: Path
    problem: str

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}"


def verify(address: CellAddress, *, deep: bool = False) -> list[Fault]:
    """Check a cell against its manifest.

    Parameters
    ----------
    address : CellAddress
    deep : bool
        Read every byte: digests, finiteness and all-zero rows. Otherwise only the description's
        own digest, which files there are, of what size, and `altered`.

    Returns
    -------
    list of Fault
        Empty when the cell is whole and, with `deep`, bit for bit what was written.
    """
    try:
        cell = Cell.open(address)
    except (CellMissingError, CellCorruptError) as error:
        return [Fault(address.path / "zarr.json", error.problem)]
    faults = _check_root(address.store / "zarr.json")
    digests = cell.manifest.digests
    present = {
        path.relative_to(address.path).as_posix(): path
        for path in address.path.rglob("*")
        if not path.is_dir()
    }
    for name in sorted(digests.keys() - present.keys()):
        faults.append(Fault(address.path / name, "is absent"))
    for name in sorted(present.keys() - digests.keys() - {"zarr.json"}):
        faults.append(Fault(present[name], "does not belong to the cell"))
    size = cell.chunk_bytes
    chunks = {chunk_name(c) for c in range(cell.manifest.chunks)}
    for name in sorted(digests.keys() & present.keys()):
        if not present[name].exists():
            faults.append(Fault(present[name], "is a link to a file that is absent"))
            continue
        found = present[name].stat().st_size
        if name in chunks and found != size:
            faults.append(Fault(present[name], f"has {found} bytes instead of {size}"))
        elif deep and sha256_file(present[name]) != digests[name]:
            faults.append(Fault(present[name], "has other bytes than were written"))
    if not deep:
        named = {fault.path for fault in faults}
        faults += [fault for fault in altered(address) if fault.path not in named]
    elif not faults:
        faults += _check_values(cell)
    return faults


def altered(address: CellAddress) -> list[Fault]:
    """Files of a whole cell that were written to after its description, and are not what it says.

    Only files newer than the description are read: of a cell that nobody touched, none. Copies
    that DVC has just made may all be newer. Of what is no whole cell, nothing is said.
    """
    try:
        digests = Cell.open(address).manifest.digests
    except (CellMissingError, CellCorruptError):
        return []
    written = (address.path / "zarr.json").stat().st_mtime_ns
    newer = {
        name: path
        for name in sorted(digests)
        if (path := address.path / name).is_file() and path.stat().st_mtime_ns > written
    }
    return [
        Fault(path, "has other bytes than were written")
        for name, path in newer.items()
        if sha256_file(path) != digests[name]
    ]


def _check_root(root: Path) -> list[Fault]:
    try:
        if root.read_bytes() == root_group(root.parent):
            return []
    except FileNotFoundError:
        return [Fault(root, "is absent")]
    for path in root.parent.glob("*/zarr.json"):
        try:
            Manifest.read(path)
        except CellCorruptError:
            return []  # that split's own check names it, and writing it anew mends the root
    return [Fault(root, "does not repeat the descriptions of the splits beside it")]


def _check_values(cell: Cell) -> list[Fault]:
    faults = []
    for chunk, (rows, values) in enumerate(cell.chunks()):
        path = cell.address.path / chunk_name(chunk)
        finite = np.isfinite(values).all(axis=1)
        zero = ~values.any(axis=1)
        for name, where in (("a value that is not finite", ~finite), ("only zeros", zero)):
            if where.any():
                first = rows.start + int(np.argmax(where))
                faults.append(
                    Fault(path, f"{int(where.sum())} rows hold {name}; the first is row {first}")
                )
    return faults
