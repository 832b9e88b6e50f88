"""A cell of the former layout is told what its rows were made of; nothing else of it changes."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace

from cache.arrays import describe_digests
from cache.cell import Cell, CellAddress
from cache.errors import CellCorruptError, CellLockedError, CellMissingError
from cache.files import explain_disk_errors, fsync_directory, sha256_bytes, write_durably
from cache.lock import Lock, exclusively
from cache.manifest import FORMAT, root_group
from cache.rows import Digests
from cache.verify import altered


def seal_digests(address: CellAddress, digests: Digests) -> bool:
    """Add the rows' digests to a whole cell that has none.

    Its key stays, and with it everything that was computed from it. Killed at any moment, it is the
    former cell or the new one, and the next call goes on.

    Parameters
    ----------
    address : CellAddress
    digests : ndarray of shape (n_samples, ROW_BYTES)

    Returns
    -------
    bool
        False where nothing was done: no such cell, it has digests, it is damaged (which a newer
        description would hide), or another process has it.
    """
    try:
        cell = Cell.open(address)
        if cell.manifest.format != 1 or cell.manifest.rows != len(digests):
            return False
        if altered(address):
            return False
        with Lock(address.partial / "lock", str(address)), explain_disk_errors(address.path):
            _write(cell, digests)
    except (CellMissingError, CellCorruptError, CellLockedError):
        return False
    if address.partial.exists() and not any(address.partial.iterdir()):
        address.partial.rmdir()
    return True


def _write(cell: Cell, digests: Digests) -> None:
    address = cell.address
    for left_over in address.path.rglob(".*.partial"):  # by a crash right here
        left_over.unlink()
    files = describe_digests(digests)
    for name, data in files.items():
        write_durably(address.path / name, data)
    group = json.loads((address.path / "zarr.json").read_bytes())
    members = group["consolidated_metadata"]["metadata"]
    members["digest"] = json.loads(files["digest/zarr.json"])
    manifest = replace(
        cell.manifest,
        format=FORMAT,
        digests={**cell.manifest.digests, **{n: sha256_bytes(data) for n, data in files.items()}},
    )
    building = address.partial / "sealed"
    write_durably(building / "zarr.json", manifest.to_bytes(members))
    with exclusively(address.store):
        for left_over in address.store.glob(".zarr.json.*.partial"):
            left_over.unlink()
        # The root first: if it names what the cell does not say yet, the next call mends it.
        write_durably(
            address.store / "zarr.json", root_group(address.store, {address.split: building})
        )
        os.replace(building / "zarr.json", address.path / "zarr.json")
        fsync_directory(address.path)
    shutil.rmtree(building)
