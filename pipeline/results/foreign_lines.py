"""The lines of a CSV file from elsewhere, and refusing them by their numbers."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cache.errors import ProbelineError
from pipeline.project.csv_rows import read_csv_rows, separator_of
from pipeline.results.score_table import RENAMED, plain

_MISSING = ("", "nan", "na", "n/a", "#n/a", "<na>", "null", "none")
"""How pandas, R, databases and spreadsheets write a value that is not there."""

_SURE = 0.75
"""How alike two words are (`difflib`'s ratio) before one is proposed for the other."""

_SHOWN = 5
"""Lines, and examples, that a message names."""


class Place(NamedTuple):
    """Where a row begins: its file, its line as an editor counts, the column its score is from."""

    file: str
    line: int
    column: str = ""


class Lines:
    """The rows of scores, by column, with the place of each.

    Parameters
    ----------
    name : str
        Of the file (or files), for errors that are of no row.
    columns : mapping of str to list of str
        The cells of each column that is understood, without space around them.
    places : sequence of Place
    unused : tuple of str
        Columns that are not understood.
    """

    def __init__(
        self,
        name: str,
        columns: Mapping[str, list[str]],
        places: Sequence[Place],
        unused: tuple[str, ...] = (),
    ) -> None:
        self._name, self._places = name, places
        self.columns, self.unused = dict(columns), unused
        self._files = len({place.file for place in places})
        if not places:
            raise self.fault("holds no scores", remedy="give it a row for each score")

    @classmethod
    def read(cls, path: Path, known: Collection[str], required: Collection[str]) -> Lines:
        """The rows of a long file.

        Parameters
        ----------
        path : Path
        known, required : collection of str
            Columns that are understood, and those that must be there. Their case does not matter.

        Raises
        ------
        ProbelineError
            When the file is no CSV with these columns.
        """
        header, rows = read_table(path)
        names = [name.lower() for name in header]
        unused = tuple(name for name in names if name and name not in known)
        _check_header(str(path), header, names, known, required, unused)
        places = [Place(str(path), number) for number, _ in rows]
        cells = zip(*(row for _, row in rows), strict=True)
        columns = {
            name: [plain(cell.strip()) for cell in of]
            for name, of in zip(names, cells, strict=False)
            if name in known
        }
        return cls(str(path), columns, places, unused)

    def column(self, name: str) -> list[str]:
        """The cells of a column, "" where the file has no such column."""
        return self.columns.get(name) or [""] * len(self._places)

    def numbers(self, name: str) -> list[float]:
        """A column of numbers; NaN where a cell is empty."""
        cells = self.columns[name]
        found = [number_in(cell) for cell in _without_commas(cells)]
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

    def refuse_unknown(self, name: str, legal: Sequence[str], why: str = "") -> None:
        """Refuse the cells of a column that are not among the legal words; `why` follows."""
        cells = self.columns.get(name, [])
        wrong = next((cell for cell in cells if cell not in legal), "")
        near = difflib.get_close_matches(wrong.lower(), legal, n=1, cutoff=_SURE)
        self.refuse_rows(
            [cell not in legal for cell in cells],
            f"unknown {name}{why}",
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
        first = self._places[rows[0]]
        raise ProbelineError(
            f"{first.file}:{first.line}",
            problem,
            expected=expected,
            found=f"{shown} on {self.at(rows)}",
            remedy=remedy,
        )

    def at(self, rows: Iterable[int]) -> str:
        """The lines of some rows, for a message."""
        named = list(dict.fromkeys(self._named(self._places[row]) for row in rows))
        shown = ", ".join(named[:_SHOWN])
        more = f" and {len(named) - _SHOWN:,} more" if len(named) > _SHOWN else ""
        return f"line{'s' * (len(named) > 1)} {shown}{more}"

    def fault(
        self, problem: str, *, expected: str = "", found: str = "", remedy: str
    ) -> ProbelineError:
        """An error of this file."""
        return ProbelineError(self._name, problem, expected=expected, found=found, remedy=remedy)

    def _named(self, place: Place) -> str:
        file = f"{Path(place.file).name}:" if self._files > 1 else ""
        return f"{file}{place.line}" + (f" ({place.column})" if place.column else "")


def read_table(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """A file's header, and its rows with the line of each.

    Raises
    ------
    ProbelineError
        When it is not there, or no CSV.
    """
    try:
        data = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        raise ProbelineError(str(path), "there is no such file", remedy="name a CSV file") from None
    table = read_csv_rows(data, str(path), separator_of(path.name))
    return table.header, list(table.rows)


def _check_header(
    path: str,
    header: list[str],
    names: list[str],
    known: Collection[str],
    required: Collection[str],
    unused: Sequence[str],
) -> None:
    if twice := [name for name in names if name in known and names.count(name) > 1]:
        raise ProbelineError(
            path, f"column {twice[0]} is given twice", remedy="keep one of the two"
        )
    missing = [name for name in required if name not in names]
    if missing:
        raise ProbelineError(
            path,
            f"has no column {', '.join(missing)}",
            expected=f"columns {', '.join(required)}",
            found=f"columns {', '.join(header)}",
            remedy=_renames(missing, unused)
            or "add it; of a table with a row for each model and a column for each data set say "
            "--wide; of other names --column OURS=THEIRS (`probeline scores import --help`)",
        )
    absent = [name for name in known if name not in names]
    for name in unused:
        if name in RENAMED and RENAMED[name] in known:
            raise ProbelineError(
                path,
                f"column {name} has another name now",
                expected=RENAMED[name],
                found=name,
                remedy="rename it",
            )
        if near := difflib.get_close_matches(name, absent, n=1, cutoff=0.8):
            raise ProbelineError(
                path,
                f"unknown column {name}",
                expected=f"one of {', '.join(known)}",
                remedy=f"did you mean `{near[0]}`? Rename or delete it",
            )


def number_in(cell: str) -> float | None:
    """A cell's number, NaN for none; None where it is something else."""
    if cell.lower() in _MISSING:
        return float("nan")
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if np.isfinite(number) and "_" not in cell else None


_THOUSANDS = re.compile(r"-?\d{1,3}(,\d{3})+(\.\d+)?")


def _without_commas(cells: Sequence[str]) -> Sequence[str]:
    """Thousands separators taken away where the column shows that they are: it has points, too."""
    if not any("," in cell for cell in cells) or not any("." in cell for cell in cells):
        return cells
    return [cell.replace(",", "") if _THOUSANDS.fullmatch(cell) else cell for cell in cells]


def _number_remedy(cells: Sequence[str], found: Sequence[float | None]) -> str:
    wrong = next((c for c, number in zip(cells, found, strict=True) if number is None), "")
    if wrong.endswith("%"):
        return "take the % away (on all rows: then --percent)"
    if re.fullmatch(r"-?\d{1,3}(,\d{3})+(\.\d*)?", wrong):
        return "write it without commas: 1,234 is 1.234 to some and 1234 to others"
    if "," in wrong and number_in(wrong.replace(",", ".", 1)) is not None:
        return "write a decimal point instead of the comma"
    return "correct these cells, or empty them where there is no number"


def _renames(missing: Sequence[str], unknown: Sequence[str]) -> str:
    """Which of the unknown columns were meant, where it is certain: the same word and more.

    `model_name` is the model; `pretrained` is no metric, nor `n_val` a value.
    """

    def same(name: str, column: str) -> bool:
        return re.sub(r"[^a-z0-9]+", "", column) in (name, f"{name}s", f"{name}name")

    near = {name: [column for column in unknown if same(name, column)] for name in missing}
    return ", ".join(
        f"rename `{found[0]}` to `{name}`" for name, found in near.items() if len(found) == 1
    )
