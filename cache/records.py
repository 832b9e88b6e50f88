"""Result records: one Parquet file holds one scored cell, whole or absent.

The table has the outcome of every test image; the file's metadata carries the key that the
outcome answers and the scores computed from it, so that no second file can fall out of step.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cache.errors import CellCorruptError
from cache.files import sha256_bytes, write_durably
from cache.fingerprint import fingerprint, load_json, parse_json

_KEY, _SCORES, _CHECK = b"probeline.key", b"probeline.scores", b"probeline.sha256"
_ASKED = b"probeline.asked"

MIN_GROUP = 8_192
"""Rows."""


@dataclass(frozen=True)
class Record:
    """A record's metadata, read without its table.

    Attributes
    ----------
    path : Path
    key : mapping
        Everything that the outcome depends on.
    scores : list of dict
        One row per variant and metric.
    asked : frozenset of str
        Variants that were asked for: those of `scores`, and those that gave none.
    """

    path: Path
    key: Mapping[str, Any]
    scores: list[dict[str, Any]]
    asked: frozenset[str] = frozenset()

    def outcomes(self) -> pa.Table:
        """The outcome of every test image and variant.

        Raises
        ------
        CellCorruptError
            When they are not what was written.
        """
        # Not `read_table`, which looks for data sets of many files: that takes longer than reading.
        with (
            _damage_named(self.path),
            pq.ParquetFile(self.path, page_checksum_verification=True) as file,
        ):
            table = file.read()
            rows = file.metadata.num_rows
            if table.num_rows != rows:
                raise ValueError(f"{table.num_rows} rows where {rows} were written")
            return table

    def outcomes_where(self, name: str, value: str, columns: Sequence[str]) -> pa.Table:
        """Some columns of the outcomes whose column `name` has that value.

        Only row groups that can hold it are read: of a large record with many variants, one.

        Raises
        ------
        CellCorruptError
            When they are not what was written.
        """
        with (
            _damage_named(self.path),
            pq.ParquetFile(self.path, page_checksum_verification=True) as file,
        ):
            if not file.metadata.num_rows:  # such a record has not even all the columns
                return pa.table({column: pa.array([], pa.int32()) for column in columns})
            parts = [file.schema_arrow.empty_table().select(list(columns))]
            for group in range(file.num_row_groups):
                held = _values(file.metadata.row_group(group), name)
                if held is not None and not held[0] <= value <= held[1]:
                    continue
                if held == (value, value):
                    parts.append(file.read_row_group(group, columns=list(columns)))
                    continue
                import pyarrow.compute as pc  # 0.1 s that `status` need not pay

                rows = file.read_row_group(group, columns=[name, *columns])
                parts.append(rows.filter(pc.equal(rows[name], value)).select(list(columns)))
            return pa.concat_tables(parts)


def write_record(
    path: Path,
    *,
    key: Mapping[str, Any],
    scores: list[dict[str, Any]],
    outcomes: pa.Table,
    group_rows: int = 0,
    asked: Sequence[str] = (),
) -> None:
    """Write a record durably; a reader finds all of it or the former one.

    Parameters
    ----------
    path : Path
    key : mapping
        Everything that the outcome depends on.
    scores : list of dict
        One row per variant and metric.
    outcomes : pyarrow.Table
        One row per variant and test image.
    group_rows : int
        Rows that are read together, e.g. those of a variant. Fewer than `MIN_GROUP` are no groups
        of their own: the file would consist of headers.
    asked : sequence of str
        Variants that were asked for, where some may have given nothing.
    """
    metadata = {_KEY: json.dumps(key).encode(), _SCORES: json.dumps(scores).encode()}
    if asked:
        metadata[_ASKED] = json.dumps(asked).encode()
    metadata[_CHECK] = _check(metadata, outcomes.schema)
    buffer = io.BytesIO()
    table = outcomes.replace_schema_metadata(metadata)
    pq.write_table(
        table,
        buffer,
        compression="zstd",
        use_dictionary=_repetitive(outcomes.schema),
        write_page_checksum=True,
        row_group_size=group_rows if group_rows >= MIN_GROUP else None,
    )
    write_durably(path, buffer.getvalue())


def repeated(words: Sequence[str], times: Sequence[int]) -> pa.DictionaryArray:
    """A column of outcomes in which each word stands so many times, one after the other."""
    places = np.repeat(np.arange(len(words)), times)
    return pa.DictionaryArray.from_arrays(pa.array(places, pa.int32()), pa.array(words))


def _repetitive(schema: pa.Schema) -> list[str]:
    """Columns that a dictionary makes smaller: all but measured numbers, which hardly repeat.

    On neighbours' distances, a dictionary took two thirds of the time and a quarter of the file.
    """
    paths = []
    for field in schema:
        nested = pa.types.is_list(field.type) or pa.types.is_fixed_size_list(field.type)
        values = field.type.value_type if nested else field.type
        if not pa.types.is_floating(values):
            paths.append(f"{field.name}.list.element" if nested else field.name)
    return paths


def read_record(path: Path) -> Record | None:
    """Read a record's key and scores; None when there is no such record.

    Raises
    ------
    CellCorruptError
        When the file is not a record, or a damaged one.
    """
    if not path.exists():
        return None
    with _damage_named(path):
        schema = pq.read_schema(path)
        metadata = schema.metadata
        expected = _check(metadata, schema)
        if metadata.get(_CHECK, expected) != expected:  # absent from records of the first days
            raise ValueError("key, scores or columns other than were written")
        scores = load_json(metadata[_SCORES])
        asked = load_json(metadata.get(_ASKED, b"[]"))
        scored = {row["variant"] for row in scores if "variant" in row}
        return Record(path, parse_json(metadata[_KEY]), scores, frozenset(scored.union(asked)))


def _values(group: pq.RowGroupMetaData, name: str) -> tuple[str, str] | None:
    """The smallest and the largest value of a text column in a row group, if they were recorded."""
    for number in range(group.num_columns):
        column = group.column(number)
        if column.path_in_schema == name and column.is_stats_set and column.statistics.has_min_max:
            return str(column.statistics.min), str(column.statistics.max)
    return None


def is_current_record(path: Path, key: Mapping[str, Any]) -> bool:
    """Whether the record at `path` answers exactly `key`."""
    try:
        record = read_record(path)
    except CellCorruptError:
        return False
    return record is not None and fingerprint(record.key) == fingerprint(key)


def _check(metadata: Mapping[bytes, bytes], schema: pa.Schema) -> bytes:
    """What the pages' checksums do not cover; those guard the outcomes."""
    columns = schema.to_string(show_field_metadata=False, show_schema_metadata=False)
    asked = [metadata[_ASKED]] if _ASKED in metadata else []
    parts = (metadata[_KEY], metadata[_SCORES], columns.encode(), *asked)
    return sha256_bytes(b"\n".join(parts)).encode()


@contextlib.contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, KeyError, TypeError, ValueError, AttributeError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's own; PyArrow's faults of the format carry no number
        raise CellCorruptError(
            str(path),
            "is not a result record, or a damaged one",
            expected="a Parquet file with Probeline's key and scores, and matching checksums",
            found=str(error),
            remedy="delete the file; the next `dvc repro` computes it again",
        ) from error
