"""What lies about unfinished: of runs that go on now, and of those that were stopped."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from pathlib import Path

from cache.cell import CellAddress
from cache.lock import clear_lock
from cache.removal import clear_beside
from pipeline.models.lockfile import RECORDING
from pipeline.project.own_folders import OWN
from pipeline.project.paths import (
    EMBEDDINGS,
    INDEX,
    NEIGHBORS,
    PROVENANCE,
    RAW,
    REPORT,
    RESULTS,
    SECTIONS,
)

SHOWN = 3

_MADE = (SECTIONS, INDEX, EMBEDDINGS, PROVENANCE, NEIGHBORS, RESULTS, REPORT.parent)
"""Where unfinished files are begun anew; elsewhere some are gone on with: downloads, trainings."""

_OF_DVC = re.compile(r"\.[\w-]{22}\.tmp")
"""DVC's name for a file that it is putting in place; `.dvcignore` leaves such out of results."""

_DVC_LOCK = Path(".dvc/tmp/lock")
"""Held, by ``flock``, while DVC puts files in place."""


def left_overs() -> list[Path]:
    """Everything unfinished below the project's own folders (not inside cells), sorted."""
    found = [path for folder in OWN for path in _unfinished(folder)]
    return sorted([*found, *([RECORDING] if RECORDING.exists() else [])])


def describe(found: list[Path]) -> str:
    """In one line; "" of nothing."""
    if not found:
        return ""
    size = sum(_size(path) for path in found) / 1e6
    some = ", ".join(map(str, found[:SHOWN])) + ", …" * (len(found) > SHOWN)
    return (
        f"{len(found):,} unfinished, {size:,.1f} MB, of runs that go on or were stopped: {some}; "
        "the next stage (download, import) that makes the same takes them up, "
        "`probeline cache prune` clears those of no use"
    )


def clear_dead() -> list[Path]:
    """Remove what no live process owns and nobody would go on with; returns what it was.

    A stage that was killed clears that when it runs again. It may never: where the same was made
    elsewhere meanwhile, DVC takes that from its cache.
    """
    cleared = [path for path in _cells_finished() if not path.exists()]
    files = [path for path in left_overs() if path.is_file() and _is_of_no_use(path)]
    cleared += [path for path in files if clear_lock(path)]  # whoever writes one holds a lock on it
    with _without_dvc() as alone:
        for folder in OWN if alone else ():
            for path in _unfinished(folder, cells=True):
                if _OF_DVC.fullmatch(path.name):
                    path.unlink(missing_ok=True)
                    cleared.append(path)
    return cleared


def _is_of_no_use(path: Path) -> bool:
    """Whether an unfinished file is a lock's, or of a file that is always begun anew."""
    if path.match(".*.lock.partial") or path == RECORDING:
        return True
    return path.match(".*.partial") and any(path.is_relative_to(folder) for folder in _MADE)


def _cells_finished() -> Iterator[Path]:
    """What lies beside whole cells, after it was cleared."""
    for path in sorted(EMBEDDINGS.glob("*/*.*.partial")):
        address = CellAddress.of_partial(path)
        if address.path.is_dir():
            clear_beside(address)
            yield path


@contextlib.contextmanager
def _without_dvc() -> Iterator[bool]:
    """Whether no DVC is at work here; in the block none begins."""
    if not _DVC_LOCK.is_file():
        yield True
        return
    with open(_DVC_LOCK, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True


def _unfinished(folder: Path, *, cells: bool = False) -> Iterator[Path]:
    for here, folders, files in os.walk(folder):
        if Path(here) == RAW:
            folders.clear()  # the images themselves
            continue
        inside = [name for name in folders if name.endswith(".partial")]
        left = (".partial",) if cells else (".partial", ".zarr")
        folders[:] = [name for name in folders if not name.endswith(left)]
        names = (n for n in (*inside, *files) if n.endswith(".partial") or _OF_DVC.fullmatch(n))
        yield from (Path(here, name) for name in names)


def _size(path: Path) -> int:
    try:
        if path.is_dir():
            return sum(_size(inside) for inside in path.iterdir())
        return path.lstat().st_size
    except OSError:  # it was just finished
        return 0
