"""Parquet files with images inside, as Hugging Face's data sets are given out; read in place.

A row holds an image's bytes (alone, or as the field ``bytes`` of a struct, beside the ``path`` that
it once had) and its class: a number whose name the file's metadata tells, a word, or a number.
"""

from __future__ import annotations

import bisect
import itertools
import re
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cache.errors import ProbelineError
from cache.fingerprint import load_json
from pipeline.datasets.blobs import Blob, OfProcess
from pipeline.datasets.ledger import LEFT_OUT, Ledger
from pipeline.datasets.manifests import filtered_rows, splits_of_column
from pipeline.datasets.parts import Parts, parts_of
from pipeline.datasets.roots import UNKNOWN, Entry, Kept, Listing, whole
from pipeline.datasets.samples import Found, sample_table
from pipeline.datasets.settings import Dataset
from pipeline.datasets.shards import splits_of_files
from pipeline.datasets.tables import (
    NOTES,
    Choose,
    Table,
    counted,
    like,
    not_readable,
    table_of_parquet,
)
from pipeline.project.paths import SPLITS

_GROUPS = 2
"""Row groups of images that are kept in memory: threads read rows that lie close together."""


class ParquetImages:
    """Rows of all Parquet files of a data set; see `pipeline.datasets.roots.Root`.

    Parameters
    ----------
    name : str
        The data set's.
    dataset : Dataset
    parts : Parts
    """

    def __init__(self, name: str, dataset: Dataset, parts: Parts) -> None:
        self.name, self.blobs, self._left = name, parts.blobs, parts.left
        self._asked = dataset.columns.path if "path" in dataset.columns.model_fields_set else None
        self._reader = OfProcess(_Reader)
        self._column = ""

    @property
    def place(self) -> str:
        """For errors."""
        return f"data set {self.name}"

    def open(self, file: str) -> AbstractContextManager[pq.ParquetFile]:
        """One of the files.

        Raises
        ------
        ProbelineError
            When it is no Parquet file.
        """
        return _opened(self.blobs[file], f"{self.place}: {file}")

    @property
    def column(self) -> str:
        """The column with the images: as the study names it, or the only one of that kind."""
        if not self._column:
            file = next(iter(self.blobs))
            with self.open(file) as opened:
                self._column = self.image_column(file, opened.schema_arrow)
        return self._column

    def entries(self) -> list[Entry]:
        """As `listing`."""
        return self.listing().entries

    def listing(self) -> Listing:
        """A file for each row, ``SHARD.parquet/NUMBER``; its offset is the row; looked at once."""
        return self._listing

    @cached_property
    def _listing(self) -> Listing:
        passed = Ledger()
        passed.add_paths(LEFT_OUT, self._left)
        found = []
        for file in self.blobs:
            with self.open(file) as opened:
                rows = opened.metadata.num_rows
            found += [Entry(f"{file}/{row:08d}", row, UNKNOWN) for row in range(rows)]
        return Listing(found, sorted(self.blobs), passed)

    def read(self, entry: Entry) -> bytes:
        """The image of a row.

        Raises
        ------
        ProbelineError
            When it holds none, or the file has changed.
        """
        file, column = entry.path.rpartition("/")[0], self.column
        if file not in self.blobs:
            raise ProbelineError(
                entry.path,
                "its file is not there any more",
                remedy="put it back, or index the data set again: dvc repro -f index@NAME",
            )
        with self._reader.lock:
            place = f"{self.place}: {file}"
            value = self._reader().value(self.blobs[file], place, column, entry.offset)
        data = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(data, bytes):
            path = value.get("path") if isinstance(value, dict) else None
            raise ProbelineError(
                entry.path,
                "the row has a path, and not the image itself" if path else "the row has no image",
                expected=f"the bytes of an image in column {column}",
                found=str(path) if path else "nothing",
                remedy="write the table with the images inside (`Dataset.to_parquet` embeds them), "
                "or use `source: manifest` with the images as files",
            )
        return whole(data, entry)

    def state(self) -> Hashable:
        """See `Root`."""
        return tuple(blob.state() for blob in self.blobs.values())

    def image_column(self, file: str, schema: pa.Schema) -> str:
        """Which column of a file holds the images.

        Raises
        ------
        ProbelineError
            When none does, or several do and the study names none.
        """
        declared = _features(schema)
        kinds = {name: _is_image(schema.field(name).type) for name in schema.names}
        names = [name for name, image in kinds.items() if image]
        marked = [n for n in names if declared.get(n, {}).get("_type") == "Image"]
        found = [self._asked] if self._asked is not None else marked or names
        if len(found) != 1 or not kinds.get(found[0], False):
            raise ProbelineError(
                f"{self.place}: {file}",
                "it is not clear which column holds the images"
                if len(found) > 1
                else "has no column with the bytes of images",
                expected="one column of bytes, or of a struct with `bytes` and `path`",
                found=", ".join(f"{n} ({schema.field(n).type})" for n in schema.names)[:400],
                remedy=f"name it: `columns: {{path: {found[0]}}}` in datasets.{self.name}"
                if len(found) > 1
                else "write the images into the table; or, where it names files, use "
                "`source: manifest`",
            )
        return found[0]


class _Reader:
    """The row groups of images that were read last, and what each file says of its own."""

    def __init__(self) -> None:
        self._files: dict[Blob, tuple[pq.FileMetaData, list[int]]] = {}
        self._groups: OrderedDict[tuple[Blob, int], pa.ChunkedArray] = OrderedDict()

    def value(self, blob: Blob, place: str, column: str, row: int) -> Any:
        """One row of a column, as Python's own objects."""
        if blob not in self._files:
            with _opened(blob, place) as file:
                sizes = (file.metadata.row_group(g).num_rows for g in range(file.num_row_groups))
                self._files[blob] = file.metadata, list(itertools.accumulate(sizes, initial=0))
        metadata, starts = self._files[blob]
        if row >= starts[-1]:
            raise ProbelineError(
                place,
                "has fewer rows than were indexed",
                expected=f"at least {row + 1:,}",
                found=f"{starts[-1]:,}",
                remedy="index the data set again: dvc repro -f index@NAME",
            )
        group = bisect.bisect_right(starts, row) - 1
        if (blob, group) not in self._groups:
            while len(self._groups) >= _GROUPS:
                self._groups.popitem(last=False)
            with _opened(blob, place, metadata) as file:
                self._groups[blob, group] = file.read_row_group(group, columns=[column]).column(0)
        self._groups.move_to_end((blob, group))
        return self._groups[blob, group][row - starts[group]].as_py()


def open_parquet_images(name: str, dataset: Dataset) -> ParquetImages:
    """All Parquet files that `path` names."""
    return ParquetImages(name, dataset, parts_of(name, dataset, ".parquet"))


def samples_of_parquet(name: str, dataset: Dataset, kept: Kept) -> Found:
    """A row for each row of all files that passes the filters.

    Raises
    ------
    ProbelineError
        When a column is missing, a row has no class, or it is not clear what is what.
    """
    root = kept.root
    assert isinstance(root, ParquetImages)
    columns, tables = dataset.columns, []
    label = ""
    for file in root.blobs:
        place = f"{root.place}: {file}"
        with root.open(file) as opened:
            schema = opened.schema_arrow
            root.image_column(file, schema)
            label = _label_column(place, dataset, schema)
            wanted = [label, *dataset.filter, *filter(None, [columns.group])]
            if columns.split in schema.names:
                wanted.append(str(columns.split))
            _refuse_absent(place, wanted, schema.names)
            table = table_of_parquet(opened, place, _these(wanted))
        tables.append(_with_names(table, label, _class_names(schema, label)))
    whole_table = _together(root.place, tables)
    table, left, remarks = filtered_rows(name, dataset, whole_table)
    entries = root.entries()
    gone = set(left)
    here = [entry for row, entry in enumerate(entries) if row not in gone]
    samples = sample_table(
        here,
        table.labels(label),
        _splits(name, dataset, root, table, here),
        table.groups(columns.group) if columns.group else None,
    )
    samples.attrs[NOTES] = (*table.notes, *table.merged_labels(label), *remarks)
    return Found(samples, [[entries[row].path] for row in left])


def _these(names: Sequence[str]) -> Choose:
    return lambda _: names


@contextmanager
def _opened(
    blob: Blob, place: str, metadata: pq.FileMetaData | None = None
) -> Iterator[pq.ParquetFile]:
    """A Parquet file; what Arrow says against it is explained."""
    try:
        with blob.open() as file, pq.ParquetFile(file, metadata=metadata) as opened:
            yield opened
    except (pa.ArrowException, OSError, ValueError) as error:
        raise not_readable(error, place) from None


def _splits(
    name: str, dataset: Dataset, root: ParquetImages, table: Table, kept: Sequence[Entry]
) -> list[str | None]:
    """By a column, else by the files' names."""
    if dataset.columns.split in table.columns:
        return splits_of_column(root.place, dataset, table)
    files = list(root.blobs)
    told = splits_of_files(name, dataset, files)
    if "splits" not in dataset.model_fields_set:
        _refuse_two_words(name, dataset, files)
    return [told[entry.path.rpartition("/")[0]] for entry in kept]


def _refuse_two_words(name: str, dataset: Dataset, files: Sequence[str]) -> None:
    """Refuse files of validation beside files of test, unless the study says which is meant."""
    said = {word for file in files for word in re.split(r"[^a-z0-9]+", file.lower())}
    of = {s: [word for word in dataset.splits[s] if word in said] for s in SPLITS}
    for split, words in of.items():
        if len(words) > 1:
            other = next(s for s in SPLITS if s != split)
            raise ProbelineError(
                f"data set {name}",
                f"files of several names could be the {split} split",
                found=", ".join(words),
                remedy="say which, and leave the others out, e.g. `splits: "
                f"{{{other}: {_listed(of[other])}, {split}: [{words[0]}]}}` and "
                f'`leave_out: ["*{words[1]}*"]` in datasets.{name}; or name both',
            )


def _listed(words: Sequence[str]) -> str:
    return f"[{', '.join(words) or '…'}]"


def _together(place: str, tables: Sequence[Table]) -> Table:
    """The rows of all files, one after the other."""
    columns: dict[str, list[str | None]] = {name: [] for name in tables[0].columns}
    names: list[tuple[Table, int]] = []
    for table in tables:
        if table.columns.keys() != columns.keys():
            raise ProbelineError(
                table.place,
                "has other columns than the first file",
                expected=", ".join(columns),
                found=", ".join(table.columns),
                remedy="write all files with the same columns",
            )
        for name, cells in table.columns.items():
            columns[name] += cells
        names += [(table, len(table))]
    starts = [0]
    for _, rows in names:
        starts.append(starts[-1] + rows)

    def row_name(row: int) -> str:
        at = bisect.bisect_right(starts, row) - 1
        return f"{tables[at].place.rpartition(': ')[2]}, row {row - starts[at] + 1}"

    notes = tuple(dict.fromkeys(note for table in tables for note in table.notes))
    return Table(place, tables[0].names, columns, row_name, notes)


def _with_names(table: Table, label: str, names: Sequence[str] | None) -> Table:
    """Numbered classes by the names that the file gives them; what has none there is missing."""
    if names is None:
        return table
    known: Mapping[str | None, str] = {str(number): name for number, name in enumerate(names)}
    cells = [known.get(cell) for cell in table.columns[label]]
    return Table(
        table.place, table.names, {**table.columns, label: cells}, table.row_name, table.notes
    )


def _is_image(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" and _is_image(field.type) for field in kind)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _features(schema: pa.Schema) -> dict[str, dict[str, Any]]:
    """What Hugging Face's library says of columns: their kinds, and the names of classes."""
    try:
        said = load_json((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError):
        return {}
    found = said.items() if isinstance(said, dict) else ()
    return {str(name): of for name, of in found if isinstance(of, dict)}


def _class_names(schema: pa.Schema, label: str) -> list[str] | None:
    names = _features(schema).get(label, {}).get("names")
    of_text = isinstance(names, list) and all(isinstance(name, str) for name in names)
    numbers = pa.types.is_integer(schema.field(label).type)
    return names if of_text and numbers else None


def _label_column(place: str, dataset: Dataset, schema: pa.Schema) -> str:
    said = dataset.columns.label
    if "label" in dataset.columns.model_fields_set or said in schema.names:
        return said
    of_class = [n for n, of in _features(schema).items() if of.get("_type") == "ClassLabel"]
    if len(of_class) == 1:
        return of_class[0]
    raise ProbelineError(
        place,
        f"has no column {said!r}, and "
        f"{counted(len(of_class), 'other column', 'other columns')} that could hold classes",
        found=f"columns {', '.join(schema.names)}",
        remedy="name it: `columns: {label: NAME}`",
    )


def _refuse_absent(place: str, wanted: Sequence[str], names: Sequence[str]) -> None:
    if absent := [column for column in wanted if column not in names]:
        raise ProbelineError(
            place,
            f"has no column {absent[0]!r}",
            expected=f"columns {', '.join(wanted)}",
            found=f"columns {', '.join(names)}",
            remedy=like(absent[0], names) + "name the right columns in `columns` or `filter`",
        )
