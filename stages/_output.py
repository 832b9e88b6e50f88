"""Standard output, which may be a file on a disk that is full (``probeline predict … > FILE``)."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def written_out() -> Iterator[None]:
    """Have everything that the block prints written when it ends, or raise what hinders it.

    Without it the interpreter finds out when it ends, and says so in words of its own.

    Raises
    ------
    OSError
        Without the name of a file.
    """
    try:
        yield
    except SystemExit:
        _flush()
        raise
    _flush()


def give_up_output() -> None:
    """Drop what can't be written, which the interpreter would try again at its end (status 120)."""
    try:
        _flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _flush() -> None:
    if sys.stdout is not None:  # it is, where the caller has closed it (``>&-``)
        sys.stdout.flush()
