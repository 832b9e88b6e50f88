"""CSV files from elsewhere, read in one place: what others guess or shift is refused by its line.

pandas takes a row with one field more than the header for a row with an index, and shifts all
columns; a row with fewer fields gets empty ones. Neither happens here.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cache.errors import ProbelineError

_OTHER_ENCODINGS = {
    codecs.BOM_UTF32_LE: "UTF-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}

_ARCHIVES = (b"PK\x03\x04", b"\x1f\x8b", b"\xd0\xcf\x11\xe0", b"BZh", b"\x28\xb5\x2f\xfd")
"""How workbooks, old and new, and compressed files begin."""

_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}

_Rows = Iterator[tuple[int, list[str]]]

_SHOWN = 80
"""Characters of a line that a message shows."""


@dataclass(frozen=True)
class CsvRows:
    """A CSV file's header and its rows.

    Attributes
    ----------
    header : list of str
        Without white space around the names.
    rows : iterator of (int, list of str)
        The line on which each row begins, as an editor counts, and its cells as they stand: as
        many as the header has. Empty lines are no rows. Read as they are asked for.
    """

    header: list[str]
    rows: Iterator[tuple[int, list[str]]]


def read_csv_rows(data: bytes, place: str, separator: str = ",") -> CsvRows:
    """Read a CSV file in UTF-8, with or without a byte order mark, with any line ends.

    Parameters
    ----------
    data : bytes
        The whole file.
    place : str
        For errors.
    separator : str
        A comma, or a tab.

    Raises
    ------
    ProbelineError
        When it is no such file; of a row, once the row is asked for.
    """
    text = _decoded(data, place)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator)
    numbered = _numbered(reader, place, _SEPARATORS[separator])
    header = [name.strip() for name in next(numbered, (1, []))[1]]
    _refuse_other_separator(header, separator, place)
    return CsvRows(header, _as_wide(numbered, header, place, separator))


def separator_of(file: str) -> str:
    """A tab in files that are called .tsv, else a comma."""
    return "\t" if file.lower().endswith(".tsv") else ","


def _decoded(data: bytes, place: str) -> str:
    found, line = "", 0
    if data.startswith(_ARCHIVES):
        raise ProbelineError(
            place,
            "is no text",
            found="a spreadsheet's workbook (.xlsx), or a compressed file",
            remedy="save the table as CSV in UTF-8, or unpack the file",
        )
    if data.lstrip()[:1] in (b"{", b"["):
        raise ProbelineError(
            place,
            "is JSON, and no table",
            expected="CSV: a header line, and a line for each row",
            found=data.lstrip()[:_SHOWN].decode(errors="replace"),
            remedy="save it as CSV in UTF-8: pandas.read_json(FILE).to_csv(OTHER, index=False)",
        )
    for mark, encoding in _OTHER_ENCODINGS.items():
        if data.startswith(mark):
            found = f"{encoding} text"
            break
    else:
        if b"\0" in data:
            line = data.count(b"\n", 0, data.index(b"\0")) + 1
            found = "zero bytes, as in UTF-16 text or a file that is no text"
    if not found:
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            found = f"byte 0x{data[error.start]:02X}, as in text of an older encoding"
    raise ProbelineError(
        f"{place}:{line}" if line else place,
        "is not UTF-8 text",
        found=found + (f" (line {line})" if line else ""),
        remedy="save it as CSV in UTF-8 (spreadsheets: “CSV UTF-8”; else "
        "`iconv -f ENCODING -t UTF-8`)",
    )


def _numbered(reader: Iterator[list[str]], place: str, columns_by: str) -> _Rows:
    """Rows that are not empty, with the line on which each begins."""
    number = 1
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise ProbelineError(
                f"{place}:{number}",
                f"line {number} is no CSV",
                found=str(error),
                remedy=f"save the table with columns separated by {columns_by}, text that holds "
                "one or quotes in quotes",
            ) from None
        if row:
            yield number, row
        number = reader.line_num + 1  # type: ignore[attr-defined]


def _as_wide(rows: _Rows, header: Sequence[str], place: str, separator: str) -> _Rows:
    """Rows, as long as they have as many cells as the header."""
    for number, row in rows:
        if len(row) != len(header):
            line = separator.join(row)
            one_more = len(row) == len(header) + 1 and not row[-1].strip()
            raise ProbelineError(
                f"{place}:{number}",
                "has another number of cells than the header",
                expected=f"{len(header)}: {separator.join(header)[:_SHOWN]}",
                found=f"{len(row)} cell{'s' * (len(row) != 1)} on line {number}: "
                + line[:_SHOWN]
                + (" …" if len(line) > _SHOWN else ""),
                remedy="end the header as the rows end, or take the separator at their ends away"
                if one_more
                else "complete the row; put quotes around text that holds separators",
            )
        yield number, row


def _refuse_other_separator(header: Sequence[str], separator: str, place: str) -> None:
    """Refuse a header that is one name to us, and several with another separator."""
    others = [s for s in _SEPARATORS if s != separator and len(header) == 1 and s in header[0]]
    if others:
        used, wanted = _SEPARATORS[others[0]], _SEPARATORS[separator]
        raise ProbelineError(
            place,
            f"its columns are separated by {used}",
            expected=wanted,
            found=f"the header {header[0][:_SHOWN]}",
            remedy=f"separate the columns by {wanted}"
            + (", or call the file .tsv" if used == "tabs" else ""),
        )
