"""How a published table says what a long table of scores says, and bringing it into that form.

Published tables have a row for each model and a column for each data set, or a file for each data
set, or a column for each metric. All of these are columns of values that stand for some words; a
`Layout` names them, `arranged` makes the rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal, NamedTuple

from cache.errors import ProbelineError
from pipeline.results.foreign_lines import Lines, Place, number_in, read_table
from pipeline.results.score_table import COLUMNS, plain

EVERY = ""
"""In place of a data set's name: every one that is not named."""

_NAMES = ("model", "dataset", "protocol", "variant", "metric")
_TEMPLATE = re.compile(r"\{([^{}]+)\}")


@dataclass(frozen=True)
class Layout:
    """How a table says it.

    Attributes
    ----------
    columns : mapping of str to str
        Our column to theirs; or to a text with theirs in braces, ``{model}@{img_size}``.
    constants : mapping of str to str
        What all rows have in a column of ours, unless something else says it.
    values : mapping of str to mapping of str to str
        Each of their columns that holds scores, and what such a score is of:
        ``{"lp_acc1": {"metric": "top1"}}``.
    wide : bool
        Whether every column that is nothing else holds the scores of a data set called so.
    file_is_dataset : bool
        Whether a file holds one data set and is called like it, after `prefix`.
    prefix : str
    words : mapping of str to mapping of str to str
        By column of ours: their words, and ours for them.
    where : mapping of str to str
        Their columns, and the word that rows have there; others are left out.
    drop : mapping of str to tuple of str
        Their columns, and words of rows that are left out.
    without : tuple of str
        Their columns that are left out.
    keep : {"", "first", "best"}
        Which of several rows that are of one score; "": it is an error.
    scale : mapping of str to str
        Factors of columns of ours, as text: ``{"parameters": "1e6"}``.
    of_dataset : mapping of str to mapping of str to str
        By column of ours: what is said of each data set, or of those like a pattern (``val-*``); of
        `EVERY` one that is not named.
    percent, intervals : bool
        Whether rates are percentages; whether the file's intervals are taken.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    wide: bool = False
    file_is_dataset: bool = False
    prefix: str = ""
    words: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    where: Mapping[str, str] = field(default_factory=dict)
    drop: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    keep: Literal["", "first", "best"] = ""
    scale: Mapping[str, str] = field(default_factory=dict)
    of_dataset: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    percent: bool = False
    intervals: bool = True

    @property
    def is_ours(self) -> bool:
        """Whether the table is in the long form with our names, and says everything itself."""
        return self == Layout(percent=self.percent, intervals=self.intervals)


class Arranged(NamedTuple):
    """Rows in the long form, and what was done to them that a reader must know."""

    lines: Lines
    notes: tuple[str, ...]


class _Source(NamedTuple):
    """A row of a file: its cells by their columns, in lower case."""

    place: Place
    cells: Mapping[str, str]


def arranged(paths: Sequence[Path], layout: Layout) -> Arranged:
    """The rows of one or several files in the long form.

    Parameters
    ----------
    paths : sequence of Path
    layout : Layout

    Raises
    ------
    ProbelineError
        When a file lacks a column that the layout names, or a column of scores holds none.
    """
    rows: dict[str, list[str]] = {}
    places: list[Place] = []
    unused: dict[str, None] = {}
    notes: list[str] = []
    empty, asked = 0, set[str]()
    for path in paths:
        header, table = read_table(path)
        names = [name.lower() for name in header]
        plan = _Plan(path, header, names, layout)
        unused |= dict.fromkeys(plan.unused)
        sources = [
            _Source(Place(str(path), n), dict(zip(names, (plain(c.strip()) for c in row),
                                                   strict=True)))
            for n, row in table
        ]  # fmt: skip
        kept, said = _kept(plan, sources)
        notes += said
        plan.refuse_text(kept)
        empty += plan.empty(kept)
        asked |= plan.datasets(kept)
        for place, row in plan.rows(kept):
            places.append(place)
            for name, cell in row.items():
                # A column that only some files have is empty in the rows of the others.
                cells = rows.setdefault(name, [])
                cells += [""] * (len(places) - 1 - len(cells)) + [cell]
    for cells in rows.values():
        cells += [""] * (len(places) - len(cells))
    if empty:
        notes.append(f"{empty:,} cells hold no score: missing, never filled in")
    if none := sorted(asked - set(rows.get("dataset", []))):
        notes.append(f"no score at all on {', '.join(none)}")
    name = str(paths[0]) if len(paths) == 1 else f"{len(paths)} files"
    return Arranged(Lines(name, rows, places, tuple(unused)), tuple(dict.fromkeys(notes)))


class _Plan:
    """What each column of one file is."""

    def __init__(
        self, path: Path, header: Sequence[str], names: Sequence[str], layout: Layout
    ) -> None:
        self.path, self.layout, self.names = path, layout, names
        if twice := [name for name in names if name and names.count(name) > 1]:
            raise self._fault(f"column {twice[0]} is given twice", remedy="keep one of the two")
        self.templates = {
            ours: theirs.lower() if "{" in theirs else f"{{{theirs.lower()}}}"
            for ours, theirs in layout.columns.items()
        }
        read = {n for theirs in self.templates.values() for n in _TEMPLATE.findall(theirs)}
        read |= {name.lower() for name in (*layout.where, *layout.drop)} | {
            n.lower() for n in layout.values
        }
        left_out = {name.lower() for name in layout.without}
        self._require([*read, *left_out])
        for name in COLUMNS:  # what is called as ours is ours
            if name in names and name not in {*self.templates, *left_out, *read}:
                self.templates[name] = f"{{{name}}}"
                read.add(name)
        if layout.wide and "model" not in self.templates:
            self.templates["model"] = f"{{{names[0]}}}"
            read.add(names[0])
        others = [name for name in names if name and name not in read | left_out]
        self.values = {name.lower(): dict(of) for name, of in layout.values.items()}
        if layout.wide:
            spelled = dict(zip(names, header, strict=True))
            self.values |= {name: {"dataset": spelled[name]} for name in others}
            others = []
        elif not self.values:
            self.values = {self._value_column(): {}}
        self.unused = tuple(others)
        self._require_names()

    def rows(self, sources: Sequence[_Source]) -> Iterator[tuple[Place, dict[str, str]]]:
        """The long rows, with their places; cells without a score make none."""
        layout, several = self.layout, len(self.values) > 1
        stem = self.path.stem.removeprefix(layout.prefix)
        for place, cells in sources:
            of_row = self._of_row(cells)
            if layout.file_is_dataset:
                of_row["dataset"] = stem
            for column, of_value in self.values.items():
                if several and not cells[column]:
                    continue
                row = {**layout.constants, **of_row, **of_value, "value": cells[column]}
                for ours, known in layout.words.items():
                    row[ours] = known.get(row.get(ours, ""), row.get(ours, ""))
                for ours, said in layout.of_dataset.items():
                    if not row.get(ours):
                        row[ours] = _said(said, row.get("dataset", ""))
                yield Place(place.file, place.line, column if several else ""), row

    def empty(self, sources: Sequence[_Source]) -> int:
        """Cells without a score, which make no row."""
        if len(self.values) < 2:
            return 0
        return sum(not s.cells[column] for s in sources for column in self.values)

    def datasets(self, sources: Sequence[_Source]) -> set[str]:
        """Data sets that the file names, with scores or without."""
        named = {of["dataset"] for of in self.values.values() if "dataset" in of}
        if "dataset" in self.templates:
            named |= {self._of_row(source.cells)["dataset"] for source in sources}
        return named

    def refuse_text(self, sources: Sequence[_Source]) -> None:
        """Refuse columns of scores that hold text, or counts, for which `--wide` took them."""
        if not self.layout.wide:
            return
        for column in self.values:
            numbers = [(s, number_in(s.cells[column])) for s in sources]
            text = [s for s, number in numbers if number is None]
            large = [s for s, number in numbers if number is not None and number > 100]
            if text or large:
                first = (text or large)[0]
                problem = "holds text" if text else "holds a number above 100, which is no rate"
                raise ProbelineError(
                    f"{first.place.file}:{first.place.line}",
                    f"column {column} {problem}",
                    expected="with --wide, columns of scores, each called like its data set",
                    found=f"{first.cells[column]!r}, and so on "
                    f"{len(text or large):,} of {len(sources):,} lines",
                    remedy=f"if it is no score: --without {column}; if it is something that is "
                    f"known of models: --column parameters={column}, or family, gmacs …",
                )

    def key(self, source: _Source) -> tuple[str, ...]:
        """Which scores a row is of."""
        of_row = self._of_row(source.cells)
        return tuple(of_row.get(name, "") for name in (*_NAMES, "seed"))

    def _of_row(self, cells: Mapping[str, str]) -> dict[str, str]:
        found = {
            ours: _TEMPLATE.sub(lambda match: cells[match[1]], theirs)
            for ours, theirs in self.templates.items()
            if ours != "value"
        }
        for ours, factor in self.layout.scale.items():
            if ours in found:
                found[ours] = _scaled(found[ours], factor)
        return found

    def _value_column(self) -> str:
        found = _TEMPLATE.findall(self.templates.get("value", ""))
        if len(found) != 1:
            raise self._fault(
                "has no column value",
                expected="a column value, or which it is: --value COLUMN",
                found=f"columns {', '.join(self.names)}",
                remedy="name it; of a table with a column for each data set say --wide",
            )
        return str(found[0])

    def _require(self, names: Sequence[str]) -> None:
        if missing := [name for name in names if name not in self.names]:
            raise self._fault(
                f"has no column {', '.join(dict.fromkeys(missing))}",
                found=f"columns {', '.join(self.names)}",
                remedy="name columns of this file, or leave out the profile",
            )

    def _require_names(self) -> None:
        """Refuse a table of which nobody says which model, data set, protocol or metric it is."""
        said = {*self.templates, *self.layout.constants}
        said |= {ours for of in self.values.values() for ours in of}
        said |= {"dataset"} if self.layout.file_is_dataset else set()
        flags = {
            "model": "--model COLUMN",
            "dataset": "--dataset NAME",
            "metric": "--metric top1",
            "protocol": "--protocol linear (classifier: one classifier on all data sets)",
        }
        missing = [name for name in flags if name not in said]
        if missing:
            raise self._fault(
                f"nobody says the {' and the '.join(missing)} of its scores",
                found=f"columns {', '.join(self.names)}",
                remedy="say it: " + ", ".join(flags[name] for name in missing),
            )

    def _fault(
        self, problem: str, *, expected: str = "", found: str = "", remedy: str
    ) -> ProbelineError:
        return ProbelineError(
            str(self.path), problem, expected=expected, found=found, remedy=remedy
        )


def _kept(plan: _Plan, sources: Sequence[_Source]) -> tuple[list[_Source], list[str]]:
    """The rows that are asked for, one of each score where the layout says which."""
    where = {name.lower(): word for name, word in plan.layout.where.items()}
    asked = [s for s in sources if all(s.cells[name] == word for name, word in where.items())]
    notes = []
    if where and not asked:
        told = ", ".join(f"{name}={word}" for name, word in where.items())
        raise ProbelineError(
            str(plan.path), f"no row has {told}", remedy="name words that stand in the file"
        )
    if left := len(sources) - len(asked):
        told = " and ".join(f"{name} {word}" for name, word in where.items())
        notes.append(f"{left:,} rows are left out: only those with {told} are asked for")
    for name, words in plan.layout.drop.items():
        left = len(asked)
        asked = [s for s in asked if s.cells[name] not in words]
        if left > len(asked):
            notes.append(f"{left - len(asked):,} rows of {', '.join(words)} are left out")
    groups: dict[tuple[str, ...], list[_Source]] = {}
    for source in asked:
        groups.setdefault(plan.key(source), []).append(source)
    if len(groups) == len(asked):
        return asked, notes
    if not plan.layout.keep:
        _refuse_same(plan, next(rows for rows in groups.values() if len(rows) > 1), groups)
    first = plan.layout.keep == "first"
    chosen = [rows[0] if first else _best(plan, rows) for rows in groups.values()]
    notes.append(
        f"{len(asked) - len(chosen):,} rows are left out: the {plan.layout.keep} of several that "
        "are of one score is kept"
        + ("" if first else " (chosen by the test score itself, so it is too high)")
    )
    return chosen, notes


def _refuse_same(
    plan: _Plan, same: Sequence[_Source], groups: Mapping[tuple[str, ...], Sequence[_Source]]
) -> None:
    """Refuse rows of one score, with the columns that tell them apart.

    Rows of a long table are left to its own check, which knows seeds.
    """
    if not (plan.layout.wide or plan.layout.file_is_dataset or len(plan.values) > 1):
        return
    used = {n for theirs in plan.templates.values() for n in _TEMPLATE.findall(theirs)}
    apart = [
        name for name in plan.names
        if name and name not in {*used, *plan.values} and _tells_apart(name, groups)
    ]  # fmt: skip
    several = [rows for rows in groups.values() if len(rows) > 1]
    model = _TEMPLATE.findall(plan.templates["model"])
    remedy = "keep one of them, or say which: --keep first, or best"
    if apart and model:
        remedy = f'name models by both: --model "{{{model[0]}}}@{{{apart[0]}}}"; or {remedy}'
    raise ProbelineError(
        f"{same[0].place.file}:{same[0].place.line}",
        f"{len(several):,} models have several rows"
        + (f", which differ in {', '.join(apart[:3])}" if apart else ""),
        expected="one row for each model",
        found=f"{plan.key(same[0])[0]} on lines {', '.join(str(s.place.line) for s in same[:5])}",
        remedy=remedy,
    )


def _tells_apart(name: str, groups: Mapping[tuple[str, ...], Sequence[_Source]]) -> bool:
    return all(
        len({s.cells[name] for s in rows}) == len(rows) for rows in groups.values() if len(rows) > 1
    )


def _best(plan: _Plan, rows: Sequence[_Source]) -> _Source:
    """The row with the highest of the first scores that it has."""

    def first(source: _Source) -> float:
        found = (number_in(source.cells[column]) for column in plan.values)
        return next((number for number in found if number == number and number is not None), -1.0)

    return max(rows, key=first)


def _said(said: Mapping[str, str], dataset: str) -> str:
    if dataset in said:
        return said[dataset]
    like = (word for name, word in said.items() if "*" in name and fnmatchcase(dataset, name))
    return next(like, said.get(EVERY, ""))


def _scaled(cell: str, factor: str) -> str:
    try:
        return format((Decimal(cell.replace(",", "")) * Decimal(factor)).normalize(), "f")
    except InvalidOperation:
        return cell  # the check of numbers names it
