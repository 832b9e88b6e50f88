"""Unpacking archives that come from elsewhere: nothing in them reaches outside the target folder.

Refused: absolute names, names with ``..``, links that lead outside, files below a link, devices,
pipes, sparse files, and archives that unpack to far more than they hold.
"""

from __future__ import annotations

import contextlib
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tarfile import (  # type: ignore[attr-defined]  # typeshed knows their base alone
    EmptyHeaderError,
    InvalidHeaderError,
    TruncatedHeaderError,
)
from typing import Self

from cache.errors import ProbelineError
from cache.files import OF_THE_DISK, explain_disk_errors
from pipeline.machine.progress import Progress
from pipeline.project.foreign_files import words_of

_ENCRYPTED = 1
"""Of a zip member's flags."""

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")


LONGEST_WORDS = 1 << 18
"""Bytes of a tar header's names and comments; a path has at most 4,096."""

_WORDS = (
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
)
"""Kinds of headers that hold words of the next one."""

_SCANNED = 1 << 20
"""Bytes after an archive's end that are looked at together; most have a few thousand zeros."""

LONGEST_PATH = 4096
"""Bytes; of more, no file system makes a file, and each of its folders is a path of its own."""


class ArchiveError(ProbelineError):
    """An archive that is damaged, or that would write where it must not."""


@dataclass(frozen=True)
class Limits:
    """What an archive may unpack to.

    Attributes
    ----------
    members : int
    ratio : float
        Bytes unpacked for each byte of the archive. Images hardly shrink, text to a twentieth;
        a bomb unpacks to more than the thousandfold.
    spare : int
        Bytes that any archive may unpack to.
    """

    members: int = 20_000_000
    ratio: float = 60.0
    spare: int = 1 << 26


LIMITS = Limits()


def is_archive(name: str) -> bool:
    """Whether a file of that name is to be unpacked."""
    return name.lower().endswith(ARCHIVES)


def unpack(archive: Path, target: Path, limits: Limits = LIMITS) -> None:
    """Unpack an archive into a folder that is made for it.

    Parameters
    ----------
    archive : Path
        Ends as one of `ARCHIVES`.
    target : Path
        Must not exist. After an error, what was unpacked so far lies there.
    limits : Limits, optional

    Raises
    ------
    ArchiveError
        When the archive is damaged, or holds something that is refused.
    DiskFullError
        When the disk is full.
    """
    with explain_disk_errors(target):
        target.mkdir(parents=True)
        try:
            if zipfile.is_zipfile(archive) and not tarfile.is_tarfile(archive):
                _unpack_zip(archive, target, limits)
            else:
                _unpack_tar(archive, target, limits)
        except (ProbelineError, MemoryError):
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno in OF_THE_DISK:
                raise
            raise ArchiveError(
                str(archive),
                "is damaged, or no archive",
                expected=", ".join(ARCHIVES),
                found=words_of(error),
                remedy="delete it and fetch it again",
            ) from None


class CutShortError(tarfile.ReadError):
    """A tar file of which some members can't be read; `remedy` says what to do about it."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.remedy = remedy


class Member(tarfile.TarInfo):
    """A member whose name and other words are of a bounded length, before they are read.

    Python reads a name of any length that a header promises, in GNU's and in POSIX's form.
    """

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Of one header."""
        member = super().frombuf(buf, encoding, errors)
        if member.type in _WORDS and not 0 <= member.size <= LONGEST_WORDS:
            raise tarfile.ReadError(f"a name or comment of {member.size:,} bytes")
        return member

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> Self:
        """The next member; Python ends the list without a word where its header can't be read."""
        at = tarfile.offset
        try:
            return super().fromtarfile(tarfile)
        except EmptyHeaderError as error:
            if not at:
                raise
            raise CutShortError(
                f"it ends at byte {at:,} without the mark of a tar file's end",
                "copy or write it again; if its writer was stopped and what is there will do: "
                "`tar -rf FILE -T /dev/null` adds the mark",
            ) from error
        except (TruncatedHeaderError, InvalidHeaderError) as error:
            if not at:
                raise
            raise CutShortError(
                f"no member can be read at byte {at:,}: {error}", "copy or write it again"
            ) from error


def refuse_more(archive: tarfile.TarFile) -> None:
    """Refuse what follows the end of a tar file and is another one: Python would not read it.

    Parameters
    ----------
    archive : TarFile
        Of which the last member was read.

    Raises
    ------
    CutShortError
    """
    file, place = archive.fileobj, archive.offset + tarfile.BLOCKSIZE
    while file is not None and (blocks := file.read(_SCANNED)):
        filled = len(blocks) - len(blocks.lstrip(b"\0"))
        if filled < len(blocks):
            start = filled - filled % tarfile.BLOCKSIZE
            with contextlib.suppress(tarfile.HeaderError):  # others fill up the last block
                header = blocks[start : start + tarfile.BLOCKSIZE]
                tarfile.TarInfo.frombuf(header, tarfile.ENCODING, "surrogateescape")
                raise CutShortError(
                    f"a second archive begins at byte {place + start:,}",
                    "join tar files by `tar --concatenate`; or unpack this one "
                    "(`tar --ignore-zeros -xf FILE`) and name the folder",
                )
            return
        place += len(blocks)


class _Budget:
    """Counts what an archive unpacks to, and refuses more than the limits."""

    def __init__(self, archive: Path, limits: Limits) -> None:
        self._archive, self._limits = archive, limits
        self._members = self._bytes = 0
        self._most = int(limits.spare + limits.ratio * archive.stat().st_size)

    def spend(self, size: int) -> None:
        self._members += 1
        self._bytes += size
        if self._members > self._limits.members or self._bytes > self._most:
            raise ArchiveError(
                str(self._archive),
                "unpacks to more than an archive of its size should",
                expected=f"at most {self._limits.members:,} files and {self._most:,} bytes",
                found=f"{self._members:,} files and {self._bytes:,} bytes, and more to come",
                remedy="do not use it; fetch the file from its authors again",
            )


def _unpack_tar(archive: Path, target: Path, limits: Limits) -> None:
    budget, links = _Budget(archive, limits), set[PurePosixPath]()
    with (
        tarfile.open(archive, tarinfo=Member) as members,
        Progress(f"unpack {archive.name}", 0, "files") as progress,
    ):
        for member in members:
            path = _checked(archive, member.name, links)
            if member.issym() or member.islnk():
                links.add(path)
            elif member.issparse() or not (member.isfile() or member.isdir()):
                raise _refused(archive, member.name, "neither a file nor a folder")
            budget.spend(member.size)
            try:  # Python's own filter looks at links and permissions once more
                members.extract(member, target, filter="data")
            except tarfile.FilterError as error:
                raise _refused(archive, member.name, str(error)) from None
            progress.advance()
        refuse_more(members)


def _unpack_zip(archive: Path, target: Path, limits: Limits) -> None:
    budget = _Budget(archive, limits)
    with (
        zipfile.ZipFile(archive) as members,
        Progress(f"unpack {archive.name}", len(members.infolist()), "files") as progress,
    ):
        for member in members.infolist():
            path = target / _checked(archive, member.filename, ())
            if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _refused(archive, member.filename, "neither a file nor a folder")
            if member.flag_bits & _ENCRYPTED:
                raise _refused(archive, member.filename, "a file with a password")
            budget.spend(member.file_size)
            if member.is_dir():
                path.mkdir(parents=True, exist_ok=True)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                with members.open(member) as packed, open(path, "wb") as file:
                    shutil.copyfileobj(packed, file)  # ends at the size that was spent
            progress.advance()


def _checked(archive: Path, name: str, links: Iterable[PurePosixPath]) -> PurePosixPath:
    """The path of a member; one that could lie elsewhere than below the target is refused."""
    if len(name.encode(errors="surrogateescape")) > LONGEST_PATH:
        raise _refused(archive, f"{name[:80]}…", f"a name of {len(name):,} characters")
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        raise _refused(archive, name, "a name that leads out of the folder")
    if not links:
        return path
    if any(parent in links for parent in (path, *path.parents)):
        raise _refused(archive, name, "a file below a link")
    return path


def _refused(archive: Path, name: str, what: str) -> ArchiveError:
    return ArchiveError(
        str(archive),
        "holds something that is not unpacked",
        expected="files and folders below one folder",
        found=f"{name!r}: {what}",
        remedy="do not use it; fetch the file from its authors again",
    )
