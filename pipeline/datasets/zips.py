"""Members of a zip file, read in place."""

from __future__ import annotations

import stat
import weakref
import zipfile
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager

from cache.errors import ProbelineError
from pipeline.datasets import ledger
from pipeline.datasets.blobs import Blob, OfProcess
from pipeline.datasets.ledger import Ledger
from pipeline.datasets.roots import Entry, Listing, Root, explain_reading, whole
from pipeline.datasets.unwanted import listed
from pipeline.project.foreign_files import words_of

MAX_BYTES = 1 << 30
"""Of a member: a few compressed bytes can promise any length."""


class Zip(Root):
    """See `pipeline.datasets.roots.Root`.

    Parameters
    ----------
    blob : Blob
    leave_out : sequence of str
        See `pipeline.datasets.unwanted.is_named`.
    """

    def __init__(self, blob: Blob, leave_out: Sequence[str] = ()) -> None:
        self.blob, self._leave_out = blob, tuple(leave_out)
        self._archive = OfProcess(self._open)

    def listing(self) -> Listing:
        """All regular files."""
        passed, sizes, folders = Ledger(), {}, []
        for member in self._archive().infolist():
            path = member.filename.removeprefix("./").rstrip("/")
            mode = member.external_attr >> 16
            if member.is_dir():
                folders.append(path)
            elif mode and not stat.S_ISREG(mode) and stat.S_IFMT(mode):
                passed.add(ledger.DEAD_LINK if stat.S_ISLNK(mode) else ledger.NO_FILE, path)
            else:
                sizes[path] = member.file_size
        return listed(sizes, folders, self._leave_out, passed)

    def read(self, entry: Entry) -> bytes:
        """A file's content, compared with the archive's checksum."""
        with explain_reading(entry), _explained(f"{self.blob}: {entry.path}"):
            archive = self._archive()
            if entry.size > MAX_BYTES:
                raise _too_large(entry)
            with self._archive.lock:  # also of a remote file, of which there is one position
                return whole(archive.read(self._named(archive, entry.path)), entry)

    def state(self) -> Hashable:
        """See `Root`."""
        return self.blob.state()

    def _open(self) -> zipfile.ZipFile:
        file = self.blob.open()
        try:
            with _explained(str(self.blob)):
                archive = zipfile.ZipFile(file)
        except BaseException:
            file.close()
            raise
        weakref.finalize(archive, file.close)
        return archive

    def _named(self, archive: zipfile.ZipFile, path: str) -> zipfile.ZipInfo:
        for spelled in (path, f"./{path}"):
            if spelled in archive.NameToInfo:
                return archive.NameToInfo[spelled]
        raise zipfile.BadZipFile("it has no such member any more")


@contextmanager
def _explained(place: str) -> Iterator[None]:
    """Whatever Python's zipfile raises, as an error that names the file; no list would be whole."""
    try:
        yield
    except (ProbelineError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's own
        raise ProbelineError(
            place,
            "can't be unpacked",
            expected="a zip file without password, with deflated or stored members",
            found=words_of(error),
            remedy="copy it again, or pack it anew",
        ) from None


def _too_large(entry: Entry) -> ProbelineError:
    return ProbelineError(
        entry.path,
        "is too large for an image",
        expected=f"at most {MAX_BYTES:,} bytes",
        found=f"{entry.size:,}",
        remedy="leave it out with `leave_out`",
    )
