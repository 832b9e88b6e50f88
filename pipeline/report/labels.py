"""The report's section on labels: few-shot curves, and where supervised models change places."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import altair as alt
import xarray as xr

from pipeline.report import complexity
from pipeline.report.complexity import Complexity
from pipeline.report.gap_figure import gap_choices, gap_figure, log_axis
from pipeline.report.grouping import by_group, coloring
from pipeline.report.inputs import Inputs
from pipeline.report.remarks import probability
from pipeline.report.stated import (
    Choice,
    Drawn,
    Rows,
    Spec,
    answer_first,
    choice,
    dataset_word,
    mean_first,
    rows_of,
    statistic,
)
from pipeline.report.theme import ends, finish
from pipeline.statistics.supervision_contrasts import ALL


@dataclass(frozen=True)
class Crossing:
    """Where supervised and self-supervised models change places, on one data set.

    Attributes
    ----------
    dataset : str
    crossing : str
        Labels a class at the first crossing; empty where there is none.
    more : int
        Further crossings.
    undecided : str
        The label counts where the interval of the difference contains 0.
    none : str
        Probability of no crossing.
    counts : int
        Label counts that were tried.
    supervised, self_supervised : int
    claim : str
    """

    dataset: str
    crossing: str
    more: int
    undecided: str
    none: str
    counts: int
    supervised: int
    self_supervised: int
    claim: str


@dataclass(frozen=True)
class Labels:
    """What the section says.

    Attributes
    ----------
    curves, gap : str
        Why there is no figure; empty where there is one.
    curve_choices, gap_choices : tuple of Choice
    head : str
        The one that the crossings are of.
    crossings : tuple of Crossing
        Of models with equal backbones.
    interval : str
    left_out : str
        Cells that are not compared, and why; empty where all are.
    complexity : Complexity
    """

    curves: str
    gap: str
    curve_choices: tuple[Choice, ...]
    gap_choices: tuple[Choice, ...]
    head: str
    crossings: tuple[Crossing, ...]
    interval: str
    left_out: str
    complexity: Complexity

    @property
    def withheld(self) -> str:
        """Why neither is there."""
        return self.curves if self.gap else ""


def figures(inputs: Inputs) -> Drawn:
    """Accuracy against labels; and supervised minus self-supervised, by labels and by classes."""
    drawn: Drawn = {}
    curves, gap = statistic(inputs, "label_curves"), statistic(inputs, "label_gap")
    if isinstance(curves, xr.Dataset) and (rows := _curve_rows(inputs, curves)):
        drawn["label_curves"] = _curves(inputs, rows), rows
    if isinstance(gap, xr.Dataset) and (rows := rows_of(gap, "difference")):
        drawn["label_gap"] = _gap(rows), rows
    return drawn | complexity.figures(inputs)


def section(inputs: Inputs) -> Labels:
    """The words beside the figures."""
    curves, gap = statistic(inputs, "label_curves"), statistic(inputs, "label_gap")
    crossing = statistic(inputs, "label_crossing")
    table = None if isinstance(crossing, str) else crossing
    return Labels(
        curves=curves if isinstance(curves, str) else "",
        gap=gap if isinstance(gap, str) else "",
        curve_choices=() if isinstance(curves, str) else _curve_choices(inputs, curves),
        gap_choices=() if isinstance(gap, str) else gap_choices(rows_of(gap, "difference")),
        head="" if table is None else str(table["head"].values[0]),
        crossings=() if table is None else tuple(_crossings(table)),
        interval="" if table is None else str(table.attrs.get("interval", "")),
        left_out="" if isinstance(gap, str) else str(gap.attrs.get("labels_seen", "")),
        complexity=complexity.section(inputs),
    )


def _curve_rows(inputs: Inputs, curves: xr.Dataset) -> Rows:
    rows = rows_of(curves, "accuracy", ("labels", "accuracy", "low", "high"))
    return answer_first(inputs, rows)


def _curve_choices(inputs: Inputs, curves: xr.Dataset) -> tuple[Choice, ...]:
    return (
        choice("dataset", "Data set", (row["dataset"] for row in _curve_rows(inputs, curves))),
        choice("head", "Head", curves["head"].values),
        coloring(inputs),
    )


def _curves(inputs: Inputs, rows: Rows) -> Spec:
    color, shape, groups = by_group(inputs)
    y = alt.Y("accuracy:Q", title="Accuracy", axis=alt.Axis(format=".0%", tickCount=5),
              scale=alt.Scale(zero=False))  # fmt: skip
    base = (
        alt.Chart()
        .transform_filter("datum.head == head && datum.dataset == dataset")
        .transform_calculate(group="groups[by][datum.model]")
        .encode(
            x=log_axis("labels", "Labels a class"),
            color=color,
            detail="model:N",
        )
    )
    tooltip = [
        alt.Tooltip("model:N"),
        alt.Tooltip("budget:N", title="labels"),
        alt.Tooltip("labels:Q", title="a class", format=".3~r"),
        alt.Tooltip("accuracy:Q", format=".1%"),
        *ends(".1%"),
    ]
    figure = alt.layer(
        base.mark_rule(opacity=0.45).encode(y=alt.Y("low:Q", title="Accuracy"), y2="high:Q"),
        base.mark_line(strokeWidth=1.5, opacity=0.85).encode(y=y),
        base.mark_point(filled=True, size=70, opacity=1).encode(y=y, shape=shape, tooltip=tooltip),
        data=alt.NamedData(name="rows"),
    ).properties(width="container", height=340)
    return finish(figure, head=rows[0]["head"], dataset=rows[0]["dataset"], **groups)


def _gap(rows: Rows) -> Spec:
    base = alt.Chart().encode(x=log_axis("labels", "Labels a class"))
    return gap_figure(rows, base, [alt.Tooltip("budget:N", title="labels")])


def _crossings(table: xr.Dataset) -> list[Crossing]:
    """Of the first head and all backbones, the mean first; without data sets of one count."""
    head = str(table["head"].values[0])
    chosen = table.sel(head=head, group=ALL)
    by_dataset = {row["dataset"]: row for row in rows_of(chosen, "counts")}
    found = []
    for name in mean_first(by_dataset):
        row = by_dataset[name]
        at, number = row["crossing"], row["crossings"]
        found.append(
            Crossing(
                dataset=dataset_word(name),
                crossing="" if at is None else f"{at:.3g}",
                more=max(int(number) - 1, 0),
                undecided=_undecided(row),
                none=probability(row["p_none"]),
                counts=int(row["counts"]),
                supervised=int(row["supervised"]),
                self_supervised=int(row["self_supervised"]),
                claim=row["claim"],
            )
        )
    return found


def _undecided(row: dict[str, Any]) -> str:
    """The set of label counts in words; an end that was not reached is open."""
    if row["low"] is None:
        return "none"
    low = f"< {row['low']:.3g}" if row["below"] else f"{row['low']:.3g}"
    high = f"> {row['high']:.3g}" if row["above"] else f"{row['high']:.3g}"
    pieces = int(row["pieces"])
    return f"{low} to {high}" + (f", in {pieces} pieces" if pieces > 1 else "")
