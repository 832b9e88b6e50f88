"""What the sections of the report share: statistics or why there are none, rows, selects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import xarray as xr

from pipeline.report.inputs import Inputs

if TYPE_CHECKING:
    import altair as alt  # 0.3 s that stage `correlate`, which draws nothing, need not pay

Named = TypeVar("Named")
Spec = dict[str, Any]
Rows = list[dict[str, Any]]

Drawn = dict[str, tuple[Spec, Rows]]
"""Figures by name: a Vega-Lite specification whose data are called ``rows``, and these."""

NARROW = 420
"""Pixels of a figure's inside, below which there is no room for words beside each other."""

_SIGNIFICANT = 5
"""Digits of numbers in the page."""


@dataclass(frozen=True)
class Choice:
    """A select that steers a figure.

    Attributes
    ----------
    signal : str
        The parameter of the figure that it sets.
    label : str
    options : tuple of (value, words)
        The first is what the figure shows when the page opens.
    """

    signal: str
    label: str
    options: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Shown:
    """What a section says of its figure.

    Attributes
    ----------
    withheld : str
        Why there is no figure; empty where there is one.
    choices : tuple of Choice
    """

    withheld: str
    choices: tuple[Choice, ...]


def choice(signal: str, label: str, values: Iterable[Any], words: Any = str) -> Choice:
    """A select over some values, each once, in their order."""
    distinct = dict.fromkeys(str(value) for value in values)
    return Choice(signal, label, tuple((value, words(value)) for value in distinct))


def statistic(inputs: Inputs, name: str) -> xr.Dataset | str:
    """A statistic, or the sentence that says why there is none."""
    found = inputs.told(name)
    if found.data_vars:
        return found
    reason = str(found.attrs.get("withheld", "there is nothing to compute it from"))
    return f"Withheld: {reason}" + ("" if reason.endswith(".") else ".")


def all_withheld(*reasons: str) -> str:
    """Why none of a section's parts is there, each reason once; empty where any is there."""
    return " ".join(dict.fromkeys(reasons)) if all(reasons) else ""


def by_reason(reasons: Iterable[tuple[str, Named]]) -> list[tuple[str, list[Named]]]:
    """Each reason once, with all that it is the reason of, in the order in which they come."""
    found: dict[str, list[Named]] = {}
    for reason, named in reasons:
        found.setdefault(reason, []).append(named)
    return list(found.items())


def answer_first(inputs: Inputs, rows: Rows) -> Rows:
    """Rows by the protocol that decides first, and of each protocol those on the target.

    Figures and their selects open with their first row: with what the answer is about.
    """
    decides, target = inputs.decides, inputs.target.datasets
    return sorted(
        rows,
        key=lambda row: (row.get("protocol", decides) != decides, row["dataset"] not in target),
    )


def rows_of(table: xr.Dataset, needed: str, fields: Sequence[str] = ()) -> Rows:
    """A row for each combination of labels that has the needed number.

    Parameters
    ----------
    table : Dataset
        All variables have the same dimensions.
    needed : str
        Variable; combinations where it is not finite are left out.
    fields : sequence of str, optional
        Variables to take; all of them if not given.

    Returns
    -------
    list of dict
        Labels as text, numbers with five significant digits, None for NaN.
    """
    dims = [str(dim) for dim in table[needed].dims]
    held = np.nonzero(np.isfinite(table[needed].values))
    columns: dict[str, list[Any]] = {
        dim: [str(label) for label in table[dim].values[at]]
        for dim, at in zip(dims, held, strict=True)
    }
    for name in fields or [str(variable) for variable in table.data_vars]:
        columns[name] = [short(value) for value in table[name].transpose(*dims).values[held]]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def short(value: Any) -> Any:
    """A number as the page holds it: five significant digits, None for NaN; text as it is."""
    if isinstance(value, str):
        return value
    number = float(value)
    if not np.isfinite(number):
        return None
    rounded = float(f"{number:.{_SIGNIFICANT}g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 1e15 else rounded


def dataset_word(name: str) -> str:
    """A data set's name; the mean over data sets is called so."""
    return "mean over data sets" if name == "mean" else name


def mean_first(datasets: Iterable[Any]) -> list[str]:
    """Data sets with their mean in front."""
    return sorted((str(name) for name in datasets), key=lambda name: name != "mean")


def legend(**options: Any) -> alt.Legend:
    """A legend below the figure; on a phone its entries stand below each other."""
    import altair as alt

    return alt.Legend(
        orient="bottom",
        title=None,
        columns=alt.ExprRef(f"width < {NARROW} ? 1 : 3"),
        symbolSize=80,
        symbolOpacity=1,
        **options,
    )


def rho_text(field: str) -> str:
    """Vega expression that writes a correlation as `pipeline.statistics.written.rho` does."""
    size = f"abs({field})"
    return (
        f"({size} >= 0.9995 && {size} < 1 ? ({field} > 0 ? '> 0.999' : '< −0.999') : "
        f"format({field}, {size} >= 0.995 && {size} < 1 ? '.3f' : '.2f'))"
    )


def ink(field: str) -> Any:
    """Colour of a number on the heat maps' colours: at least 4.5 to 1 on every one of them."""
    import altair as alt

    return alt.condition(
        f"{field} > 0.8 || {field} < -0.9", alt.value("#ffffff"), alt.value("#000000")
    )


def zero_line(axis: str) -> alt.Chart:
    """A dashed line where `axis` (``x`` or ``y``) is 0; it has data of its own, and so is one."""
    import altair as alt

    line = alt.Chart(alt.sequence(0, 1)).mark_rule(color="#8a8a8a", strokeDash=[4, 3])
    placed: alt.Chart = line.encode(**{axis: alt.datum(0)})
    return placed
