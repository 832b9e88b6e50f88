"""Embeddings in plain files: an array with a table beside it, or a Parquet file with both."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cache.errors import ProbelineError
from pipeline.datasets.feature_columns import ROLES, choose_features, read_features
from pipeline.datasets.tables import Table, like, open_parquet, read_table
from pipeline.project.foreign_files import explain_reading

_BLOCK = 1 << 24
"""Numbers that are looked at in one go."""

_LONGEST_HEADER = 1 << 16
"""Bytes; that of an array of numbers has some hundred."""

_KINDS = {
    "c": "complex numbers",
    "O": "Python objects",
    "U": "text",
    "S": "bytes",
    "V": "records, or numbers of a type that NumPy does not know (bfloat16)",
    "M": "dates",
    "m": "durations",
}
"""What arrays hold that are no features, by NumPy's letters."""


@dataclass(frozen=True)
class Samples:
    """What the table of one split says.

    Attributes
    ----------
    ids, classes : list of str
    groups : list of (str or None)
    """

    ids: list[str]
    classes: list[str]
    groups: list[str | None]


@dataclass(frozen=True)
class Embeddings:
    """One split of embeddings.

    Attributes
    ----------
    features : ndarray of shape (n_samples, n_features), float32
        Finite; may lie in its file still.
    samples : Samples
    origin : str
        Where the features lie: the file, and the columns of a table.
    columns : tuple of str
        Of a table; none of an array.
    notes : tuple of str
        Columns that mean nothing here; what was read otherwise than it stands there.
    """

    features: NDArray[np.float32]
    samples: Samples
    origin: str
    columns: tuple[str, ...]
    notes: tuple[str, ...]


def read_embeddings(folder: Path, split: str, declared: Sequence[str] = ()) -> Embeddings:
    """Read and check one split: ``SPLIT.npy`` with ``SPLIT.csv``, or ``SPLIT.parquet``.

    Parameters
    ----------
    folder : Path
    split : str
    declared : sequence of str
        Names or patterns of a Parquet file's feature columns.

    Raises
    ------
    ProbelineError
        When the files are absent, do not fit together, or hold anything but finite real numbers.
    """
    place = str(folder / split)
    array, table_file = _files(folder, split)
    table = _read_table(table_file, place)
    if array is not None:
        if declared:
            raise ProbelineError(
                place,
                "--features names columns of a Parquet file",
                found=f"an array, {array.name}",
                remedy="leave --features out",
            )
        found, origin = _load_array(array), str(array)
        columns: tuple[str, ...] = ()
        unused = [name for name in table.names if name and name not in ROLES]
    else:
        with open_parquet(table_file, place) as file:
            chosen = choose_features(file.schema_arrow, declared, place)
            found, columns = read_features(file, chosen, place), chosen.names
        origin, unused = f"{table_file}, {chosen}", list(chosen.unused)
    samples = _samples(table, split)
    features = _as_features(found, samples.ids, place)
    notes = list(table.notes)
    if unused:
        notes.append(f"not used: {', '.join(unused[:20])}" + " …" * (len(unused) > 20))
    return Embeddings(features, samples, origin, columns, tuple(notes))


def read_samples(folder: Path, split: str) -> Samples:
    """What the table of one split says, without its features.

    Raises
    ------
    ProbelineError
        When it is absent or has a fault.
    """
    _, table_file = _files(folder, split)
    return _samples(_read_table(table_file, str(folder / split)), split)


def _files(folder: Path, split: str) -> tuple[Path | None, Path]:
    """The array (None where a Parquet file holds all) and the table of a split."""
    there = {
        s: p for s in (".npy", ".csv", ".tsv", ".parquet") if (p := folder / f"{split}{s}").exists()
    }
    sources = [{".parquet"}, {".npy", ".csv"}, {".npy", ".tsv"}]
    if set(there) in sources:
        return there.get(".npy"), next(p for s, p in there.items() if s != ".npy")
    found = ", ".join(path.name for path in there.values())
    many = len(there) > 1
    raise ProbelineError(
        str(folder / split),
        "there are several files, and it is not clear which are meant"
        if many
        else "there are no embeddings of this split",
        expected=f"{split}.npy and {split}.csv, or {split}.parquet",
        found=f"{found or 'none of these'} in {folder}",
        remedy="move the others away" if many else "see `probeline cache import --help`",
    )


def _read_table(file: Path, place: str) -> Table:
    def choose(names: Sequence[str]) -> list[str]:
        label = next((name for name in ("class", "label") if name in names), None)
        if label is None:
            raise ProbelineError(
                place,
                "the table has no column class (or label)",
                found=f"columns {', '.join(names[:20])}" + " …" * (len(names) > 20),
                remedy=(like("class", names) or like("label", names))
                + "add a column with each row's class",
            )
        return [label, *(name for name in ("id", "group") if name in names)]

    return read_table(file, file.name, f"{place}{file.suffix}", choose)


def _samples(table: Table, split: str) -> Samples:
    classes = table.labels("class" if "class" in table.columns else "label")
    groups: list[str | None] = [None] * len(classes)
    if "group" in table.columns:
        groups = table.groups("group")
    if "id" not in table.columns:
        return Samples([f"{split}/{row:08d}" for row in range(len(classes))], classes, groups)
    table.refuse_missing("id")
    ids = [str(cell) for cell in table.columns["id"]]
    first: dict[str, int] = {}
    for row, name in enumerate(ids):
        if first.setdefault(name, row) != row:
            raise ProbelineError(
                table.place,
                "an id is given twice",
                found=f"{name} on {table.rows([first[name], row])}",
                remedy="keep one row for each sample",
            )
    return Samples(ids, classes, groups)


def _load_array(path: Path) -> NDArray[np.generic]:
    remedy = "save a plain numeric array of shape (samples, features) with numpy.save"
    with explain_reading(str(path), "can't be read as embeddings", remedy):
        if zipfile.is_zipfile(path):  # of which NumPy makes something else than an array
            with zipfile.ZipFile(path) as archive:
                inside = ", ".join(archive.namelist()[:5])
            raise ValueError(f"an archive that holds {inside}")
        return mapped(path)
    raise AssertionError  # the context either returns or raises


def mapped(path: Path) -> NDArray[np.generic]:
    """A .npy file's array, left in its file.

    Raises
    ------
    ValueError, OSError
        When it is no such file, or promises more than it holds.
    """
    with path.open("rb") as file:  # NumPy reads all of a header before it finds it too long
        major, _ = np.lib.format.read_magic(file)
        length = int.from_bytes(file.read(2 if major == 1 else 4), "little")
    if length > _LONGEST_HEADER:
        raise ValueError(f"a header of {length:,} bytes")
    found: NDArray[np.generic] = np.lib.format.open_memmap(path, mode="r")
    return found


def _as_features(found: NDArray[np.generic], ids: Sequence[str], place: str) -> NDArray[np.float32]:
    """The numbers as float32, each of them finite."""
    if found.dtype.kind not in "fiub":
        raise ProbelineError(
            place,
            "can't be read as embeddings: they are no real numbers",
            expected="floating-point or whole numbers",
            found=_KINDS.get(found.dtype.kind, str(found.dtype)) + f" (type {found.dtype})",
            remedy="save a plain numeric array of shape (samples, features)",
        )
    if found.ndim != 2 or len(found) != len(ids) or found.size == 0:
        raise ProbelineError(
            place,
            "embeddings and table do not fit together",
            expected="one row of features for each row of the table, at least one",
            found=f"features of shape {found.shape}, {len(ids)} rows in the table",
            remedy="export both from the same run",
        )
    as_it_is = found.dtype == np.float32 and found.dtype.isnative
    features = found if as_it_is else np.empty(found.shape, np.float32)
    step = max(1, _BLOCK // found.shape[1])
    for start in range(0, len(found), step):
        block = found[start : start + step]
        with np.errstate(over="ignore"):
            numbers = block.astype(np.float32, copy=False)
        if not np.isfinite(numbers).all():
            _refuse_not_finite(block, numbers, ids[start : start + step], start, place)
        if not as_it_is:
            features[start : start + step] = numbers
    return features  # type: ignore[return-value]


def _refuse_not_finite(
    block: NDArray[np.generic],
    numbers: NDArray[np.float32],
    ids: Sequence[str],
    start: int,
    place: str,
) -> None:
    bad = ~np.isfinite(numbers)
    row, feature = (int(at) for at in np.argwhere(bad)[0])
    rows = int(bad.any(axis=1).sum())
    value = block[row, feature]
    raise ProbelineError(
        place,
        "a feature is not a finite number",
        expected="finite numbers that float32 can hold",
        found=f"{value} in row {start + row + 1} (id {ids[row]}), feature {feature + 1}"
        + (f"; {rows - 1:,} more such rows near by" if rows > 1 else ""),
        remedy="export that row again, or leave it out",
    )
