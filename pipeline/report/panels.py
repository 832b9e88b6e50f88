"""What the report's tables of statistics share: a heading, cells as text, what they are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, SupportsFloat

import numpy as np
import xarray as xr

from pipeline.report.columns import Head, word
from pipeline.report.formats import (
    NOTHING,
    count,
    interval,
    p_value,
    percent,
    points,
    rho,
    seconds,
    sentence,
)
from pipeline.report.inputs import Inputs
from pipeline.report.section import Content
from pipeline.report.stated import all_withheld, by_reason, statistic
from pipeline.statistics.columns import COLUMNS
from pipeline.statistics.registry import column_of
from pipeline.statistics.written import counted
from pipeline.study.protocol_list import protocol_label

NOT_ESTIMABLE = "not estimable"
"""What the text of a cell begins with that says, there or below, why it has no number."""

MOST_ROWS = 300
"""Of one table; the rest is in results/statistics/."""


class Cell(NamedTuple):
    """A cell of a table: its text, and a smaller line below."""

    text: str
    small: str = ""


@dataclass(frozen=True)
class Table:
    """A table of one statistic.

    Attributes
    ----------
    heading : str
    head : tuple of Head
    rows : tuple of tuple of Cell
        The first cell heads the row.
    name : str
        Of the statistic, whose numbers are in results/statistics/NAME.csv.
    withheld : str
        Why there is no table; empty where there is one.
    left_out : int
        Rows beyond `MOST_ROWS`.
    empty : int
        Rows without any number, which are not among `rows`.
    """

    heading: str
    name: str
    head: tuple[Head, ...] = ()
    rows: tuple[tuple[Cell, ...], ...] = ()
    withheld: str = ""
    left_out: int = 0
    empty: int = 0


@dataclass(frozen=True)
class Tables:
    """The content of a section that is tables.

    Attributes
    ----------
    shown : sequence of Table
    folded : sequence of Table
        A click away.
    intro : str
        What stands above them.
    """

    shown: Sequence[Table]
    folded: Sequence[Table] = ()
    intro: str = ""

    @property
    def all(self) -> tuple[Table, ...]:
        """All of them, in their order."""
        return (*self.shown, *self.folded)

    @property
    def withheld(self) -> str:
        """Why there is no table at all."""
        return all_withheld(*(table.withheld for table in self.all))


def unsaid(tables: Iterable[Table]) -> list[tuple[str, list[Table]]]:
    """Why some of the tables are not there, each reason once with those that it is about."""
    return by_reason((table.withheld, table) for table in tables if table.withheld)


class Filled(NamedTuple):
    """What a statistic gives to its table.

    Attributes
    ----------
    head : sequence of Head or str
        A text alone needs no explaining.
    rows : sequence of sequence of Cell
    left_out : int
        Rows beyond `MOST_ROWS` that were not even made.
    """

    head: Sequence[Head | str]
    rows: Sequence[Sequence[Cell]]
    left_out: int = 0


def table_of(
    inputs: Inputs, name: str, heading: str, fill: Callable[[Inputs, xr.Dataset], Filled | str]
) -> Table:
    """The table of a statistic, or why there is none.

    Parameters
    ----------
    inputs : Inputs
    name : str
        Of the statistic.
    heading : str
    fill : callable
        From the inputs and the statistic to the table's contents, or to the sentence that says why
        there are none.
    """
    found = statistic(inputs, name)
    filled = found if isinstance(found, str) else fill(inputs, found)
    if isinstance(filled, str):
        return Table(heading, name, withheld=filled)
    head, rows = _with_content(filled)
    return Table(
        heading, name, head, rows[:MOST_ROWS], "" if rows else _nothing_in(filled),
        filled.left_out + max(len(rows) - MOST_ROWS, 0), len(filled.rows) - len(rows),
    )  # fmt: skip


def as_it_is(name: str, heading: str, intro: str = "") -> Callable[[Inputs], Content]:
    """The content of a section that shows one statistic, whatever it holds, as a table."""
    fill = partial(_as_it_is, name)
    return lambda inputs: Tables([table_of(inputs, name, heading, fill)], intro=intro)


def _as_it_is(statistic: str, inputs: Inputs, found: xr.Dataset) -> Filled:
    """A row for each combination of labels, a column for each variable."""
    dims, names = (list(map(str, of)) for of in (found.dims, found.data_vars))
    rows = [
        [
            Cell(", ".join(_label(inputs, dim, str(row[dim])) for dim in dims)),
            *(Cell(_plain(row[name])) for name in names),
        ]
        for row in found.to_dataframe().reset_index().to_dict("records")
    ]
    first = ", ".join(dims).replace("dataset", "data set").replace("_", " ").capitalize()
    columns = {name: column_of(statistic, name) for name in names}
    heads = (Head(word(name, of), sentence(of.meaning)) for name, of in columns.items())
    return Filled([first, *heads], rows)


def _label(inputs: Inputs, dim: str, name: str) -> str:
    """What the reader calls a protocol, a variant, or a column of scores; other names as is."""
    if dim == "protocol":
        return protocol_label(name)
    known = inputs.variants.get(name) or inputs.columns.get(name)
    return known.label if known else name


def _plain(value: Any) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,.4g}" if np.isfinite(value) else NOTHING


_EMPTY = ("", NOTHING, NOT_ESTIMABLE)


def _with_content(filled: Filled) -> tuple[tuple[Head, ...], tuple[tuple[Cell, ...], ...]]:
    """Head and rows without the rows, then the columns, in which every number is withheld."""
    rows = [row for row in filled.rows if any(map(_has_number, row[1:]))]
    kept = [
        place for place in range(len(filled.head))
        if place == 0 or any(row[place].text not in _EMPTY for row in rows)
    ]  # fmt: skip
    head = tuple(of if isinstance(of, Head) else Head(of) for of in (filled.head[k] for k in kept))
    return head, tuple(tuple(row[place] for place in kept) for row in rows)


def _has_number(cell: Cell) -> bool:
    return cell.text not in _EMPTY and not cell.text.startswith(NOT_ESTIMABLE)


def _nothing_in(filled: Filled) -> str:
    """Why no row is left: what the cells say, or that there was nothing to fill them with."""
    said = dict.fromkeys(
        _reason(cell)
        for row in filled.rows
        for cell in row[1:]
        if cell.text.startswith(NOT_ESTIMABLE)
    )
    if not said:
        return "Withheld: there are too few scores."
    return f"Not estimable: {'; '.join(filter(None, said))}."


def _reason(cell: Cell) -> str:
    """Why it is not estimable, which its text says, or the smaller line."""
    said = cell.text.removeprefix(NOT_ESTIMABLE).removeprefix(": ") or cell.small
    return said.removeprefix("withheld: ")


def answer_order(inputs: Inputs, found: xr.Dataset) -> list[str]:
    """A statistic's protocols, the one that decides first."""
    return sorted(map(str, found["protocol"].values), key=lambda name: name != inputs.decides)


def protocol_heads(table: xr.Dataset) -> list[str]:
    """Column heads for a statistic's protocols."""
    return [protocol_label(str(p)) for p in table["protocol"].values]


def estimate(
    of: xr.Dataset, value: str, low: str, high: str, n: str = "", *, in_points: bool = False
) -> Cell:
    """A number over its interval, and over how many models it is."""
    number = float(of[value])
    if not np.isfinite(number):
        return Cell(NOTHING)
    below = [interval(float(of[low]), float(of[high]), in_points=in_points)]
    if n:
        below.append(counted(float(of[n]), "model"))
    return Cell((points if in_points else rho)(number), ", ".join(filter(None, below)))


_WRITTEN: Mapping[str, Callable[[float], str]] = {
    "ρ": rho, "r": rho, "share of variance": rho, "share": percent, "probability": p_value,
    "s": seconds,
}  # fmt: skip
"""How numbers of a unit are written; what is in none of these units is counted."""


def numbers(of: xr.Dataset, *columns: str) -> list[Cell]:
    """A cell for each column, by its key in `COLUMNS`, written as its unit asks for."""
    cells = []
    for key in columns:
        write = _WRITTEN.get(COLUMNS[key].unit, whole)
        cells.append(Cell(write(float(of[key.rpartition(".")[2]]))))
    return cells


def whole(value: SupportsFloat) -> str:
    """A count that is stored as a float."""
    number = float(value)
    return count(int(number)) if np.isfinite(number) else NOTHING
