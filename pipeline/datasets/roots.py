"""Where image files lie: a folder, or an uncompressed tar file read in place."""

from __future__ import annotations

import contextlib
import fnmatch
import os
import posixpath
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Protocol

from cache.errors import ProbelineError
from cache.files import OF_THE_DISK
from pipeline.datasets import ledger
from pipeline.datasets.ledger import Ledger, Reason
from pipeline.fetching.archives import LONGEST_PATH, Member
from pipeline.project.foreign_files import words_of

SYSTEM_FILES = frozenset(
    ["thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "picasa.ini", "icon\r"]
)
SYSTEM_FOLDERS = frozenset(
    ["@eadir", "@__thumb", "@recycle", "@recently-snapshot", "@tmp", "#recycle", "#snapshot",
     "__macosx", "$recycle.bin", "system volume information", "lost+found", "__pycache__"]
)  # fmt: skip
"""What Windows, macOS and network drives put beside images, in small letters."""


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


@dataclass(frozen=True)
class Listing:
    """What a root holds.

    Attributes
    ----------
    entries : list of Entry
        All files, sorted by path; without those that were passed over.
    folders : list of str
        All folders below the root, sorted, empty ones too.
    ledger : Ledger
        What was passed over.
    """

    entries: list[Entry]
    folders: list[str]
    ledger: Ledger


class Root(Protocol):
    """Something that holds files."""

    def listing(self) -> Listing:
        """All files, and what is passed over."""

    def entries(self) -> list[Entry]:
        """All files, sorted by path, hidden ones left out."""

    def read(self, entry: Entry) -> bytes:
        """A file's content."""


class Folder:
    """Files below a folder.

    Parameters
    ----------
    path : Path
    leave_out : sequence of str
        See `is_named`.
    """

    def __init__(self, path: Path, leave_out: Sequence[str] = ()) -> None:
        self.path, self._leave_out = path, tuple(leave_out)

    def entries(self) -> list[Entry]:
        """As `listing`."""
        return self.listing().entries

    def listing(self) -> Listing:
        """All regular files; links are followed.

        Raises
        ------
        ProbelineError
            When a link leads back to a folder that it lies in, or the folder itself can't be read.
        """
        found, folders, passed = [], [], Ledger()
        with explain_reading(Entry(str(self.path), 0, 0)):
            os.scandir(self.path).close()
        todo: list[tuple[str, tuple[tuple[int, int], ...]]] = [("", (_identity(self.path),))]
        while todo:
            inside, line = todo.pop()
            try:
                with os.scandir(self.path / inside) as opened:
                    items = list(opened)
            except OSError:
                passed.add(ledger.UNREADABLE_FOLDER, inside)
                continue
            if not items and inside:
                passed.add(ledger.EMPTY_FOLDER, inside)
            for item in items:
                path = f"{inside}/{item.name}" if inside else item.name
                is_folder, reason = _look(item)
                reason = unwanted(path, self._leave_out, is_folder=is_folder) or reason
                if reason is not None:
                    passed.add(reason, path)
                elif not is_folder:
                    found.append(Entry(path, 0, item.stat().st_size))
                else:
                    if (identity := _identity(Path(item.path))) in line:
                        _refuse_loop(Path(item.path))
                    folders.append(path)
                    todo.append((path, (*line, identity)))
        return Listing(sorted(found, key=lambda entry: entry.path), sorted(folders), passed)

    def read(self, entry: Entry) -> bytes:
        """A file's content."""
        with explain_reading(entry):
            return whole((self.path / entry.path).read_bytes(), entry)


def unwanted(path: str, leave_out: Sequence[str], *, is_folder: bool) -> Reason | None:
    """Why a path is passed over by its last name alone; None if it is not."""
    name = path.rpartition("/")[2]
    if is_named(path, leave_out):
        return ledger.LEFT_OUT
    if name.startswith("."):
        return ledger.HIDDEN_FOLDER if is_folder else ledger.HIDDEN_FILE
    if name.casefold() in (SYSTEM_FOLDERS if is_folder else SYSTEM_FILES):
        return ledger.SYSTEM_FOLDER if is_folder else ledger.SYSTEM_FILE
    return None


def is_named(path: str, patterns: Sequence[str]) -> bool:
    """Whether a pattern (``*.txt``, ``drafts``, ``train/green``) names this file or folder.

    One without ``/`` names files and folders of that name anywhere; others, a path below the root.
    """
    name = path.rpartition("/")[2]
    return any(
        fnmatch.fnmatchcase(path if "/" in pattern.strip("/") else name, pattern.strip("/"))
        for pattern in patterns
    )


def _look(item: os.DirEntry[str]) -> tuple[bool, Reason | None]:
    """Whether it is a folder; and why it can be neither read nor entered, if so."""
    try:
        if item.is_dir():
            return True, None
        if item.is_file():
            return False, None
    except OSError:  # of a link that leads to itself, or where one may not look
        return False, ledger.DEAD_LINK if item.is_symlink() else ledger.UNREADABLE_FILE
    return False, ledger.DEAD_LINK if item.is_symlink() else ledger.NO_FILE


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
    """Members of an uncompressed tar file, read by offset without unpacking.

    Parameters
    ----------
    path : Path
    leave_out : sequence of str
        See `is_named`.
    """

    def __init__(self, path: Path, leave_out: Sequence[str] = ()) -> None:
        self.path, self._leave_out = path, tuple(leave_out)
        self._handle = -1
        self._owner = -1

    def entries(self) -> list[Entry]:
        """As `listing`."""
        return self.listing().entries

    def listing(self) -> Listing:
        """All regular files; links to other members are followed, as in the folder they were in."""
        try:
            with tarfile.open(self.path, "r:", tarinfo=Member) as archive:
                # A member appended under the same name replaces the earlier one, as unpacking does.
                members = {_normal(m.name): _sane(m) for m in archive}
        except (ProbelineError, MemoryError):
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno in OF_THE_DISK:
                raise
            raise ProbelineError(
                str(self.path),
                "is not an uncompressed tar file",
                found=words_of(error),
                remedy="unpack it and name the folder, or repack it without compression",
            ) from None
        found, passed = [], Ledger()
        folders = self._open_folders(members, passed)
        for path, member in members.items():
            if not path or member.isdir() or path.rpartition("/")[0] not in folders:
                continue
            target = _followed(path, member, members)
            if (reason := unwanted(path, self._leave_out, is_folder=False)) is not None:
                passed.add(reason, path)
            elif target is None:
                is_link = member.islnk() or member.issym()
                passed.add(ledger.TAR_LINK if is_link else ledger.NO_FILE, path)
            elif target.issparse():  # its bytes are fewer than its size says
                passed.add(ledger.SPARSE, path)
            else:
                found.append(Entry(path, target.offset_data, target.size))
        inside = sorted(folders - {""})
        return Listing(sorted(found, key=lambda entry: entry.path), inside, passed)

    def _open_folders(self, members: Mapping[str, tarfile.TarInfo], passed: Ledger) -> set[str]:
        """All folders that are not passed over, nor lie in one that is; "" for the outermost."""
        filled = {folder for path in members for folder in _folders_above(path)}
        folders = {""}
        for folder in sorted(filled | {p for p, m in members.items() if p and m.isdir()}):
            if folder.rpartition("/")[0] not in folders:
                continue
            reason = unwanted(folder, self._leave_out, is_folder=True)
            if reason is None:
                folders.add(folder)
            if reason is None and folder not in filled:
                reason = ledger.EMPTY_FOLDER
            if reason is not None:
                passed.add(reason, folder)
        return folders

    def read(self, entry: Entry) -> bytes:
        """A file's content."""
        if self._owner != os.getpid():  # a worker process opens its own handle
            self._handle, self._owner = os.open(self.path, os.O_RDONLY), os.getpid()
        with explain_reading(entry):
            return whole(os.pread(self._handle, entry.size, entry.offset), entry)


def _sane(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """A member that can be a file: each folder of a path is looked at, so it has a length."""
    if max(len(member.name), len(member.linkname)) > LONGEST_PATH:
        raise tarfile.ReadError(f"a path of {len(member.name):,} characters: {member.name[:40]} …")
    if member.size < 0 or member.offset_data < 0:
        raise tarfile.ReadError(f"a member of {member.size:,} bytes: {member.name[:40]}")
    return member


def _normal(name: str) -> str:
    """A member's path without ``./`` before and ``/`` after it; "" of the folder itself."""
    return "" if name.rstrip("/") == "." else name.removeprefix("./").rstrip("/")


def _folders_above(path: str) -> list[str]:
    """All folders that a path lies in, the innermost first."""
    found = []
    while path := path.rpartition("/")[0]:
        found.append(path)
    return found


def _followed(
    path: str, member: tarfile.TarInfo, members: Mapping[str, tarfile.TarInfo]
) -> tarfile.TarInfo | None:
    """The regular file that a member is or links to; None where there is none."""
    at = path
    for _ in range(len(members)):
        if member.islnk():
            at = _normal(member.linkname)
        elif member.issym():
            at = posixpath.normpath(posixpath.join(posixpath.dirname(at), member.linkname))
        else:
            return member if member.isreg() else None
        if at not in members:
            return None
        member = members[at]
    return None


class Kept:
    """A root that is listed once, however often it is asked.

    Parameters
    ----------
    root : Root
    """

    def __init__(self, root: Root) -> None:
        self._root, self._listing = root, root.listing()

    def listing(self) -> Listing:
        """As it was when this was made."""
        return self._listing

    def entries(self) -> list[Entry]:
        """As `listing`."""
        return self._listing.entries

    def read(self, entry: Entry) -> bytes:
        """A file's content."""
        return self._root.read(entry)


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


def open_root(path: Path, place: str, leave_out: Sequence[str] = ()) -> Root:
    """The root at `path`.

    Raises
    ------
    ProbelineError
        When nothing usable is there.
    """
    if path.is_dir():
        return Folder(path, leave_out)
    if path.is_file() and path.suffix == ".tar":
        return Tar(path, leave_out)
    raise ProbelineError(
        place,
        "there are no images at this path" if path.exists() else "this path does not exist",
        expected="a folder, or an uncompressed .tar file",
        found=str(path.absolute()),
        remedy="correct `path` in params.yaml, or the environment variable that it names",
    )
