"""Result records: one Parquet file holds one scored cell, whole or absent.

The table has the outcome of every test image; the file's metadata carries the key that the
outcome answers and the scores computed from it, so that no second file can fall out of step.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cache.errors import CellCorruptError
from cache.files import write_durably
from cache.fingerprint import fingerprint

_KEY, _SCORES = b"probeline.key", b"probeline.scores"


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
        """The outcome of every test image and variant."""
        return pq.read_table(self.path)


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
    buffer = io.BytesIO()
    pq.write_table(outcomes.replace_schema_metadata(metadata), buffer, compression="zstd")
    write_durably(path, buffer.getbuffer())


def read_record(path: Path) -> Record | None:
    """Read a record's key and scores; None when there is no such record.

    Raises
    ------
    CellCorruptError
        When the file is not a record.
    """
    if not path.exists():
        return None
    try:
        metadata = pq.read_schema(path).metadata
        return Record(path, json.loads(metadata[_KEY]), json.loads(metadata[_SCORES]))
    except (pa.ArrowInvalid, KeyError, TypeError, ValueError) as error:
        raise CellCorruptError(
            str(path),
            "is not a result record",
            found=str(error),
            remedy="delete the file; the next `dvc repro` computes it again",
        ) from error


def is_current_record(path: Path, key: Mapping[str, Any]) -> bool:
    """Whether the record at `path` answers exactly `key`."""
    try:
        record = read_record(path)
    except CellCorruptError:
        return False
    return record is not None and fingerprint(record.key) == fingerprint(key)
