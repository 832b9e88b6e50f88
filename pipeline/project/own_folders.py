"""The project's own folders: a link inside one of them leads nowhere else.

What a clone of somebody else's project holds is theirs to choose, links too. Probeline writes,
replaces and removes folders below these; through a link it would do so in a folder of the user's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from cache.errors import ProbelineError
from pipeline.project.paths import DATA, MACHINE, RAW, REPORT, RESULTS, SCORES

OWN = (DATA, RESULTS, REPORT.parent, SCORES, MACHINE)
"""Each may itself be a link, to a larger disk: that is for the user to choose."""

_DEPTH = 3
"""Folders below one of `OWN` are that many names deep: data/embeddings/DATASET/MODEL.zarr."""


def refuse_links_out() -> None:
    """Look at the folders' names (a hundredth of a second for 26 models on 14 data sets).

    Links to files are DVC's way of sharing its cache, and are never written through: whole files
    replace them (`cache.files`). What is built in a `.partial` folder that holds links is begun
    anew (`cache.writer`).

    Raises
    ------
    ProbelineError
        When a link inside one of the project's folders leads to a folder outside of it.
    """
    for folder in OWN:
        for link in _links(folder, _DEPTH):
            target = link.resolve()
            if not target.is_relative_to(folder.resolve()):
                raise ProbelineError(
                    str(link),
                    f"is a link that leads out of {folder}/",
                    expected="a folder, or no link: what is made there is written, replaced and "
                    "removed by this project",
                    found=f"a link to {link.readlink()}",
                    remedy=f"delete the link; to keep {folder}/ on another disk, make {folder} "
                    "itself the link",
                )


def _links(folder: Path, depth: int) -> Iterator[Path]:
    """Links to folders, below `folder`."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    for entry in entries:
        path = folder / entry.name
        if entry.is_symlink():
            if path.is_dir():
                yield path
        elif depth > 1 and path != RAW and entry.is_dir(follow_symlinks=False):
            yield from _links(path, depth - 1)
