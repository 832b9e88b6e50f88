"""One writer per cell: an advisory lock that dies with its owner."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from cache.errors import CellLockedError
from cache.files import explain_disk_errors


class Lock:
    """Exclusive lock on a file, held until `release` or the end of the process.

    ``flock`` is given back by the kernel when its owner dies, by ``kill -9`` too, so a dead
    owner's lock needs no guess about its age. The file's text (host, process) only names the
    owner to whoever is refused.

    Raises
    ------
    CellLockedError
        When a live process holds it; names that process.
    """

    def __init__(self, path: Path, place: str) -> None:
        self.path = path
        while True:
            handle = _open(path)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                owner = os.read(handle, 4096).decode(errors="replace")
                os.close(handle)
                raise CellLockedError(
                    place,
                    "is being written by another process",
                    found=_describe(owner),
                    remedy="wait until it ends, or stop it, then run this again",
                ) from None
            # The owner before us may have removed the file between our open and our lock: then
            # we hold a lock on a file that nobody else will find.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(handle), os.stat(path)):
                    break
            os.close(handle)
        self._handle = handle
        owner = json.dumps({"host": socket.gethostname(), "process": os.getpid()})
        try:
            with explain_disk_errors(path):
                os.ftruncate(handle, 0)
                os.pwrite(handle, owner.encode(), 0)
        except BaseException:
            self.release()  # nobody else could: the caller gets no lock to release
            raise

    def release(self) -> None:
        """Remove the lock file and let the next process in."""
        if self._handle >= 0:
            try:
                with contextlib.suppress(FileNotFoundError):
                    # Ours may be gone and another's in its place, if somebody emptied the folder.
                    if os.path.samestat(os.fstat(self._handle), os.stat(self.path)):
                        self.path.unlink()
            finally:
                os.close(self._handle)
                self._handle = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


@contextlib.contextmanager
def exclusively(folder: Path) -> Iterator[None]:
    """Wait for, and hold, the right to change a folder's list of names for a moment."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _open(path: Path) -> int:
    for attempt in range(100):
        with explain_disk_errors(path):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            except (FileNotFoundError, FileExistsError):
                # The owner before us may remove the folder, too, between our two steps.
                if attempt == 99:
                    raise
    raise AssertionError("unreachable")


def _describe(text: str) -> str:
    try:
        owner = json.loads(text)
        return f"process {owner['process']} on {owner['host']}"
    except (ValueError, KeyError, TypeError):
        return "a process that has not yet written its name"
