"""Parquet files with images inside, as Hugging Face's data sets are given out; read in place.

A row holds an image's bytes, alone, or as the field ``bytes`` of a struct, beside the ``path`` that
it once had.
"""

from __future__ import annotations

import bisect
import itertools
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cache.errors import ProbelineError
from cache.fingerprint import load_json
from pipeline.datasets.blobs import Blob, OfProcess
from pipeline.datasets.ledger import Ledger
from pipeline.datasets.parts import Parts, parts_of
from pipeline.datasets.roots import UNKNOWN, Entry, Listing, Root, whole
from pipeline.datasets.settings import Dataset
from pipeline.datasets.tables import not_readable

_GROUPS = 2
"""Row groups of images that are kept in memory: threads read rows that lie close together."""


class ParquetImages(Root):
    """Rows of all Parquet files of a data set; see `pipeline.datasets.roots.Root`.

    Parameters
    ----------
    name : str
        The data set's.
    dataset : Dataset
    parts : Parts
    """

    def __init__(self, name: str, dataset: Dataset, parts: Parts) -> None:
        self.name, self.blobs, self._ledger = name, parts.blobs, parts.ledger
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

    def listing(self) -> Listing:
        """A file for each row, ``SHARD.parquet/NUMBER``; its offset is the row."""
        passed = Ledger()
        passed.add_all(self._ledger)
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
        declared = declared_features(schema)
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


def _is_image(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" and _is_image(field.type) for field in kind)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def declared_features(schema: pa.Schema) -> dict[str, dict[str, Any]]:
    """What Hugging Face's library says of columns: their kinds, and the names of classes."""
    try:
        said = load_json((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError):
        return {}
    found = said.items() if isinstance(said, dict) else ()
    return {str(name): of for name, of in found if isinstance(of, dict)}
