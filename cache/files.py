"""Bytes on disk: digests, and writes that are whole or absent."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import pwd
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from cache.errors import DiskFullError, ProbelineError

_BLOCK = 1 << 20


def sha256_bytes(data: bytes | memoryview) -> str:
    """SHA-256 of `data`, as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's content, as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


OF_THE_DISK = frozenset(
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EFBIG", "EIO", "ELOOP", "EACCES", "EPERM", "EROFS", "ENOENT")
)
"""Errors that are no fault of the file that is being read or written."""


@contextlib.contextmanager
def explain_disk_errors(path: Path) -> Iterator[None]:
    """Turn "no space", "quota" and "may not write" into errors that say what to do.

    Raises
    ------
    DiskFullError
        On ENOSPC and EDQUOT.
    ProbelineError
        On EFBIG; on EIO; on ELOOP; on EACCES, EPERM and EROFS.
    """
    try:
        yield
    except ProbelineError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(
                str(path),
                "the disk is full",
                found=error.strerror or "",
                remedy="free some space and run the same command again: "
                "what was committed is kept and is not computed again",
            ) from error
        if error.errno == errno.EFBIG:
            raise ProbelineError(
                str(path),
                "is larger than a file may be here",
                found=error.strerror or "",
                remedy="raise the limit (`ulimit -f`), or use another file system",
            ) from error
        if error.errno == errno.EIO:
            raise ProbelineError(
                str(path),
                "the disk reports an error",
                found=error.strerror or "",
                remedy="look at the disk; what was committed is kept: "
                "`probeline cache verify --deep` says whether it is whole",
            ) from error
        if error.errno == errno.ELOOP:
            raise ProbelineError(
                str(path),
                "is a link, and nothing is written through it",
                expected="a file of this project",
                found=str(error.filename or path),
                remedy="delete the link",
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise ProbelineError(
                str(path),
                "may not be written",
                found=f"{error.strerror}{whose(path)}",
                remedy="make the folder writable for this user",
            ) from error
        raise


def whose(path: str | os.PathLike[str]) -> str:
    """Of a file, or else of the folder that it is in: ", it belongs to NAME"; "" if that is us."""
    for place in (Path(path), *Path(path).parents):
        with contextlib.suppress(OSError):
            owner = place.lstat().st_uid
            if owner == os.geteuid():
                return ""
            name = str(owner)
            with contextlib.suppress(KeyError):  # a container may know no such user
                name = pwd.getpwuid(owner).pw_name
            return f", {'it' if place == Path(path) else place} belongs to {name}"
    return ""


def not_through_links(path: str | os.PathLike[str], flags: int) -> int:
    """Open a file that is written in place, as ``opener=`` of `open`; never what a link leads to.

    Raises
    ------
    OSError
        ELOOP, where the path's last name is a link; `explain_disk_errors` explains it.
    """
    return os.open(path, flags | os.O_NOFOLLOW, 0o644)


def fsync_directory(path: Path) -> None:
    """Make renames and new names inside `path` survive a power loss."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_durably(path: Path, data: bytes | memoryview) -> None:
    """Write `data` to `path` so that a reader finds all of it or the former file.

    Raises
    ------
    DiskFullError
        When the disk is full; the temporary file is removed.
    """
    with whole_file(path) as file:
        file.write(data)


def write_if_allowed(path: Path, data: bytes) -> None:
    """As `write_durably`; nothing where that fails. Of what is only remembered, to save time.

    A project that may only be read (a colleague's, an archive's) is looked at all the same.
    """
    with contextlib.suppress(ProbelineError):
        write_durably(path, data)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which becomes `path` when the block ends, whole, or not at all.

    Temporary file in the same folder, fsync, rename, fsync of the folder. Its name ends in
    ``.partial``, which DVC and the readers ignore, and is always the same for a path: what a killed
    process leaves there, the next writer takes over, so that nothing piles up. Whoever writes holds
    an ``flock`` on it, which dies with its owner.

    Raises
    ------
    DiskFullError
        When the disk is full; the temporary file is removed.
    """
    temporary = path.with_name(f".{path.name}.partial")
    with explain_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(temporary) as file:
            try:
                file.truncate(0)
                yield file
                file.flush()
                os.fsync(file.fileno())
                os.replace(temporary, path)
            except BaseException:
                with contextlib.suppress(FileNotFoundError):
                    temporary.unlink()
                raise
        fsync_directory(path.parent)


@contextlib.contextmanager
def _alone(temporary: Path) -> Iterator[BinaryIO]:
    """A file that no other process writes meanwhile (where the file system knows no locks: may)."""
    while True:
        if temporary.is_symlink():  # a stranger's: nothing is written through it
            temporary.unlink()
        with open(temporary, "r+b", opener=_created) as file:
            with contextlib.suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX)
            if _is_at(temporary, file):  # else whoever held it has renamed or removed it meanwhile
                yield file
                return


def _is_at(path: Path, file: BinaryIO) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.lstat(path))
    except FileNotFoundError:
        return False


def _created(path: str, flags: int) -> int:
    return not_through_links(path, flags | os.O_CREAT)
