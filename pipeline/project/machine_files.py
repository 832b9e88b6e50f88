"""``.probeline/``: what is of this machine alone, and of no result; git and DVC ignore it."""

from __future__ import annotations

import contextlib
from pathlib import Path

from cache.errors import ProbelineError
from cache.files import explain_disk_errors, write_durably, write_if_allowed
from pipeline.project.names import checked_name
from pipeline.project.paths import MACHINE


def machine_path(kind: str, name: str) -> Path:
    """Where a file of this machine lies, if it is there.

    Parameters
    ----------
    kind : str
        The folder in ``.probeline/``.
    name : str
        Of the file: a data set's or so, with a suffix.
    """
    checked_name(name.partition(".")[0], "file")
    return MACHINE / kind / name


def machine_file(kind: str, name: str) -> Path:
    """`machine_path`, to write to: its folder is there afterwards, and ignored by git."""
    path = machine_path(kind, name)
    ignore = MACHINE / ".gitignore"
    if not ignore.exists():
        write_durably(ignore, b"*\n")
    with explain_disk_errors(path.parent):
        path.parent.mkdir(exist_ok=True)
    return path


def remember(kind: str, name: str, data: bytes) -> None:
    """Write such a file; in a project that may only be read, nothing is remembered."""
    with contextlib.suppress(ProbelineError):
        write_if_allowed(machine_file(kind, name), data)
