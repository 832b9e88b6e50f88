"""Records that others have replaced, kept as they were: what they hold may be asked for again.

They lie beside each other in one folder for each record, named by their keys. Such a file is never
written to: it is put there whole, read, and removed. So a run that is killed at any moment, or
another that does the same beside it, leaves nothing half done: a file more, or one less.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cache.errors import CellCorruptError
from cache.files import write_durably
from cache.fingerprint import fingerprint
from cache.records import Record, read_record

MOST = 4
"""Former records that are kept of each: the latest."""


def put_aside(path: Path, folder: Path) -> None:
    """Keep a record that is about to be replaced; what is no whole record is not kept.

    Parameters
    ----------
    path : Path
        Of the record.
    folder : Path
        Of its former ones.
    """
    record = _readable(path)
    if record is None:
        return
    kept = former_path(folder, record.key)
    kept.unlink(missing_ok=True)  # it came back from there: from now on it is the latest
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if path.is_symlink():  # DVC's, into its cache, which may be emptied
            raise OSError
        os.link(path, kept)
    except OSError:  # another disk, or one without links; or another process was first
        with contextlib.suppress(FileNotFoundError):
            write_durably(kept, path.read_bytes())


def put_back(key: Mapping[str, Any], path: Path, folder: Path) -> bool:
    """Bring the former record of that very key to its place again, if there is one and it is whole.

    Returns
    -------
    bool
        Whether it lies there now.
    """
    kept = former_path(folder, key)
    record = _readable(kept)
    if record is None or fingerprint(record.key) != fingerprint(key):
        return False
    try:
        record.outcomes()  # whose pages have checksums of their own
        data = kept.read_bytes()
    except (CellCorruptError, FileNotFoundError):
        return False
    put_aside(path, folder)
    write_durably(path, data)
    return True


def former_records(folder: Path) -> Iterator[Record]:
    """All that can be read, the latest first."""
    for path in former_paths(folder):
        if (record := _readable(path)) is not None:
            yield record


def former_paths(folder: Path) -> list[Path]:
    """The files, the one that was put aside last first."""
    return [path for _, path in sorted(_by_age(folder), reverse=True)]


def forget_oldest(folder: Path, most: int | None = None) -> None:
    """Remove former records but the latest `most` (`MOST`); the folder, too, where none is left."""
    for path in former_paths(folder)[MOST if most is None else most :]:
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # not empty, or not there
        folder.rmdir()


def _by_age(folder: Path) -> Iterator[tuple[int, Path]]:
    """By when each was linked there, which no reading changes."""
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".parquet"):
                with contextlib.suppress(FileNotFoundError):
                    yield entry.stat(follow_symlinks=False).st_ctime_ns, Path(entry.path)


def former_path(folder: Path, key: Mapping[str, Any]) -> Path:
    """Where the former record of a key lies, if it does."""
    return folder / f"{fingerprint(key)[:32]}.parquet"


def _readable(path: Path) -> Record | None:
    try:
        return read_record(path)
    except (CellCorruptError, FileNotFoundError):  # it is computed again
        return None
