"""What may befall a process at the n-th change of the file system below a folder."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

CHANGES = {
    "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink",
    "shutil.rmtree",
}  # fmt: skip
LOOKS = {"os.listdir", "os.scandir"}

FAULTS = ("KILL", "TERM", "ENOSPC", "EIO", "EFBIG", "UNREADABLE", "READ EIO")
"""The first five strike at a change; with EFBIG, the kernel takes 64 bytes of any file from then on
and refuses the rest, whoever writes. The last two strike at an opening for reading."""

OF_READING = {"UNREADABLE": errno.EACCES, "READ EIO": errno.EIO}

ENDS = {"KILL": (-9,), "TERM": (143, -15)}
"""Statuses of processes that were struck so; all other faults leave 0 or 1."""


@dataclass(frozen=True)
class Fault:
    """What strikes, and at which change (or opening for reading) it does; the first is 1."""

    kind: str
    at: int


@dataclass
class Touched:
    """What a process did below a folder: its changes, each by name, and how often it read."""

    changes: list[str] = field(default_factory=list)
    reads: int = 0


def watched(folder: Path, fault: Fault | None) -> Touched:
    """Note this process's changes of, and looks into, files below a folder; a fault strikes."""
    touched = Touched()

    def noted(operation: str, path: str) -> None:
        if operation == READ:
            touched.reads += 1
        else:
            touched.changes.append(operation)
        if fault is None or (operation == READ) != (fault.kind in OF_READING):
            return
        if fault.at == (touched.reads if operation == READ else len(touched.changes)):
            _befall(fault.kind, path)

    watch(folder, noted)
    return touched


READ = "read"


def watch(folder: Path, noted: Callable[[str, str], None]) -> None:
    """Have a function called before each of this process's operations on files below a folder.

    With its name (`READ`, "open", which is for writing, "fsync", "rename", "mkdir" …) and the path.
    """
    root = os.path.realpath(folder)

    def below(operation: str, path: object) -> None:
        if isinstance(path, bytes):
            path = path.decode(errors="replace")
        if isinstance(path, str | os.PathLike) and os.path.abspath(path).startswith(root):
            noted(operation, os.fspath(path))

    def hook(event: str, arguments: tuple) -> None:
        if event in CHANGES:
            below(event.partition(".")[2], arguments[0])
        elif event in LOOKS:
            below(READ, arguments[0])
        elif event == "open" and isinstance(arguments[2], int):
            below("open" if arguments[2] & 3 else READ, arguments[0])

    sys.addaudithook(hook)

    def fsync(handle: int) -> None:
        below("fsync", os.readlink(f"/proc/self/fd/{handle}"))

    os.fsync = fsync  # the kernel keeps what a killed process wrote: only the fault is wanted


def _befall(kind: str, path: str) -> None:
    if kind in ENDS:
        os.kill(os.getpid(), signal.SIGKILL if kind == "KILL" else signal.SIGTERM)
    elif kind == "EFBIG":
        resource.setrlimit(resource.RLIMIT_FSIZE, (64, resource.RLIM_INFINITY))
    else:
        number = OF_READING.get(kind) or getattr(errno, kind)
        raise OSError(number, os.strerror(number), path)


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """A project in which nobody but a superuser may write."""
    paths = [folder, *folder.rglob("*")]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        yield
    finally:
        for path in paths:
            path.chmod(0o755 if path.is_dir() else 0o644)


def as_ordinary_user() -> None:
    """Of a superuser, take away the right to read and write what its modes forbid."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3, this process
    sets = (ctypes.c_uint32 * 6)()  # twice: effective, permitted, inheritable
    assert libc.capget(header, sets) == 0
    sets[0] &= ~(1 << 1 | 1 << 2 | 1 << 3)  # DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER
    assert libc.capset(header, sets) == 0


def without_locks() -> None:
    """A file system that knows none."""

    def flock(handle: object, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    fcntl.flock = flock


def with_full_output() -> None:
    """Standard output is a file on a disk that is full; errors are heard."""
    sys.stdout = open("/dev/full", "w")
