"""One writer per cell: an advisory lock that dies with its owner."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from cache.errors import CellLockedError, ProbelineError
from cache.files import explain_disk_errors, not_through_links
from cache.fingerprint import load_json

POLL_SECONDS = 0.2
"""Between two looks at a lock that is waited for."""

_log = logging.getLogger(__name__)


class Lock:
    """Exclusive lock on a file, held until `release` or the end of the process.

    ``flock`` is given back by the kernel when its owner dies, by ``kill -9`` too, so a dead
    owner's lock needs no guess about its age. The file's text (host, process, start of that
    process) only names the owner to whoever waits or is refused.

    Parameters
    ----------
    path : Path
    place : str
        What is locked, for messages.
    wait : float
        Seconds to wait for a live owner; 0 refuses at once. Each owner that is waited for is
        named in a logged warning.

    Raises
    ------
    CellLockedError
        When a live process holds it, and still does after `wait`; names that process.
    """

    def __init__(self, path: Path, place: str, wait: float = 0.0) -> None:
        self.path = path
        self._handle, owner = _take(path)
        end, named = time.monotonic() + wait, ""
        while self._handle < 0:
            left = end - time.monotonic()
            if left <= 0:
                raise _refusal(place, owner, wait)
            if owner != named:
                _log.warning(
                    "%s: waiting up to %.0f s for %s, which is writing it", place, left, owner
                )
                named = owner
            time.sleep(min(POLL_SECONDS, left))
            self._handle, owner = _take(path)
        try:
            with explain_disk_errors(path):
                os.ftruncate(self._handle, 0)
                os.pwrite(self._handle, _identity(), 0)
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
        _flock(handle, fcntl.LOCK_EX, folder)
        yield
    finally:
        os.close(handle)


def _flock(handle: int, how: int, path: Path) -> None:
    try:
        fcntl.flock(handle, how)
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
            raise
        raise ProbelineError(
            str(path),
            "lies on a file system without locks, by which two runs keep out of each other's way",
            expected="one with flock (of NFS: version 4, or version 3 with its lock daemon)",
            found=error.strerror or "",
            remedy="keep the project, or `data` and `results` as links, on another disk",
        ) from error


def _open(path: Path) -> int:
    for attempt in range(100):
        with explain_disk_errors(path):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                return not_through_links(path, os.O_RDWR | os.O_CREAT)
            except (FileNotFoundError, FileExistsError):
                # The owner before us may remove the folder, too, between our two steps.
                if attempt == 99:
                    raise
    raise AssertionError("unreachable")


def _take(path: Path) -> tuple[int, str]:
    """A handle that holds the lock on the file; or -1, and who holds it."""
    while True:
        handle = _open(path)
        try:
            _flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, path)
        except BlockingIOError:
            owner = _describe(os.read(handle, 4096))
            os.close(handle)
            return -1, owner
        except BaseException:
            os.close(handle)
            raise
        # The owner before us may have removed the file between our open and our lock: then we
        # hold a lock on a file that nobody else will find.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), os.stat(path)):
                return handle, ""
        os.close(handle)


def _identity() -> bytes:
    """Names the present process as no later one of the same number could be named."""
    import psutil  # 20 ms that readers, who lock nothing, need not pay

    started = datetime.fromtimestamp(psutil.Process().create_time(), UTC)
    owner = {
        "host": socket.gethostname(),
        "process": os.getpid(),
        "started": started.isoformat(timespec="seconds"),
    }
    return json.dumps(owner).encode()


def _describe(text: bytes) -> str:
    try:
        owner = load_json(text)
        return f"process {owner['process']} on {owner['host']}, started {owner['started']}"
    except (ValueError, KeyError, TypeError):
        return "a process that has not yet written its name"


def _refusal(place: str, owner: str, waited: float) -> CellLockedError:
    return CellLockedError(
        place,
        f"is still being written by another process after {waited:.0f} s"
        if waited
        else "is being written by another process",
        found=owner,
        remedy="wait until it ends, or stop it, then run this again; with "
        "PROBELINE_WAIT_SECONDS=600 an extraction waits by itself, here up to 600 s",
    )
