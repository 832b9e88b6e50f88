"""From what `path` says to the root that is meant: a folder or an archive, here or elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from cache.errors import ProbelineError
from pipeline.datasets.blobs import Blob, LocalBlob
from pipeline.datasets.folders import Folder
from pipeline.datasets.image_kinds import SUFFIXES
from pipeline.datasets.remote import Remote, RemoteBlob, RemoteFolder, remote
from pipeline.datasets.roots import Root
from pipeline.datasets.settings import Dataset
from pipeline.datasets.tars import Tar
from pipeline.datasets.zips import Zip
from pipeline.machine.environment import expand_path, expand_text
from pipeline.project.words import yaml_text

_ARCHIVES: dict[str, Callable[[Blob, Sequence[str]], Root]] = {".tar": Tar, ".zip": Zip}


def location(text: str, place: str) -> Path | Remote:
    """A path of params.yaml, or an address, with ``$VARIABLES`` filled in.

    Raises
    ------
    ProbelineError
        When a variable is not set, or the address is of no kind that is read.
    """
    return remote(expand_text(text, place), place) or expand_path(text, place)


def located(name: str, dataset: Dataset) -> tuple[Path | Remote, str]:
    """Where a data set's `path` leads, and the place in params.yaml that says so."""
    place = f"params.yaml: datasets.{name}.path"
    assert dataset.path is not None  # the schema demands it of all sources that have one
    return location(dataset.path, place), place


def is_there(name: str, dataset: Dataset) -> bool:
    """Whether its path leads somewhere: not where a variable is not set, or nothing lies there."""
    try:
        where, _ = located(name, dataset)
    except ProbelineError:
        return False
    return isinstance(where, Remote) or where.exists()


def open_path(name: str, dataset: Dataset, *, named: bool = False) -> Root:
    """The folder or archive that `path` names; see `open_root`."""
    where, place = located(name, dataset)
    return open_root(where, place, dataset.leave_out, named)


def open_root(
    where: Path | Remote, place: str, leave_out: Sequence[str] = (), named: bool = False
) -> Root:
    """The root at a path or an address.

    Parameters
    ----------
    where : Path or Remote
    place : str
        For errors.
    leave_out : sequence of str
        See `pipeline.datasets.unwanted.is_named`.
    named : bool
        Whether a table names the files: then a web server will do, which lists none.

    Raises
    ------
    ProbelineError
        When nothing usable is there.
    """
    archive = _ARCHIVES.get(PurePosixPath(where.name).suffix.lower())
    if isinstance(where, Remote):
        return (
            RemoteFolder(where, leave_out, named=named)
            if archive is None
            else archive(RemoteBlob(where), leave_out)
        )
    if where.is_dir():
        return Folder(where, leave_out)
    if where.is_file() and archive is not None:
        return archive(LocalBlob(where), leave_out)
    raise ProbelineError(
        place,
        "there are no images at this path" if where.exists() else "this path does not exist",
        expected="a folder, an uncompressed .tar file, or a .zip file",
        found=str(where.absolute()),
        remedy=_remedy_for(where),
    )


def _remedy_for(where: Path) -> str:
    """What to do about a path at which no data set is."""
    name = where.name.lower()
    if where.exists():
        if name.endswith(_PACKED):
            return "it is compressed: unpack it (`tar -xf`, `7z x` …) and name the folder"
        if name.endswith((".csv", ".tsv")):
            return f"of a table, name its folder as `path`, and `manifest: {yaml_text(where.name)}`"
        if name.endswith(".parquet"):
            return "a table of images: `source: parquet`; one of files' names: `source: manifest`"
        if PurePosixPath(name).suffix in SUFFIXES:
            return "it is a single image: name the folder of the class folders"
    return "correct `path` in params.yaml, or the environment variable that it names"


_PACKED = (".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar", ".tbz2", ".txz")
"""Endings of archives that can't be read in place."""
