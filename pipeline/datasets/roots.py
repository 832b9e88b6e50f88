"""Where image files lie: a folder, or an uncompressed tar file read in place."""

from __future__ import annotations

import contextlib
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Protocol

from cache.errors import ProbelineError


@dataclass(frozen=True)
class Entry:
    """A file inside a root.

    Attributes
    ----------
    path : str
        Relative to the root, with ``/``.
    offset, size : int
        Where its bytes lie in the container, and how many they are.
    """

    path: str
    offset: int
    size: int


class Root(Protocol):
    """Something that holds files."""

    def entries(self) -> list[Entry]:
        """All regular files, sorted by path, hidden ones left out."""

    def read(self, entry: Entry) -> bytes:
        """A file's content."""


class Folder:
    """Files below a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def entries(self) -> list[Entry]:
        """All regular files, sorted by path, hidden ones left out; links are followed.

        Raises
        ------
        ProbelineError
            When a link leads back to a folder that it lies in.
        """
        found = []
        above: dict[Path, tuple[tuple[int, int], ...]] = {self.path: (_identity(self.path),)}
        for folder, folders, files in os.walk(self.path, followlinks=True):
            folders[:] = [name for name in folders if not name.startswith(".")]
            line = above.pop(Path(folder))
            for name in folders:
                path = Path(folder, name)
                if (identity := _identity(path)) in line:
                    _refuse_loop(path)
                above[path] = (*line, identity)
            for name in files:
                path = Path(folder, name)
                if not name.startswith(".") and path.is_file():
                    relative = path.relative_to(self.path).as_posix()
                    found.append(Entry(relative, 0, path.stat().st_size))
        return sorted(found, key=lambda entry: entry.path)

    def read(self, entry: Entry) -> bytes:
        """A file's content."""
        with explain_reading(entry):
            return whole((self.path / entry.path).read_bytes(), entry)


def _identity(folder: Path) -> tuple[int, int]:
    """The same for all paths that lead to a folder."""
    known = folder.stat()
    return known.st_dev, known.st_ino


def _refuse_loop(link: Path) -> NoReturn:
    raise ProbelineError(
        str(link),
        "this link leads back to a folder that it lies in",
        expected="folders that end",
        found=f"a link to {link.readlink()}" if link.is_symlink() else "a folder inside itself",
        remedy="delete the link",
    )


class Tar:
    """Members of an uncompressed tar file, read by offset without unpacking."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle = -1
        self._owner = -1

    def entries(self) -> list[Entry]:
        """All regular files, sorted by path, hidden ones left out."""
        try:
            with tarfile.open(self.path, "r:") as archive:
                members = [m for m in archive if m.isreg()]
        except tarfile.TarError as error:
            raise ProbelineError(
                str(self.path),
                "is not an uncompressed tar file",
                found=str(error),
                remedy="unpack it and name the folder, or repack it without compression",
            ) from None
        # A member appended under the same name replaces the earlier one, as when unpacking.
        named = {m.name.removeprefix("./"): m for m in members}
        found = [Entry(name, m.offset_data, m.size) for name, m in named.items()]
        visible = [e for e in found if not any(p.startswith(".") for p in e.path.split("/"))]
        return sorted(visible, key=lambda entry: entry.path)

    def read(self, entry: Entry) -> bytes:
        """A file's content."""
        if self._owner != os.getpid():  # a worker process opens its own handle
            self._handle, self._owner = os.open(self.path, os.O_RDONLY), os.getpid()
        with explain_reading(entry):
            return whole(os.pread(self._handle, entry.size, entry.offset), entry)


@contextlib.contextmanager
def explain_reading(entry: Entry) -> Iterator[None]:
    """Turn what the system says of a file into an error that names it and a remedy.

    Raises
    ------
    ProbelineError
    """
    try:
        yield
    except OSError as error:
        raise ProbelineError(
            entry.path,
            "the file can't be read",
            found=error.strerror or str(error),
            remedy="put it back (or make it readable), or index the data set again",
        ) from None


def whole(data: bytes, entry: Entry) -> bytes:
    """The data, if they are as many as were indexed.

    Raises
    ------
    ProbelineError
        When the file has changed.
    """
    if len(data) != entry.size:
        raise ProbelineError(
            entry.path,
            "the file has changed since it was indexed",
            expected=f"{entry.size} bytes",
            found=f"{len(data)} bytes",
            remedy="index the data set again: dvc repro -f index@NAME",
        )
    return data


def open_root(path: Path, place: str) -> Root:
    """The root at `path`.

    Raises
    ------
    ProbelineError
        When nothing usable is there.
    """
    if path.is_dir():
        return Folder(path)
    if path.is_file() and path.suffix == ".tar":
        return Tar(path)
    raise ProbelineError(
        place,
        "there are no images at this path" if path.exists() else "this path does not exist",
        expected="a folder, or an uncompressed .tar file",
        found=str(path.absolute()),
        remedy="correct `path` in params.yaml, or the environment variable that it names",
    )
