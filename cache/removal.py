"""Taking cells away."""

from __future__ import annotations

import contextlib
import os
import shutil

from cache.cell import CellAddress
from cache.files import fsync_directory, write_durably
from cache.lock import Lock, exclusively
from cache.manifest import root_group


def size_of(address: CellAddress) -> int:
    """Bytes that a cell takes."""
    return sum(path.stat().st_size for path in address.path.rglob("*") if path.is_file())


def remove_cell(address: CellAddress) -> None:
    """Delete a cell; a reader sees it whole or not at all. Its store goes with the last one.

    Raises
    ------
    CellLockedError
        When a process is building it.
    """
    with Lock(address.partial / "lock", str(address)):
        with exclusively(address.store):
            os.replace(address.path, address.partial / "removed")
            write_durably(address.store / "zarr.json", root_group(address.store))
            fsync_directory(address.store)
            if not any(path.is_dir() for path in address.store.iterdir()):
                shutil.rmtree(address.store)
        shutil.rmtree(address.partial / "removed", ignore_errors=True)
        for left_over in ("layout.json", "journal.jsonl", address.plan.name):
            (address.partial / left_over).unlink(missing_ok=True)
        shutil.rmtree(address.partial / "cell", ignore_errors=True)
    with contextlib.suppress(OSError):  # not empty: another process began to build it anew
        address.partial.rmdir()
