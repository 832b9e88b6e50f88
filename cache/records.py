"""Result records: one Parquet file holds one scored cell, whole or absent.

The table has the outcome of every test image; the file's metadata carries the key that the
outcome answers and the scores computed from it, so that no second file can fall out of step.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cache.errors import CellCorruptError
from cache.files import sha256_bytes, write_durably
from cache.fingerprint import fingerprint

_KEY, _SCORES, _CHECK = b"probeline.key", b"probeline.scores", b"probeline.sha256"


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
    """

    path: Path
    key: Mapping[str, Any]
    scores: list[dict[str, Any]]

    def outcomes(self) -> pa.Table:
        """The outcome of every test image and variant.

        Raises
        ------
        CellCorruptError
            When they are not what was written.
        """
        with _damage_named(self.path):
            table = pq.read_table(self.path, page_checksum_verification=True)
            rows = pq.read_metadata(self.path).num_rows
            if table.num_rows != rows:
                raise ValueError(f"{table.num_rows} rows where {rows} were written")
            return table


def write_record(
    path: Path, *, key: Mapping[str, Any], scores: list[dict[str, Any]], outcomes: pa.Table
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
    """
    metadata = {_KEY: json.dumps(key).encode(), _SCORES: json.dumps(scores).encode()}
    metadata[_CHECK] = _check(metadata, outcomes.schema)
    buffer = io.BytesIO()
    table = outcomes.replace_schema_metadata(metadata)
    pq.write_table(table, buffer, compression="zstd", write_page_checksum=True)
    write_durably(path, buffer.getvalue())


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
        return Record(path, json.loads(metadata[_KEY]), json.loads(metadata[_SCORES]))


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
    parts = (metadata[_KEY], metadata[_SCORES], columns.encode())
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
