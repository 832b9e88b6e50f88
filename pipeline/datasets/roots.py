"""Where image files lie: a folder, or an uncompressed tar file read in place."""

from __future__ import annotations

import contextlib
import fnmatch
import os
import posixpath
import tarfile
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Protocol

from cache.errors import ProbelineError
from cache.files import OF_THE_DISK
from pipeline.datasets import ledger
from pipeline.datasets.blobs import Blob, LocalBlob
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


UNKNOWN = -1
"""Bytes of a file whose size listing does not tell."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file inside a root.

    Attributes
    ----------
    path : str
        Relative to the root, with ``/``.
    offset, size : int
        Where its bytes lie in the container, and how many they are (`UNKNOWN`: not before it is
        read).
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

    def state(self) -> Hashable:
        """Of the files that hold all others: what is another when they have changed."""


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

    def state(self) -> Hashable:
        """See `Root`; each image is a file of its own here."""
        return None


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
    file : Path or Blob
    leave_out : sequence of str
        See `is_named`.
    """

    def __init__(self, file: Path | Blob, leave_out: Sequence[str] = ()) -> None:
        self.blob: Blob = LocalBlob(file) if isinstance(file, Path) else file
        self._leave_out = tuple(leave_out)

    def entries(self) -> list[Entry]:
        """As `listing`."""
        return self.listing().entries

    def listing(self) -> Listing:
        """All regular files; links to other members are followed, as in the folder they were in."""
        try:
            with (
                self.blob.open() as file,
                tarfile.open(fileobj=file, mode="r:", tarinfo=Member) as archive,
            ):
                # A member appended under the same name replaces the earlier one, as unpacking does.
                members = {_normal(m.name): _sane(m) for m in archive}
        except (ProbelineError, MemoryError):
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno in OF_THE_DISK:
                raise
            raise ProbelineError(
                str(self.blob),
                "is not an uncompressed tar file",
                found=words_of(error),
                remedy="unpack it and name the folder, or repack it without compression",
            ) from None
        found, passed = [], Ledger()
        named = [path for path, member in members.items() if path and member.isdir()]
        folders = open_folders(members, named, self._leave_out, passed)
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

    def read(self, entry: Entry) -> bytes:
        """A file's content."""
        with explain_reading(entry):
            return whole(self.blob.read_at(entry.offset, entry.size), entry)

    def state(self) -> Hashable:
        """See `Root`."""
        return self.blob.state()


def open_folders(
    paths: Iterable[str], named: Iterable[str], leave_out: Sequence[str], passed: Ledger
) -> set[str]:
    """All folders that are not passed over, nor lie in one that is; "" for the outermost.

    Parameters
    ----------
    paths : iterable of str
        Of all files.
    named : iterable of str
        Folders that are listed as such, empty ones too.
    leave_out : sequence of str
        See `is_named`.
    passed : Ledger
        Counts those that are passed over, and the empty ones.
    """
    filled: set[str] = set()
    for path in paths:
        while (path := path.rpartition("/")[0]) and path not in filled:
            filled.add(path)
    folders = {""}
    for folder in sorted(filled.union(named)):
        if folder.rpartition("/")[0] not in folders:
            continue
        reason = unwanted(folder, leave_out, is_folder=True)
        if reason is None:
            folders.add(folder)
        if reason is None and folder not in filled:
            reason = ledger.EMPTY_FOLDER
        if reason is not None:
            passed.add(reason, folder)
    return folders


def listed(
    sizes: Mapping[str, int], named: Iterable[str], leave_out: Sequence[str], passed: Ledger
) -> Listing:
    """What an archive or a remote folder holds.

    Parameters
    ----------
    sizes : mapping of str to int
        Bytes of each file, by path.
    named, leave_out, passed
        See `open_folders`.
    """
    folders = open_folders(sizes, named, leave_out, passed)
    found = []
    for path in sorted(sizes):
        if path.rpartition("/")[0] in folders:
            if (reason := unwanted(path, leave_out, is_folder=False)) is not None:
                passed.add(reason, path)
            else:
                found.append(Entry(path, 0, sizes[path]))
    return Listing(found, sorted(folders - {""}), passed)


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
        self.root, self._listing = root, root.listing()

    def listing(self) -> Listing:
        """As it was when this was made."""
        return self._listing

    def entries(self) -> list[Entry]:
        """As `listing`."""
        return self._listing.entries

    def read(self, entry: Entry) -> bytes:
        """A file's content."""
        return self.root.read(entry)

    def state(self) -> Hashable:
        """See `Root`."""
        return self.root.state()


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
    if len(data) != entry.size and entry.size != UNKNOWN:
        raise ProbelineError(
            entry.path,
            "the file has changed since it was indexed",
            expected=f"{entry.size} bytes",
            found=f"{len(data)} bytes",
            remedy="index the data set again: dvc repro -f index@NAME",
        )
    return data
