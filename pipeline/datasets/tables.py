"""A table of samples, whoever wrote it: what is missing is missing, what is a label is text.

CSV and Parquet files, the members of WebDataset shards and the rows of Hugging Face's data sets all
say a sample's label, group and id by values that end here. Text is text: `NA`, `01` and `null` are
labels. Numbers are labels too, and 1 and 1.0 the same one.
"""

from __future__ import annotations

import difflib
import io
import math
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cache.errors import ProbelineError
from pipeline.datasets.image_kinds import SUFFIXES
from pipeline.datasets.labels import clean_label, shown
from pipeline.project.csv_rows import read_csv_rows, separator_of
from pipeline.project.foreign_files import words_of
from pipeline.project.words import number_of

_SHOWN = 3
"""Rows that a message names."""

MISSING_AS_TEXT = ("nan", "NaN", "None", "<NA>", "NaT")
"""What Python's libraries make of a missing value that they write as text."""

NOTES = "notes"
"""Of a table of samples (`DataFrame.attrs`): what was read otherwise than it stands there."""

Choose = Callable[[Sequence[str]], Sequence[str]]
"""From the names of all columns to those that are read."""


@dataclass(frozen=True)
class Table:
    """Some columns of a table of samples.

    Attributes
    ----------
    place : str
        The file, for errors.
    names : tuple of str
        Of all its columns, those that were not read, too.
    columns : mapping of str to list of (str or None)
        The cells of those that were read, None where one is missing.
    row_name : callable
        From a row's number (0 is the first) to what people call it: ``line 2``.
    notes : tuple of str
        What was read otherwise than it stands there.
    """

    place: str
    names: tuple[str, ...]
    columns: Mapping[str, list[str | None]]
    row_name: Callable[[int], str]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def labels(self, name: str) -> list[str]:
        """A column of class names, each as `clean_label` spells it.

        Raises
        ------
        ProbelineError
            When a row has none, or a name can't be used.
        """
        found = self._cleaned(name)
        self.refuse_missing(name)
        labels = [label for label in found if label is not None]
        refuse_two_spellings(labels, f"{self.place}, column {name}")
        return labels

    def merged_labels(self, name: str) -> tuple[str, ...]:
        """A line on class names that only spaces or Unicode's form told apart, if any."""
        spelled: dict[str | None, list[str]] = {}
        cells = dict(zip(self.columns[name], self._cleaned(name), strict=True))
        for cell, label in cells.items():
            spelled.setdefault(label, []).append(str(cell))
        several = [texts for label, texts in spelled.items() if label and len(texts) > 1]
        if not several:
            return ()
        return (
            f"{number_of(len(several), 'class is', 'classes are')} spelled in several ways that "
            f"differ in spaces at the ends or in Unicode's form, e.g. "
            f"{' and '.join(shown(text) for text in several[0][:2])}: they are one class each",
        )

    def groups(self, name: str) -> list[str | None]:
        """A column of groups (site, camera, patient); None is no group.

        Raises
        ------
        ProbelineError
            When a name can't be used, or stands for a missing value.
        """
        found = self._cleaned(name)
        if wrong := [row for row, group in enumerate(found) if group in MISSING_AS_TEXT]:
            raise ProbelineError(
                self.place,
                f"column {name!r} has the word {found[wrong[0]]} where a group is missing",
                expected="a name, or nothing",
                found=self.rows(wrong),
                remedy="empty these cells; if it is a group's name, write another one",
            )
        return found

    def refuse_missing(self, name: str) -> None:
        """Refuse rows without a value in a column.

        Raises
        ------
        ProbelineError
            Naming them.
        """
        missing = [row for row, cell in enumerate(self.columns[name]) if cell is None]
        if missing:
            raise ProbelineError(
                self.place,
                f"{number_of(len(missing), 'row has', 'rows have')} nothing in column {name!r}",
                found=self.rows(missing),
                remedy="complete these rows, or take them out",
            )

    def subset(self, rows: Sequence[int]) -> Table:
        """Some rows, which keep their names."""
        columns = {name: [cells[row] for row in rows] for name, cells in self.columns.items()}
        return replace(self, columns=columns, row_name=lambda row: self.row_name(rows[row]))

    def rows(self, rows: Sequence[int]) -> str:
        """The names of some rows, for a message."""
        more = f" and {len(rows) - _SHOWN:,} more" if len(rows) > _SHOWN else ""
        return ", ".join(map(self.row_name, rows[:_SHOWN])) + more

    def _cleaned(self, name: str) -> list[str | None]:
        known: dict[str | None, str | None] = {None: None}
        found = []
        for row, cell in enumerate(self.columns[name]):
            if cell not in known:
                where = f"{self.place}, column {name}, {self.row_name(row)}"
                known[cell] = clean_label(cell, where) if cell is not None else None
            found.append(known[cell])
        return found


def read_table(source: bytes | Path, file: str, place: str, choose: Choose) -> Table:
    """Read columns of a CSV, TSV or Parquet file.

    Parameters
    ----------
    source : bytes or Path
    file : str
        Its name, whose ending says what it is: .tsv, .parquet, or else CSV.
    place : str
        For errors.
    choose : callable
        May raise where a column that is needed is not there.

    Raises
    ------
    ProbelineError
        When the file is not what its name says, or has a column twice.
    """
    if PurePosixPath(file).suffix.lower() == ".parquet":
        with open_parquet(source, place) as parquet:
            table = table_of_parquet(parquet, place, choose(parquet.schema_arrow.names))
    else:
        data = source if isinstance(source, bytes) else source.read_bytes()
        table = _of_csv(data, place, choose, separator_of(file))
    if not len(table):
        raise ProbelineError(place, "has no rows", remedy="give it a row for each sample")
    return table


def like(wanted: str, names: Sequence[str]) -> str:
    """A hint where a column is there but for capitals and spaces; else ""."""
    near = [n for n in names if n.strip().casefold() == wanted.casefold()]
    return f"rename column {near[0]!r} to {wanted!r}; or " if near else ""


def refuse_absent(dataset: str, place: str, wanted: Sequence[str], names: Sequence[str]) -> None:
    """Refuse a table that lacks a column; `names` are those that it has."""
    if absent := [column for column in wanted if column not in names]:
        if any(PurePosixPath(column).suffix.lower() in SUFFIXES for column in names):
            raise ProbelineError(
                place,
                "its first line names an image: the table has no header",
                expected=f"columns {', '.join(wanted)} on the first line",
                found=", ".join(names),
                remedy=f"put a line above it, e.g. {','.join(wanted)}",
            )
        near = difflib.get_close_matches(absent[0].casefold(), [n.casefold() for n in names], n=1)
        meant = next((n for n in names if near and n.casefold() == near[0]), None)
        raise ProbelineError(
            place,
            f"has no column {absent[0]!r}",
            expected=f"columns {', '.join(wanted)}",
            found=f"columns {', '.join(names)}" + (" (one only)" if len(names) == 1 else ""),
            remedy=(f"is it {meant!r}? " if meant is not None else "")
            + f"name the right column in datasets.{dataset}: `columns: {{path: …, label: …}}`"
            + (" (or in `filter`)" if absent[0] not in ("path", "label") else ""),
        )


def _of_csv(data: bytes, place: str, choose: Choose, separator: str) -> Table:
    table = read_csv_rows(data, place, separator)
    if not table.header:
        raise ProbelineError(
            place,
            "is an empty file",
            expected="a header line, and a line for each sample",
            remedy="save the table again",
        )
    wanted = _once_each(table.header, choose(table.header), place)
    places = [table.header.index(name) for name in wanted]
    columns: list[list[str | None]] = [[] for _ in wanted]
    lines = array("q")
    same: dict[str, str | None] = {"": None}  # cells that repeat are kept once
    for line, row in table.rows:
        lines.append(line)
        for column, at in zip(columns, places, strict=True):
            cell = row[at]
            column.append(same.setdefault(cell, cell if cell.strip() else None))
    return Table(
        place,
        tuple(table.header),
        dict(zip(wanted, columns, strict=True)),
        lambda row: f"line {lines[row]}",
    )


def open_parquet(source: bytes | Path, place: str) -> pq.ParquetFile:
    """Open a Parquet file.

    Raises
    ------
    ProbelineError
        When it is none, or one that this machine can't read.
    """
    try:
        return pq.ParquetFile(io.BytesIO(source) if isinstance(source, bytes) else source)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise not_readable(error, place) from None


def not_readable(error: Exception, place: str) -> ProbelineError:
    """What to say of a Parquet file that Arrow refuses."""
    what = words_of(error)
    sound = isinstance(error, pa.ArrowNotImplementedError) or "crypt" in what
    return ProbelineError(
        place,
        "is a Parquet file of a kind that can't be read here"
        if sound
        else "is no Parquet file, or a damaged one",
        found=what,
        remedy="write it again with plain columns, neither encrypted nor with rare compression"
        if sound
        else "copy it again, or save it anew",
    )


def table_of_parquet(file: pq.ParquetFile, place: str, asked: Sequence[str]) -> Table:
    """Read columns of an open Parquet file; see `read_table`."""
    names = tuple(file.schema_arrow.names)
    wanted = _once_each(names, asked, place)
    columns: dict[str, list[str | None]] = {name: [] for name in wanted}
    try:
        for batch in file.iter_batches(columns=wanted):
            for name in wanted:
                cells = columns[name]
                start = len(cells)
                for row, value in enumerate(batch.column(name).to_pylist(), start):
                    cells.append(as_text(value, f"{place}, column {name}, row {row + 1}"))
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise not_readable(error, place) from None
    pointed = [n for n in wanted if pa.types.is_floating(file.schema_arrow.field(n).type)]
    notes = (f"column {name} has a decimal point: 1.0 is read as 1" for name in pointed)
    return Table(place, names, columns, lambda row: f"row {row + 1}", tuple(notes))


def _once_each(names: Sequence[str], wanted: Sequence[str], place: str) -> list[str]:
    once = list(dict.fromkeys(wanted))
    if twice := [name for name in once if names.count(name) > 1]:
        raise ProbelineError(
            place, f"column {twice[0]!r} is given twice", remedy="rename or delete one of the two"
        )
    return once


def as_text(value: Any, where: str) -> str | None:
    """A value of a typed table as text; None where it is missing.

    Parameters
    ----------
    value : object
        Of Parquet, JSON or another library: None and NaN are missing; 1, 1.0 and "1" are "1".
    where : str
        For errors.

    Raises
    ------
    ProbelineError
        When it is no single name or whole number.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            raise _no_name(value, where, "bytes that are no UTF-8 text") from None
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, float | Decimal):
        if value.is_finite() if isinstance(value, Decimal) else value.is_integer():
            whole = int(value)
            if whole == value:
                return str(whole)
        raise _no_name(value, where, f"the number {value}")
    if isinstance(value, list | tuple | dict | set):
        kind = "a mapping" if isinstance(value, dict) else f"a list of {len(value)}"
        raise _no_name(value, where, kind)
    return str(value)


def _no_name(value: object, where: str, what: str) -> ProbelineError:
    shown = repr(value)[:60]
    return ProbelineError(
        where,
        "holds no single name",
        expected="one word or one whole number for each sample",
        found=what if shown in what else f"{what}: {shown}",
        remedy="give each sample one label (and one group), or name another column in `columns`",
    )


def refuse_two_spellings(labels: Iterable[str], place: str) -> None:
    """Refuse class names that are the same number, written as a whole one and with a point.

    Parameters
    ----------
    labels : iterable of str
    place : str
        For errors.

    Raises
    ------
    ProbelineError
        Showing both.
    """
    distinct = set(labels)
    both = sorted(n for n in distinct if (whole := _whole_of(n)) != n and whole in distinct)
    if both:
        raise ProbelineError(
            place,
            "spells one number in two ways, which would be two classes",
            found=f"{_whole_of(both[0])} and {both[0]}"
            + (f", and {len(both) - 1:,} more" if len(both) > 1 else ""),
            remedy="write whole numbers throughout (pandas adds “.0” where a label is missing)",
        )


def _whole_of(name: str) -> str:
    """``1`` of ``1.0``; of anything else the name itself."""
    whole, point, zeros = name.partition(".")
    return whole if point and zeros and not zeros.strip("0") and whole.isdecimal() else name
