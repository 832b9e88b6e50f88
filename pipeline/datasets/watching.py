"""Whether a data set's files are still those that were indexed: their number, sizes and times.

Sizes are sealed in the index. Times of change are of this machine: what was seen when the index was
made is kept in ``.probeline/``, which neither git nor DVC looks at. Without it (the index came from
a colleague) sizes alone are compared.
"""

from __future__ import annotations

import io
import json
import math
import time
from collections.abc import Collection, Container, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from cache.errors import CellCorruptError, ProbelineError, printable
from cache.files import sha256_file
from cache.fingerprint import load_json
from cache.seals import read_sealed, with_seal
from pipeline.datasets.index import Index, read_index
from pipeline.datasets.settings import Dataset
from pipeline.datasets.source_list import source_of
from pipeline.datasets.watched_files import (
    Watched,
    list_folders,
    state_of,
    watched_files,
)
from pipeline.project import machine_files
from pipeline.project.paths import index_path

_METADATA = b"probeline.seen"
_ROWS = 1 << 13
"""Files of a row group, the least that is unpacked."""

_AT_ONCE = 256
"""Files looked at before the clock is."""

States = dict[str, tuple[int, int | None]]
"""By path: bytes, and time of change; None where nobody knows the time."""


@dataclass(frozen=True)
class Seen:
    """What was there when a data set was indexed.

    Attributes
    ----------
    root : str
    folders : mapping of str to int
        Time of the last change of each folder.
    files : mapping of str to (int, int or None)
        Bytes and time of change of each file that counts.
    """

    root: str
    folders: dict[str, int]
    files: States


@dataclass
class Look:
    """What a look at a data set's files found.

    Attributes
    ----------
    name : str
    new, changed, gone : list of str
        Paths of files.
    touched : list of str
        Of those changed: as large as before.
    looked, of : int
        Files that were looked at, and files that were indexed.
    """

    name: str
    new: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    touched: list[str] = field(default_factory=list)
    looked: int = 0
    of: int = 0

    @property
    def differs(self) -> bool:
        """Whether anything is not as it was indexed."""
        return bool(self.new or self.changed or self.gone)

    @property
    def is_whole(self) -> bool:
        """Whether every file was looked at."""
        return self.looked >= self.of

    def __str__(self) -> str:
        words = f"{self.name}: as indexed"
        if self.differs:
            examples = map(printable, [*self.new, *self.changed, *self.gone][:2])
            words = (
                f"{self.name}: {len(self.new):,} new, {len(self.changed):,} changed, "
                f"{len(self.gone):,} gone (e.g. {', '.join(examples)}): "
                f"`dvc repro -f index@{self.name}`, then `dvc repro`"
            )
        if not self.is_whole:
            words += (
                f"; {self.looked:,} of {self.of:,} files were looked at, "
                "`probeline datasets check` looks at all"
            )
        return words


def see(name: str, dataset: Dataset) -> Seen | None:
    """List a data set's files, before they are indexed: what changes later is then noticed."""
    watched = watched_files(name, dataset)
    if watched is None or watched.manifest:
        return None  # the index itself says which files a manifest names
    folders: dict[str, int] = {}
    files: States = {}
    for listed in list_folders(watched):
        folders[listed.folder] = listed.time
        files |= listed.files
    return Seen(str(watched.root.absolute()), folders, files)


def remember(index: Index, dataset: Dataset, seen: Seen | None) -> None:
    """Keep what was seen beside the index that was made of it."""
    watched = watched_files(index.name, dataset)
    if watched is None:
        return
    if seen is None:
        files: States = {}
        for path in [*index.rows["path"].to_pylist(), watched.manifest]:
            state = state_of(watched.root / path)
            files[path] = state if state is not None else (-1, None)
        parents = {path.rpartition("/")[0] for path in files}
        folders = {p: _time_of(watched.root / p) for p in sorted(parents)}
        seen = Seen(str(watched.root.absolute()), folders, files)
    _write(index.name, seen)


def look(
    name: str, dataset: Dataset, until: float = math.inf, *, index: Index | None = None
) -> Look | None:
    """Compare a data set's files with what was indexed; reads none of them.

    Folders first, whose own time says whether something came or went; then each file's size and
    time, in the order of the index.

    Parameters
    ----------
    name : str
    dataset : Dataset
    until : float
        `time.monotonic()` at which to stop; what was not looked at is counted.
    index : Index, optional

    Returns
    -------
    Look or None
        None where there is nothing to look at on this machine, or nothing was indexed.
    """
    try:
        watched = watched_files(name, dataset)
        if watched is None or not watched.root.is_dir():
            return None
        if (found := _by_what_was_seen(name, watched, until)) is not None:
            return found
        of_index = _of_index(read_index(name) if index is None else index, dataset, watched)
        found = Look(name, of=len(of_index))
        if _check(found, watched, of_index, until) and not watched.only:
            found.new = sorted(_unlisted(watched, of_index, dataset))
        return found
    except ProbelineError:
        return None


def _by_what_was_seen(name: str, watched: Watched, until: float) -> Look | None:
    """The look, if it is known what was there; what is damaged is as good as not known."""
    remembered = _open(name, watched)
    if remembered is None:
        return None
    try:
        return _compared(name, watched, remembered, until)
    except Exception:  # noqa: BLE001 - a copied folder holds whatever it holds
        return None


def _compared(name: str, watched: Watched, remembered: pq.ParquetFile, until: float) -> Look:
    with remembered as file:
        found = Look(name, of=file.metadata.num_rows)
        folders = _facts(file)["folders"]
        altered = {f for f, t in folders.items() if _time_of(watched.root / f) != t}
        altered -= {""} if watched.only else set()
        near = _files_in(file, altered)
        _check(found, watched, near, math.inf)
        if not watched.manifest:
            found.new = sorted(_new_files(watched, folders, altered, near))
        for group in range(file.num_row_groups):
            if time.monotonic() >= until:
                break
            _check(found, watched, _rows(file, group), until, near)
    return found


def look_closely(name: str, dataset: Dataset) -> Look | None:
    """`look` at everything, and read the files that have another time but the size as before.

    Copying or checking out files gives them another time and no other content; those are then
    remembered as they are now.
    """
    found = look(name, dataset)
    watched = watched_files(name, dataset)
    if found is None or watched is None or not found.touched:
        return found
    index = read_index(name)
    digests = dict(zip(*(index.rows[c].to_pylist() for c in ("path", "sha256")), strict=True))
    same = {p for p in found.touched if digests.get(p) == sha256_file(watched.root / p)}
    found.changed = [path for path in found.changed if path not in same]
    if same and (remembered := _open(name, watched)) is not None:
        with remembered as file:
            files = {p: s for g in range(file.num_row_groups) for p, s in _rows(file, g).items()}
            folders = _facts(file)["folders"]
        now = {path: state for path in same if (state := state_of(watched.root / path))}
        _write(name, Seen(str(watched.root.absolute()), folders, files | now))
    return found


def _check(
    found: Look, watched: Watched, files: States, until: float, done: Container[str] = ()
) -> bool:
    """Compare files with what is known of them; False where time was up before the last."""
    for number, (path, (size, when)) in enumerate(files.items()):
        if number % _AT_ONCE == 0 and time.monotonic() >= until:
            return False
        if path in done:
            continue
        found.looked += 1
        now = state_of(watched.root / path)
        if now is None:
            found.gone.append(path)
        elif now[0] != size or when not in (None, now[1]):
            found.changed.append(path)
            if now[0] == size:
                found.touched.append(path)
    return True


def _new_files(
    watched: Watched, folders: Container[str], altered: Iterable[str], known: Container[str]
) -> Iterator[str]:
    """Files that nobody saw, in folders that have changed and in those that are new."""
    for folder in altered:
        for listed in list_folders(watched, folder, without=folders):
            yield from (path for path in listed.files if path not in known)


def _unlisted(watched: Watched, known: Container[str], dataset: Dataset) -> Iterator[str]:
    """Files that are not in the index, where it names every file that counts."""
    if watched.manifest or dataset.limit_per_class is not None or source_of(dataset).is_selective:
        return
    for listed in list_folders(watched):
        yield from (path for path in listed.files if path not in known)


def _files_in(file: pq.ParquetFile, folders: Collection[str]) -> States:
    """The remembered files directly in some folders; rows are sorted by path."""
    found: States = {}
    for group in range(file.num_row_groups) if folders else ():
        bounds = file.metadata.row_group(group).column(0).statistics
        # What lies in a folder comes after its name with "/", and before its name with "0".
        if "" in folders or any(
            bounds.max >= f"{folder}/" and bounds.min < f"{folder}0" for folder in folders
        ):
            rows = _rows(file, group)
            found |= {p: s for p, s in rows.items() if p.rpartition("/")[0] in folders}
    return found


def _of_index(index: Index, dataset: Dataset, watched: Watched) -> States:
    """What an index alone says: no time, and of a container not even the size."""
    if watched.only or source_of(dataset).suffix:
        return {}
    columns = (index.rows[name].to_pylist() for name in ("path", "bytes"))
    files: States = {path: (size, None) for path, size in zip(*columns, strict=True)}
    skipped = {path: state_of(watched.root / path) for path in index.skipped}
    return files | {path: (state[0], None) for path, state in skipped.items() if state is not None}


def _open(name: str, watched: Watched) -> pq.ParquetFile | None:
    """What was remembered, if it is of the present index and folder."""
    try:
        data = read_sealed(machine_files.machine_path("seen", f"{name}.parquet"))
        file = pq.ParquetFile(pa.BufferReader(data))
        facts = _facts(file)
        right = facts["root"] == str(watched.root.absolute())
        if right and facts["index"] == sha256_file(index_path(name)):
            return file
        file.close()
    except (OSError, CellCorruptError, pa.ArrowException, ValueError, KeyError, TypeError):
        pass
    return None


def _write(name: str, seen: Seen) -> None:
    facts = {"root": seen.root, "folders": seen.folders, "index": sha256_file(index_path(name))}
    paths = sorted(seen.files)
    table = pa.table(
        {
            "path": pa.array(paths, pa.string()),
            "bytes": pa.array([seen.files[p][0] for p in paths], pa.int64()),
            "time": pa.array([seen.files[p][1] for p in paths], pa.int64()),
        }
    ).replace_schema_metadata({_METADATA: json.dumps(facts).encode()})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", row_group_size=_ROWS)
    machine_files.remember("seen", f"{name}.parquet", with_seal(buffer.getvalue()))


def _facts(file: pq.ParquetFile) -> dict:  # type: ignore[type-arg]
    return dict(load_json(file.schema_arrow.metadata[_METADATA]))


def _rows(file: pq.ParquetFile, group: int) -> States:
    table = file.read_row_group(group)
    columns = (table[name].to_pylist() for name in ("path", "bytes", "time"))
    return {path: (size, when) for path, size, when in zip(*columns, strict=True)}


def _time_of(folder: Path) -> int:
    state = state_of(folder)
    return -1 if state is None else state[1]
