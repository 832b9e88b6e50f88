"""The classes, splits and groups of images inside Parquet files.

A class is a number whose name the file's metadata tells, a word, or a number.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pyarrow as pa

from cache.errors import ProbelineError
from pipeline.datasets.manifests import filtered_rows, splits_of_column
from pipeline.datasets.parquet_images import ParquetImages, declared_features
from pipeline.datasets.roots import Entry, Kept
from pipeline.datasets.samples import Found, sample_table
from pipeline.datasets.settings import Dataset
from pipeline.datasets.shards import splits_of_files
from pipeline.datasets.tables import NOTES, Table, refuse_absent, table_of_parquet
from pipeline.project.words import number_of


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
            refuse_absent(name, place, wanted, schema.names)
            table = table_of_parquet(opened, place, wanted)
        tables.append(_with_names(table, label, _class_names(schema, label)))
    whole_table = _together(root.place, tables)
    table, left, remarks = filtered_rows(name, dataset, whole_table)
    entries = kept.entries()
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


def _splits(
    name: str, dataset: Dataset, root: ParquetImages, table: Table, kept: Sequence[Entry]
) -> list[str | None]:
    """By a column, else by the files' names."""
    if dataset.columns.split in table.columns:
        return splits_of_column(name, root.place, dataset, table)
    files = list(root.blobs)
    told = splits_of_files(name, dataset, files)
    return [told[entry.path.rpartition("/")[0]] for entry in kept]


def _together(place: str, tables: Sequence[Table]) -> Table:
    """The rows of all files, one after the other."""
    columns: dict[str, list[str | None]] = {name: [] for name in tables[0].columns}
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
    starts = list(itertools.accumulate(map(len, tables), initial=0))

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
    return replace(table, columns={**table.columns, label: cells})


def _class_names(schema: pa.Schema, label: str) -> list[str] | None:
    names = declared_features(schema).get(label, {}).get("names")
    of_text = isinstance(names, list) and all(isinstance(name, str) for name in names)
    numbers = pa.types.is_integer(schema.field(label).type)
    return names if of_text and numbers else None


def _label_column(place: str, dataset: Dataset, schema: pa.Schema) -> str:
    said = dataset.columns.label
    if "label" in dataset.columns.model_fields_set or said in schema.names:
        return said
    of_class = [n for n, of in declared_features(schema).items() if of.get("_type") == "ClassLabel"]
    if len(of_class) == 1:
        return of_class[0]
    raise ProbelineError(
        place,
        f"has no column {said!r}, and "
        f"{number_of(len(of_class), 'other column', 'other columns')} that could hold classes",
        found=f"columns {', '.join(schema.names)}",
        remedy="name it: `columns: {label: NAME}`",
    )
