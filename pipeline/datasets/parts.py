"""Data sets in files of one kind (shards): all of a folder, or a single one; here or remote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from cache.errors import ProbelineError
from pipeline.datasets.blobs import Blob, LocalBlob
from pipeline.datasets.doors import located
from pipeline.datasets.folders import Folder
from pipeline.datasets.ledger import LEFT_OUT, Ledger, describe, other_suffix
from pipeline.datasets.remote import Remote, RemoteBlob
from pipeline.datasets.settings import Dataset
from pipeline.datasets.unwanted import is_named

CLASS_NAMES = "classnames.txt"
"""A file beside shards that names the numbered classes, a line each."""


@dataclass(frozen=True)
class Parts:
    """The files that a data set is made of.

    Attributes
    ----------
    where : Path or Remote
        The folder.
    blobs : mapping of str to Blob
        By path below it, sorted.
    ledger : Ledger
        What else lies there.
    """

    where: Path | Remote
    blobs: Mapping[str, Blob]
    ledger: Ledger = field(default_factory=Ledger)

    def beside(self, name: str) -> bytes | None:
        """The content of another file there; None where there is none."""
        if isinstance(self.where, Remote):
            return self.where.read_if_there(name)
        file = self.where / name
        return file.read_bytes() if file.is_file() else None


def parts_of(name: str, dataset: Dataset, suffix: str) -> Parts:
    """The files of a data set, each of which holds many images; see `find_parts`."""
    where, place = located(name, dataset)
    return find_parts(where, suffix, place, dataset.leave_out)


def find_parts(
    where: Path | Remote, suffix: str, place: str, leave_out: Sequence[str] = ()
) -> Parts:
    """All files with an ending, at a path or an address that is a folder or one of them.

    Raises
    ------
    ProbelineError
        When there is none.
    """
    blobs: dict[str, Blob] = {}
    passed = Ledger()
    folder: Path | Remote
    if isinstance(where, Remote):
        if PurePosixPath(where.name).suffix.lower() == suffix:
            folder, blobs = where.parent, {where.name: RemoteBlob(where)}
        else:
            names = sorted(name for name in where.sizes() if name.lower().endswith(suffix))
            folder, blobs = where, {name: RemoteBlob(where.join(name)) for name in names}
    elif where.is_dir():
        folder, listing = where, Folder(where).listing()
        passed.add_all(listing.ledger)
        for entry in listing.entries:
            if PurePosixPath(entry.path).suffix.lower() == suffix:
                blobs[entry.path] = LocalBlob(where / entry.path)
            elif entry.path != CLASS_NAMES:
                passed.add(other_suffix(entry.path), entry.path)
    else:
        folder = where.parent
        if where.is_file() and where.suffix.lower() == suffix:
            blobs = {where.name: LocalBlob(where)}
    left = [name for name in blobs if is_named(name, leave_out)]
    passed.add_paths(LEFT_OUT, left)
    kept = {name: blob for name, blob in blobs.items() if name not in left}
    if not kept:
        others = describe(passed.passed_over()).removeprefix("left out: ")
        raise ProbelineError(
            place,
            "there are no shards at this path",
            expected=f"a folder with {suffix} files, or one",
            found=str(where.absolute() if isinstance(where, Path) else where)
            + (f", with {others}" if others else ""),
            remedy="unpack what is compressed (gunzip), or correct `path` in params.yaml, or the "
            "environment variable that it names",
        )
    return Parts(folder, kept, passed)
