"""Holds a lock: python child_lock.py hold PATH, or (race | wait) PATH ROUNDS."""

import contextlib
import os
import sys
import time
from pathlib import Path

from cache.errors import CellLockedError
from cache.lock import Lock


def hold(path: Path) -> None:
    with Lock(path, "cell"):
        print("held", flush=True)
        sys.stdin.readline()


def race(path: Path, rounds: int, wait: float) -> None:
    """Take the lock `rounds` times; meet anyone inside and die of FileExistsError."""
    inside = path.parent.with_name("inside")
    taken, end = 0, time.monotonic() + 30
    while taken < rounds and time.monotonic() < end:
        try:
            lock = Lock(path, "cell", wait)
        except CellLockedError:
            if wait:
                raise
            continue
        os.close(os.open(inside, os.O_CREAT | os.O_EXCL))
        taken += 1
        inside.unlink()
        lock.release()
        with contextlib.suppress(OSError):  # as the cell writer does
            path.parent.rmdir()
    sys.exit(0 if taken == rounds else 2)


if __name__ == "__main__":
    command, place, *rest = sys.argv[1:]
    if command == "hold":
        hold(Path(place))
    else:
        race(Path(place), int(rest[0]), 30.0 if command == "wait" else 0.0)
