"""Where a taken classifier is built, beside the folder that it becomes."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from cache.errors import ProbelineError
from cache.fingerprint import fingerprint
from cache.lock import Lock
from cache.removal import discard, leave
from pipeline.taken.folder import refuse_existing


def beside_of(out: Path) -> Path:
    """Always the same for a folder: whoever builds it takes over what a killed run left."""
    # A name may have 255 bytes, and an accented letter takes several.
    name = out.name if len(os.fsencode(out.name)) < 200 else fingerprint(out.name)[:32]
    return out.with_name(f".{name}.partial")


def require_free(out: Path) -> None:
    """Refuse to write over anything; what was left beside a folder that is whole goes.

    Nobody takes that over, as the folder is never written again. A live process keeps its own.

    Raises
    ------
    ProbelineError
        When something is there.
    """
    beside = beside_of(out)
    if out.is_dir() and beside.is_dir():
        with contextlib.suppress(ProbelineError, OSError):
            with Lock(beside / "lock", str(out)):
                discard(beside / "taken")
            leave(beside)
    refuse_existing(out)
