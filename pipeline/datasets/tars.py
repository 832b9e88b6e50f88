"""Members of an uncompressed tar file, read in place."""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path

from cache.errors import ProbelineError
from cache.files import OF_THE_DISK
from pipeline.datasets import ledger
from pipeline.datasets.blobs import Blob, LocalBlob
from pipeline.datasets.ledger import Ledger
from pipeline.datasets.roots import Entry, Listing, Root, explain_reading, whole
from pipeline.datasets.unwanted import open_folders, unwanted
from pipeline.fetching.archives import LONGEST_PATH, CutShortError, Member, refuse_more
from pipeline.project.foreign_files import words_of


class Tar(Root):
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

    def listing(self) -> Listing:
        """All regular files; links to other members are followed, as in the folder they were in."""
        try:
            with (
                self.blob.open() as file,
                tarfile.open(fileobj=file, mode="r:", tarinfo=Member) as archive,
            ):
                # A member appended under the same name replaces the earlier one, as unpacking does.
                members = {_normal(m.name): _sane(m) for m in archive}
                refuse_more(archive)
        except (ProbelineError, MemoryError):
            raise
        except CutShortError as error:
            raise ProbelineError(
                str(self.blob),
                "is not a whole tar file: not all of its members can be read",
                expected="members one after the other, and the mark of the end",
                found=words_of(error),
                remedy=error.remedy,
            ) from None
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
