"""Part of the report's section on labels: simple problems and complex ones."""

from __future__ import annotations

from dataclasses import dataclass

import altair as alt
import xarray as xr

from pipeline.report.formats import interval, points
from pipeline.report.gap_figure import gap_choices, gap_figure, log_axis
from pipeline.report.inputs import Inputs
from pipeline.report.stated import (
    Choice,
    Drawn,
    Rows,
    Spec,
    dataset_word,
    legend,
    mean_first,
    rows_of,
    statistic,
)
from pipeline.report.theme import SHAPES
from pipeline.report.words import task_word
from pipeline.statistics.complexities import ALL_CLASSES, COARSE
from pipeline.statistics.supervision_contrasts import ALL

_KINDS = ("all classes, or a few at a time", "coarse classes")
_APART = 1.06
"""Coarse classes are drawn beside as many of the data set's own, not upon them."""


@dataclass(frozen=True)
class Step:
    """One problem, and how the difference changes from there to all classes.

    Attributes
    ----------
    task : str
    classes : str
        An image is judged among; empty for a mean over data sets that differ in it.
    chance : float
    difference, low, high : float
        Supervised minus self-supervised; the ends are NaN where there is no interval.
    change, change_low, change_high : float
        NaN of all classes.
    supervised, self_supervised : int
    claim : str
    """

    task: str
    classes: str
    chance: float
    difference: float
    low: float
    high: float
    change: float
    change_low: float
    change_high: float
    supervised: int
    self_supervised: int
    claim: str


@dataclass(frozen=True)
class Complexity:
    """What is said beside the figure.

    Attributes
    ----------
    withheld : str
        Why there is no figure; empty where there is one.
    choices : tuple of Choice
    head, dataset, labels : str
        What the sentences and the table are of: a head, a data set or the mean over them, and how
        many labelled images a class it saw.
    sentences : tuple of str
    steps : tuple of Step
        Of models with equal backbones.
    interval : str
    left_out : str
        Cells that are not compared, and why; empty where all are.
    """

    withheld: str
    choices: tuple[Choice, ...] = ()
    head: str = ""
    dataset: str = ""
    labels: str = ""
    sentences: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    interval: str = ""
    left_out: str = ""


def figures(inputs: Inputs) -> Drawn:
    """Supervised minus self-supervised by the number of classes."""
    found = statistic(inputs, "complexity_gap")
    rows = [] if isinstance(found, str) else rows_of(found, "classes")
    return {"complexity_gap": (_figure(rows), rows)} if rows else {}


def section(inputs: Inputs) -> Complexity:
    """The words beside the figure."""
    found = statistic(inputs, "complexity_gap")
    if isinstance(found, str):
        return Complexity(found)
    rows = rows_of(found, "classes")
    if not rows:
        return Complexity("Withheld: no problem has scores of both sides.")
    head = rows[0]["head"]
    mine = found.sel(head=head, group=ALL)
    dataset = mean_first(row["dataset"] for row in rows if row["head"] == head)[0]
    steps = _steps(mine.sel(dataset=dataset))
    return Complexity(
        withheld="",
        choices=gap_choices(rows),
        head=head,
        dataset=dataset_word(dataset),
        labels=str(found.attrs["shots"]),
        sentences=tuple(_sentences(steps)),
        steps=tuple(steps),
        interval=str(found.attrs.get("interval", "")),
        left_out=str(found.attrs.get("labels_seen", "")),
    )


def _figure(rows: Rows) -> Spec:
    base = (
        alt.Chart()
        .transform_calculate(
            at=f"datum.classes * (datum.task == '{COARSE}' ? {_APART} : 1)",
            kind=f"datum.task == '{COARSE}' ? '{_KINDS[1]}' : '{_KINDS[0]}'",
        )
        .encode(x=log_axis("at", "Classes to tell apart", values=_counts(rows)))
    )
    kinds = alt.Scale(domain=list(_KINDS), range=[SHAPES[0], SHAPES[3]])
    tooltip = [
        alt.Tooltip("task:N", title="problem"),
        alt.Tooltip("classes:Q", format=".3~r"),
        alt.Tooltip("chance:Q", format=".1%"),
    ]
    return gap_figure(
        rows,
        base,
        tooltip,
        joined=f"datum.task != '{COARSE}'",
        shape=alt.Shape("kind:N", scale=kinds, legend=legend()),
    )


def _counts(rows: Rows) -> list[float]:
    return sorted({row["classes"] for row in rows})


def _steps(of: xr.Dataset) -> list[Step]:
    """Of one head, data set and group: its problems, from few classes to all, then coarse ones."""
    told = {str(task): _numbers(of.sel(task=task)) for task in of["task"].values}
    nothing = {"difference": float("nan"), "low": float("nan"), "high": float("nan")}
    found = []
    for task, here in told.items():
        if here["classes"] != here["classes"]:
            continue  # a change, or a problem that this data set has not
        change = told.get(f"{ALL_CLASSES} - {task}", nothing)
        found.append(
            Step(
                task=task_word(task),
                classes=f"{here['classes']:.3g}",
                chance=here["chance"],
                difference=here["difference"],
                low=here["low"],
                high=here["high"],
                change=change["difference"],
                change_low=change["low"],
                change_high=change["high"],
                supervised=int(here["supervised"]),
                self_supervised=int(here["self_supervised"]),
                claim=str(of["claim"].sel(task=task).item()),
            )
        )
    return found


def _numbers(of: xr.Dataset) -> dict[str, float]:
    return {str(k): float(v) for k, v in of.data_vars.items() if v.dtype.kind in "fi"}


def _sentences(steps: list[Step]) -> list[str]:
    """How the difference changes to all classes: from the fewest at a time, and from coarse."""
    whole = next((s for s in steps if s.task == task_word(ALL_CLASSES)), None)
    if whole is None:
        return []
    few = [s for s in steps if s is not whole and s.task != COARSE][:1]
    coarse = [s for s in steps if s.task == COARSE]
    return [
        *(_sentence(f"{step.classes} classes at a time", step, whole) for step in few),
        *(_sentence("coarse classes", step, whole) for step in coarse),
    ]


def _sentence(name: str, step: Step, whole: Step) -> str:
    ends = interval(step.change_low, step.change_high, in_points=True)
    moves = (
        f"From {name} to all classes the difference goes from {points(step.difference)} to "
        f"{points(whole.difference)} points"
    )
    if not ends:
        return f"{moves}; how sure that is can’t be told."
    by = f"by {points(step.change)} ({ends})"
    if step.change_low <= 0 <= step.change_high:
        return f"{moves}, {by}: whether it changes can’t be told."
    # Of a change that is certain the direction is, and not yet the sign of either difference.
    return f"{moves}, {by}: it {'rises' if step.change > 0 else 'falls'}."
