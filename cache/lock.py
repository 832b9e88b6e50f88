"""Advisory locks that die with their owner: one writer, or several who share a cell's folder."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import socket
import threading
import time
import uuid
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

PATIENCE = 86_400.0
"""Seconds for which a `Mutex` is waited for."""

SILENT = 60.0
"""Of these, until its live owner is named."""

_log = logging.getLogger(__name__)


class Lock:
    """Lock on a file, held until `release` or the end of the process.

    ``flock`` is given back by the kernel when its owner dies, by ``kill -9`` too (on a shared file
    system by its server, when the owner's host is gone), so a dead owner's lock needs no guess
    about its age, and no host's clock. The file's text (host, process, start of that process)
    names the owner to whoever waits or is refused.

    Parameters
    ----------
    path : Path
    place : str
        What is locked, for messages.
    wait : float
        Seconds to wait for a live owner; 0 refuses at once. Each owner that is waited for is
        named in a logged warning.
    shared : bool
        Whether others may share it; who wants it for himself is refused meanwhile.
    silent : float
        Seconds to wait before an owner is named.

    Raises
    ------
    CellLockedError
        When a live process holds it, and still does after `wait`; names that process.
    """

    def __init__(
        self,
        path: Path,
        place: str,
        wait: float = 0.0,
        *,
        shared: bool = False,
        silent: float = 0.0,
    ) -> None:
        self.path, self.shared, self._place = path, shared, place
        how = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        self._handle, owner = _take(path, how)
        start, named = time.monotonic(), ""
        while self._handle < 0:
            waited = time.monotonic() - start
            left = wait - waited
            if left <= 0:
                raise _refusal(place, owner, wait)
            if owner != named and waited >= silent:
                _log.warning(
                    "%s: waiting up to %.0f s for %s, which is writing it", place, left, owner
                )
                named = owner
            time.sleep(min(POLL_SECONDS, left))
            self._handle, owner = _take(path, how)
        self._text = _identity()
        try:
            with explain_disk_errors(path):
                os.ftruncate(self._handle, 0)
                os.pwrite(self._handle, self._text, 0)
        except BaseException:
            self.release()  # nobody else could: the caller gets no lock to release
            raise

    def share(self) -> None:
        """Let others share what this process had for itself.

        Raises
        ------
        CellLockedError
            When a process that wants it for itself was quicker.
        """
        try:
            _flock(self._handle, fcntl.LOCK_SH | fcntl.LOCK_NB, self.path)
        except BlockingIOError:
            raise _refusal(self._place, _describe(os.pread(self._handle, 4096, 0)), 0.0) from None
        self.shared = True

    def is_last(self) -> bool:
        """Whether no other process shares it. Only for who leaves: the lock may be lost by this."""
        if self._handle < 0:  # it has left
            return False
        if self.shared:
            try:
                _flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB, self.path)
            except BlockingIOError:
                return False
            self.shared = False
        return True

    def require_mine(self) -> None:
        """Refuse a lock that another process has, too: it wrote its name over ours.

        Some shared file systems keep locks to the host that took them, without an error.

        Raises
        ------
        ProbelineError
        """
        with contextlib.suppress(FileNotFoundError):
            found = self.path.read_bytes()
            if found not in (self._text, b""):
                raise _of_one_host(self.path, _describe(found))

    def release(self) -> None:
        """Let the next process in; the last one removes the file."""
        if self._handle >= 0:
            try:
                with contextlib.suppress(FileNotFoundError):
                    # Ours may be gone and another's in its place, if somebody emptied the folder.
                    is_there = os.path.samestat(os.fstat(self._handle), os.stat(self.path))
                    if is_there and self.is_last():
                        _remove(self.path)
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


def clear_lock(path: Path) -> bool:
    """Remove the file of a lock whose owner was stopped; a live owner's stays.

    Returns
    -------
    bool
        Whether there was one to remove.
    """
    if not path.exists():
        return False
    try:
        Lock(path, str(path)).release()
    except CellLockedError:
        return False
    return True


class Mutex:
    """A lock that processes take in turn, each for a moment; a thread may take it twice.

    Parameters
    ----------
    path : Path
    place : str
        What is locked, for messages.
    """

    def __init__(self, path: Path, place: str) -> None:
        self._path, self._place = path, place
        self._threads, self._depth = threading.RLock(), 0

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Wait for it, however long that takes, and hold it.

        Raises
        ------
        ProbelineError
            When the file system's locks hold for one host only.
        """
        with self._threads:
            if not self._depth:
                self._lock = Lock(self._path, self._place, PATIENCE, silent=SILENT)
            self._depth += 1
            try:
                yield
                if self._depth == 1:
                    self._lock.require_mine()
            finally:
                self._depth -= 1
                if not self._depth:
                    self._lock.release()

    def require_mine(self) -> None:
        """See `Lock.require_mine`."""
        self._lock.require_mine()


@contextlib.contextmanager
def exclusively(folder: Path) -> Iterator[None]:
    """Wait for, and hold, the right to change a folder's list of names for a moment.

    Of this host's processes: a shared file system's locks are for files only. Those of several
    hosts that change one folder hold a `Mutex`, too.
    """
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


def _remove(path: Path) -> None:
    """Of a lock that is let go: where a disk has failed once, nobody else would remove its file."""
    try:
        path.unlink()
    except FileNotFoundError:
        raise
    except OSError:
        path.unlink()


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


def _take(path: Path, how: int) -> tuple[int, str]:
    """A handle that holds the lock on the file; or -1, and who holds it."""
    while True:
        handle = _open(path)
        try:
            _flock(handle, how | fcntl.LOCK_NB, path)
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
        "lock": uuid.uuid4().hex,  # two containers may have one name, and few processes
    }
    return json.dumps(owner).encode()


def _describe(text: bytes) -> str:
    try:
        owner = load_json(text)
        return f"process {owner['process']} on {owner['host']}, started {owner['started']}"
    except (ValueError, KeyError, TypeError):
        return "a process that has not yet written its name"


def _of_one_host(path: Path, other: str) -> ProbelineError:
    return ProbelineError(
        str(path),
        "is locked by two processes at once: this file system's locks hold for one host only",
        expected="locks that all hosts see (NFS without nolock and local_lock, Lustre with flock)",
        found=other,
        remedy="mount it so, or run all shards on one host; what was committed is kept",
    )


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
