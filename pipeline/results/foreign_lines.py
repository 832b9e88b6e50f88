"""The lines of a CSV file from elsewhere, and refusing them by their numbers."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

import numpy as np

from cache.errors import ProbelineError
from pipeline.project.csv_rows import read_csv_rows, separator_of
from pipeline.results.score_table import plain

_MISSING = ("", "nan", "na", "n/a", "#n/a", "<na>", "null", "none")
"""How pandas, R, databases and spreadsheets write a value that is not there."""

_SURE = 0.6
"""How alike two words are (`difflib`'s ratio) before one is proposed for the other."""

_SHOWN = 5
"""Lines, and examples, that a message names."""


class Lines:
    """The rows of a CSV file, by column, with the line on which each begins.

    Parameters
    ----------
    path : Path
    known, required : collection of str
        Columns that are understood, and those that must be there. Their case does not matter.

    Attributes
    ----------
    columns : dict of str to list of str
        The cells of each known column that the file has, without space around them.
    unused : tuple of str
        Columns that are not understood.

    Raises
    ------
    ProbelineError
        When the file is no CSV with these columns.
    """

    def __init__(self, path: Path, known: Collection[str], required: Collection[str]) -> None:
        self._path = path
        table = read_csv_rows(self._read(), str(path), separator_of(path.name))
        header = table.header
        names = [name.lower() for name in header]
        self.unused = tuple(name for name in names if name and name not in known)
        self._check_header(header, names, known, required)
        numbered = list(table.rows)
        if not numbered:
            raise self.fault("holds no scores", remedy="give it a row for each score")
        self._numbers = [number for number, _ in numbered]
        self.columns = {
            name: [plain(cell.strip()) for cell in cells]
            for name, cells in zip(
                names, zip(*(row for _, row in numbered), strict=True), strict=True
            )
            if name in known
        }

    def column(self, name: str) -> list[str]:
        """The cells of a column, "" where the file has no such column."""
        return self.columns.get(name) or [""] * len(self._numbers)

    def numbers(self, name: str) -> list[float]:
        """A column of numbers; NaN where a cell is empty."""
        cells = self.columns[name]
        found = [_number(cell) for cell in cells]
        self.refuse_rows(
            [number is None for number in found],
            f"{name} is not a number",
            lambda row: repr(cells[row]),
            expected="a number with a decimal point, or nothing",
            remedy=_number_remedy(cells, found),
        )
        return [float("nan") if number is None else number for number in found]

    def wholes(self, name: str) -> list[int | None]:
        """A column of whole numbers; None where a cell is empty."""
        cells = self.columns[name]
        found = self.numbers(name)
        self.refuse_rows(
            [number < 0 or number != np.floor(number) for number in np.nan_to_num(found)],
            f"{name} is not a whole number",
            lambda row: repr(cells[row]),
            remedy="correct these cells, or empty them",
        )
        return [None if np.isnan(number) else int(number) for number in found]

    def refuse(self, name: str, bad: Callable[[str], bool], problem: str, remedy: str) -> None:
        """Refuse the cells of a column that are bad."""
        cells = self.columns.get(name, [])
        verdicts = {cell: bad(cell) for cell in set(cells)}
        self.refuse_rows(
            [verdicts[cell] for cell in cells],
            f"{name} {problem}",
            lambda row: repr(cells[row]),
            remedy=remedy,
        )

    def refuse_unknown(self, name: str, legal: Sequence[str]) -> None:
        """Refuse the cells of a column that are not among the legal words."""
        cells = self.columns.get(name, [])
        wrong = next((cell for cell in cells if cell not in legal), "")
        near = difflib.get_close_matches(wrong.lower(), legal, n=1, cutoff=_SURE)
        self.refuse_rows(
            [cell not in legal for cell in cells],
            f"unknown {name}",
            lambda row: repr(cells[row]),
            expected=f"one of {', '.join(word for word in legal if word)}",
            remedy=f"did you mean `{near[0]}`?" if near else "correct or leave out these rows",
        )

    def refuse_rows(
        self,
        bad: Sequence[bool],
        problem: str,
        found: Callable[[int], str],
        *,
        expected: str = "",
        remedy: str,
    ) -> None:
        """Refuse rows; `found` says what stands on one."""
        rows = [row for row, wrong in enumerate(bad) if wrong]
        if not rows:
            return
        examples = list(dict.fromkeys(found(row) for row in rows[:100]))
        shown = ", ".join(examples[:_SHOWN]) + (", …" if len(examples) > _SHOWN else "")
        raise ProbelineError(
            f"{self._path}:{self._numbers[rows[0]]}",
            problem,
            expected=expected,
            found=f"{shown} on {self.at(rows)}",
            remedy=remedy,
        )

    def at(self, rows: Iterable[int]) -> str:
        """The lines of some rows, for a message."""
        numbers = [self._numbers[row] for row in rows]
        shown = ", ".join(map(str, numbers[:_SHOWN]))
        more = f" and {len(numbers) - _SHOWN:,} more" if len(numbers) > _SHOWN else ""
        return f"line{'s' * (len(numbers) > 1)} {shown}{more}"

    def fault(
        self, problem: str, *, expected: str = "", found: str = "", remedy: str
    ) -> ProbelineError:
        """An error of this file."""
        return ProbelineError(
            str(self._path), problem, expected=expected, found=found, remedy=remedy
        )

    def _read(self) -> bytes:
        try:
            return self._path.read_bytes()
        except (FileNotFoundError, IsADirectoryError):
            raise self.fault("there is no such file", remedy="name a CSV file") from None

    def _check_header(
        self, header: list[str], names: list[str], known: Collection[str], required: Collection[str]
    ) -> None:
        if twice := [name for name in names if name in known and names.count(name) > 1]:
            raise self.fault(f"column {twice[0]} is given twice", remedy="keep one of the two")
        missing = [name for name in required if name not in names]
        if missing:
            raise self.fault(
                f"has no column {', '.join(missing)}",
                expected=f"columns {', '.join(required)}",
                found=f"columns {', '.join(header)}",
                remedy=_renames(missing, self.unused) or "add it",
            )
        absent = [name for name in known if name not in names]
        for name in self.unused:
            if near := difflib.get_close_matches(name, absent, n=1, cutoff=0.8):
                raise self.fault(
                    f"unknown column {name}",
                    expected=f"one of {', '.join(known)}",
                    remedy=f"did you mean `{near[0]}`? Rename or delete it",
                )


def _number(cell: str) -> float | None:
    """A cell's number, NaN for none; None where it is something else."""
    if cell.lower() in _MISSING:
        return float("nan")
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if np.isfinite(number) and "_" not in cell else None


def _number_remedy(cells: Sequence[str], found: Sequence[float | None]) -> str:
    wrong = next((c for c, number in zip(cells, found, strict=True) if number is None), "")
    if wrong.endswith("%"):
        return "take the % away (on all rows: then --percent)"
    if re.fullmatch(r"-?\d{1,3}(,\d{3})+(\.\d*)?", wrong):
        return "write it without commas: 1,234 is 1.234 to some and 1234 to others"
    if "," in wrong and _number(wrong.replace(",", ".", 1)) is not None:
        return "write a decimal point instead of the comma"
    return "correct these cells, or empty them where there is no number"


def _renames(missing: Sequence[str], unknown: Sequence[str]) -> str:
    """Which of the unknown columns were probably meant."""
    near = {name: difflib.get_close_matches(name, unknown, n=1, cutoff=_SURE) for name in missing}
    return ", ".join(f"rename `{found[0]}` to `{name}`" for name, found in near.items() if found)
