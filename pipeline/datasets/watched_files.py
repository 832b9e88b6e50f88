"""A data set's files as the system lists them: names, sizes, times of change; none is read."""

from __future__ import annotations

import os
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cache.errors import ProbelineError
from pipeline.datasets.doors import located
from pipeline.datasets.image_kinds import SUFFIXES
from pipeline.datasets.remote import Remote
from pipeline.datasets.settings import Dataset
from pipeline.datasets.source_list import source_of
from pipeline.datasets.unwanted import unwanted
from pipeline.machine.environment import expand_path


@dataclass(frozen=True)
class Watched:
    """Which files of the user's a data set is made of.

    Attributes
    ----------
    root : Path
        A folder; paths are relative to it.
    suffixes : frozenset of str
        Of files that count when they are new.
    only : str
        The one file that is meant, in `root`; "" for all.
    manifest : str
        A file that says which of them belong to the data set, or "": then a new file is none of
        it until that file names it.
    leave_out : tuple of str
        Files and folders that are no part of it; see `pipeline.datasets.unwanted.is_named`.
    """

    root: Path
    suffixes: frozenset[str]
    only: str = ""
    manifest: str = ""
    leave_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Listed:
    """A folder and the files directly in it.

    Attributes
    ----------
    folder : str
        Relative to the root; "" for the root itself.
    time : int
        When an entry was last added, removed or renamed, in nanoseconds.
    files : dict of str to (int, int)
        By path: bytes, and time of change in nanoseconds.
    """

    folder: str
    time: int
    files: dict[str, tuple[int, int]]


def watched_files(name: str, dataset: Dataset) -> Watched | None:
    """What to look at; None where the images are not files that the user keeps for this data set.

    Built-in data sets are made here, those of libraries are converted once, and of imported
    embeddings `cache import` keeps a copy.
    """
    source = source_of(dataset)
    if dataset.path is None or not source.is_watched(dataset):
        return None
    path, place = located(name, dataset)
    if isinstance(path, Remote):
        return None
    if source.suffix:
        folder, only = (path, "") if path.is_dir() else (path.parent, path.name)
        left = tuple(dataset.leave_out)
        return Watched(folder, frozenset([source.suffix]), only, leave_out=left)
    if path.suffix.lower() in (".tar", ".zip") and not path.is_dir():
        return Watched(path.parent, frozenset([path.suffix.lower()]), path.name)
    manifest = ""
    if "manifest" in source.needs and dataset.manifest is not None:
        manifest = dataset.manifest
        if not (path / manifest).is_file():
            manifest = os.path.relpath(expand_path(manifest, place), path)
    return Watched(path, SUFFIXES, manifest=manifest, leave_out=tuple(dataset.leave_out))


def why_unwatched(name: str, dataset: Dataset) -> str:
    """Why there is nothing to look at on this machine; "" where there is."""
    try:
        watched = watched_files(name, dataset)
    except ProbelineError as error:  # a variable that is not set here
        return f"{error.problem} ({error.place})"
    if watched is None:
        return "its images are not files on this disk"
    return "" if watched.root.is_dir() else f"{watched.root} is not there"


def list_folders(
    watched: Watched, start: str = "", *, without: Container[str] = ()
) -> Iterator[Listed]:
    """Every folder from `start` downwards, but none of `without`, with its files that count.

    Links are followed, but for one that leads back; a folder that can't be read has no files here.
    """
    if watched.only:
        state = state_of(watched.root / watched.only)
        yield Listed("", 0, {} if state is None else {watched.only: state})
        return
    waiting: list[tuple[str, tuple[tuple[int, int], ...]]] = [(start, ())]
    while waiting:
        folder, above = waiting.pop()
        try:
            facts = (watched.root / folder).stat()
            identity = (facts.st_dev, facts.st_ino)
            if identity in above:
                continue
            files, folders = _entries(watched, folder)
        except OSError:
            continue
        yield Listed(folder, facts.st_mtime_ns, files)
        waiting += [(f, (*above, identity)) for f in folders if f not in without]


def _entries(watched: Watched, folder: str) -> tuple[dict[str, tuple[int, int]], list[str]]:
    """The files that count and the folders directly in a folder."""
    files, folders = {}, []
    for entry in sorted(os.scandir(watched.root / folder), key=lambda entry: entry.name):
        inside = f"{folder}/{entry.name}" if folder else entry.name
        is_folder = entry.is_dir()
        # A manifest may name hidden files, and what it does not name is none of the data set.
        if not watched.manifest and unwanted(inside, watched.leave_out, is_folder=is_folder):
            continue
        if is_folder:
            folders.append(inside)
        elif PurePosixPath(entry.name).suffix.lower() in watched.suffixes:
            state = state_of(entry)
            if state is not None:
                files[inside] = state
    return files, folders


def state_of(file: Path | os.DirEntry[str]) -> tuple[int, int] | None:
    """Bytes and time of change (nanoseconds); None where no file is."""
    try:
        facts = file.stat()
    except OSError:
        return None
    return facts.st_size, facts.st_mtime_ns
