"""weights.lock.json: what was fetched for models, with digests; it belongs into git.

All colleagues get the very same weights by it, and what its author has replaced is noticed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cache.errors import ProbelineError
from cache.files import write_durably
from cache.lock import Lock
from pipeline.project.paths import WEIGHTS_LOCK

RECORDING = WEIGHTS_LOCK.with_name(f".{WEIGHTS_LOCK.name}.lock")
"""Held by whoever changes the file."""

_WAIT = 60.0
"""Seconds; whoever holds the lock is writing a few kilobytes."""


def locked(name: str) -> dict[str, Any]:
    """What is recorded of a file, or of a hub's model; empty if it was never fetched here.

    Raises
    ------
    ProbelineError
        When the file is damaged.
    """
    return read_lock().get(name, {})


def read_lock() -> dict[str, dict[str, Any]]:
    """Everything recorded, by name.

    Raises
    ------
    ProbelineError
        When the file is damaged.
    """
    try:
        lock: dict[str, dict[str, Any]] = json.loads(WEIGHTS_LOCK.read_bytes())
        _check(lock)
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError) as error:
        raise ProbelineError(
            str(WEIGHTS_LOCK),
            "is damaged",
            found=str(error),
            remedy="restore it from git, or delete it; the files are then recorded anew",
        ) from None
    return lock


def _check(lock: object) -> None:
    """Refuse what is no record of ours: colleagues' git merges, strangers' clones."""
    if not isinstance(lock, dict):
        raise ValueError("no mapping of names to records")
    for name, facts in lock.items():
        if not isinstance(facts, dict):
            raise ValueError(f"{name}: no record")
        for key, value in facts.items():
            kind = {"size": int, "files": dict}.get(key, str)
            values = value.values() if kind is dict and isinstance(value, dict) else ()
            if not isinstance(value, kind) or not all(isinstance(v, str) for v in values):
                raise ValueError(f"{name}: {key} is {value!r:.80}")


def record(name: str, facts: Mapping[str, Any]) -> None:
    """Keep what was found of something fetched; nothing is written where it is known.

    Raises
    ------
    ProbelineError
        When the file is damaged, or another process keeps it locked.
    """
    if locked(name) == facts:
        return
    alone = Lock(RECORDING, str(WEIGHTS_LOCK), _WAIT)
    try:  # read, change and write as one: else of two processes one's records would be lost
        lock = {**read_lock(), name: dict(facts)}
        text = json.dumps(dict(sorted(lock.items())), indent=1) + "\n"
        write_durably(WEIGHTS_LOCK, text.encode())
    finally:
        alone.release()
