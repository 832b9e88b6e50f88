"""``.probeline/``: what is of this machine alone, and of no result; git and DVC ignore it."""

from __future__ import annotations

from pathlib import Path

from cache.files import write_durably
from pipeline.project.names import checked_name
from pipeline.project.paths import MACHINE


def machine_file(kind: str, name: str) -> Path:
    """A file of this machine; its folder is there afterwards, and ignored by git.

    Parameters
    ----------
    kind : str
        The folder in ``.probeline/``.
    name : str
        Of the file: a data set's or so, with a suffix.
    """
    checked_name(name.partition(".")[0], "file")
    ignore = MACHINE / ".gitignore"
    if not ignore.exists():
        write_durably(ignore, b"*\n")
    folder = MACHINE / kind
    folder.mkdir(exist_ok=True)
    return folder / name
