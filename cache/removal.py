"""Taking cells away."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
from pathlib import Path

from cache.cell import CellAddress
from cache.errors import CellLockedError, ProbelineError
from cache.files import explain_disk_errors, fsync_directory, write_durably
from cache.lock import Lock, clear_lock, exclusively
from cache.manifest import root_group

_log = logging.getLogger(__name__)


def size_of(address: CellAddress) -> int:
    """Bytes that a cell takes."""
    return sum(path.stat().st_size for path in address.path.rglob("*") if path.is_file())


REMOVED = "removed"
"""What a cell is called while its files are deleted."""


def empty(partial: Path, *, but: str = "") -> None:
    """Remove all that lies where a cell is built, but the lock, and a file of that name."""
    for path in partial.iterdir():
        if path.is_dir() and not path.is_symlink():
            discard(path)
        elif path.name not in ("lock", but) or path.is_symlink():
            path.unlink()


def remove_tree(folder: Path) -> None:
    """Remove a folder, if it is there; others may be at it, too.

    Raises
    ------
    OSError
        When something in it can't be removed: then its space is not free.
    """
    while folder.exists():
        with contextlib.suppress(FileNotFoundError):  # another process was quicker with a part
            shutil.rmtree(folder)


def discard(folder: Path) -> None:
    """Remove a temporary folder of ours, if it is there; where it can't be, a warning names it.

    Nothing fails by it: what the folder was for is done, or another error is on its way.
    """
    try:
        if folder.is_symlink():  # a stranger's: what it leads to stays
            folder.unlink()
        remove_tree(folder)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)  # as far as it goes; a disk may have failed once
        if folder.exists():
            _warn(folder, error)


def leave(folder: Path) -> None:
    """Remove the folder in which something was built under ``lock``, and what is left of that.

    Another process may have begun the same: then nothing is done.
    """
    try:
        clear_lock(folder / "lock")
        folder.rmdir()
    except CellLockedError:
        return
    except (OSError, ProbelineError) as error:
        if getattr(error, "errno", 0) not in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST):
            _warn(folder, error)


def _warn(folder: Path, error: Exception) -> None:
    said = getattr(error, "strerror", None) or error
    _log.warning("%s: can't be removed (%s); it is of no use any more: delete it", folder, said)


def remove_cell(address: CellAddress) -> None:
    """Delete a cell; a reader sees it whole or not at all. Its store goes with the last one.

    Raises
    ------
    CellLockedError
        When a process is building it.
    """
    with Lock(address.partial / "lock", str(address)), explain_disk_errors(address.path):
        with exclusively(address.store):
            discard(address.partial / REMOVED)  # by a run that was killed
            os.replace(address.path, address.partial / REMOVED)
            write_durably(address.store / "zarr.json", root_group(address.store))
            fsync_directory(address.store)
            remove_store(address.store)
        remove_tree(address.partial / REMOVED)
        empty(address.partial)
    with contextlib.suppress(OSError):  # not empty: another process began to build it anew
        address.partial.rmdir()


def clear_beside(address: CellAddress) -> None:
    """Remove what a run left beside a whole cell, stopped after it had put the cell in place.

    Where a live process has the lock, nothing is done.
    """
    if not address.partial.is_dir():
        return
    with contextlib.suppress(CellLockedError):
        with Lock(address.partial / "lock", str(address)), explain_disk_errors(address.partial):
            empty(address.partial)
        with contextlib.suppress(OSError):  # not empty: another process builds the cell anew
            address.partial.rmdir()


def removals_begun(stores: Path) -> list[CellAddress]:
    """Cells that were taken from their place, and whose files nobody went on deleting.

    Parameters
    ----------
    stores : Path
        A data set's folder of stores.
    """
    found = sorted(stores.glob(f"*.partial/{REMOVED}"))
    return [CellAddress.of_partial(folder.parent) for folder in found]


def finish_removal(address: CellAddress) -> None:
    """Delete what an interrupted `remove_cell` left; a cell that was made anew since stays.

    Raises
    ------
    CellLockedError
        When a process is building that cell.
    """
    with Lock(address.partial / "lock", str(address)), explain_disk_errors(address.partial):
        remove_tree(address.partial / REMOVED)
        if address.store.is_dir():
            remove_store(address.store)
    with contextlib.suppress(OSError):  # not empty: the cell is being made anew
        address.partial.rmdir()


def remove_store(store: Path) -> None:
    """Delete a store that holds no cell."""
    if not any(path.is_dir() for path in store.iterdir()):
        shutil.rmtree(store)
