"""What lies about unfinished: of runs that go on now, and of those that were stopped."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from pipeline.project.own_folders import OWN
from pipeline.project.paths import RAW

SHOWN = 3


def left_overs() -> list[Path]:
    """Everything below the project's own folders whose name ends in ``.partial``, sorted."""
    return sorted(path for folder in OWN for path in _partial(folder))


def describe(found: list[Path]) -> str:
    """In one line; "" of nothing."""
    if not found:
        return ""
    size = sum(_size(path) for path in found) / 1e6
    some = ", ".join(map(str, found[:SHOWN])) + ", …" * (len(found) > SHOWN)
    return (
        f"{len(found):,} unfinished, {size:,.1f} MB, of runs that go on or were stopped: {some}; "
        "the next `dvc repro` (download, import, `cache prune`) takes them up or clears them"
    )


def _partial(folder: Path) -> Iterator[Path]:
    for here, folders, files in os.walk(folder):
        if Path(here) == RAW:
            folders.clear()  # the images themselves
            continue
        inside = [name for name in folders if name.endswith(".partial")]
        folders[:] = [name for name in folders if not name.endswith((".partial", ".zarr"))]
        yield from (Path(here, name) for name in (*inside, *files) if name.endswith(".partial"))


def _size(path: Path) -> int:
    try:
        if path.is_dir():
            return sum(_size(inside) for inside in path.iterdir())
        return path.lstat().st_size
    except OSError:  # it was just finished
        return 0
