"""Data sets in files of one kind (shards): all of a folder, or a single one; here or remote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cache.errors import ProbelineError
from pipeline.datasets.blobs import Blob, LocalBlob
from pipeline.datasets.doors import located
from pipeline.datasets.remote import Remote, RemoteBlob
from pipeline.datasets.settings import Dataset
from pipeline.datasets.unwanted import is_named


@dataclass(frozen=True)
class Parts:
    """The files that a data set is made of.

    Attributes
    ----------
    where : Path or Remote
        The folder.
    blobs : mapping of str to Blob
        By path below it, sorted.
    left : tuple of str
        Files that `leave_out` names.
    """

    where: Path | Remote
    blobs: Mapping[str, Blob]
    left: tuple[str, ...] = ()

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
    folder: Path | Remote
    if isinstance(where, Remote):
        if PurePosixPath(where.name).suffix == suffix:
            folder, blobs = where.parent, {where.name: RemoteBlob(where)}
        else:
            names = sorted(name for name in where.sizes() if name.endswith(suffix))
            folder, blobs = where, {name: RemoteBlob(where.join(name)) for name in names}
    else:
        folder = where if where.is_dir() else where.parent
        found = where.rglob(f"*{suffix}") if where.is_dir() else [where] * where.is_file()
        files = sorted(path for path in found if path.suffix == suffix)
        blobs = {path.relative_to(folder).as_posix(): LocalBlob(path) for path in files}
    left = tuple(name for name in blobs if is_named(name, leave_out))
    kept = {name: blob for name, blob in blobs.items() if name not in left}
    if not kept:
        raise ProbelineError(
            place,
            "there are no shards at this path",
            expected=f"a folder with {suffix} files, or one",
            found=str(where.absolute() if isinstance(where, Path) else where)
            + (f", where `leave_out` names {len(left)}" if left else ""),
            remedy="correct `path` in params.yaml, or the environment variable that it names",
        )
    return Parts(folder, kept, left)
