"""The report's figure of what predictors cost and how well they rank the models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import xarray as xr

from pipeline.report import stated
from pipeline.report.inputs import Inputs
from pipeline.report.targets import first_targets
from pipeline.report.theme import finish, told_apart
from pipeline.report.words import set_word
from pipeline.study.protocol_list import protocol_label

COSTS = {"seconds": "seconds a model", "forward_passes": "images embedded a model"}

RHO_ENDS = {"fidelity": "mean ρ", "low": "… from", "high": "… to"}

HEIGHT = 380
"""Pixels of the figure's inside."""

LINE, ABOVE = 16, 10
"""Pixels between names, at least, and between a name and its point."""

SHORTEST = 1e-3
"""Seconds; shorter ones are drawn there, for the axis is logarithmic."""


@dataclass(frozen=True)
class Tradeoff(stated.Shown):
    """What the section says.

    Attributes
    ----------
    front : tuple of dict
        Rows of predictors that nothing beats in both fidelity and seconds, the quickest first, for
        the targets that the figure shows first.
    targets : str
        These targets in words.
    """

    front: tuple[dict[str, Any], ...]
    targets: str


def figures(inputs: Inputs) -> stated.Drawn:
    """Fidelity against cost with its Pareto front."""
    rows = _rows(inputs)
    if isinstance(rows, str):
        return {}
    return {"fidelity_cost": (_figure(rows), rows)}


def section(inputs: Inputs) -> Tradeoff:
    """The words beside the figure."""
    rows = _rows(inputs)
    if isinstance(rows, str):
        return Tradeoff(rows, (), (), "")
    first = rows[0]["targets"]
    front = [
        row for row in rows
        if row["front"] and row["targets"] == first and row["cost"] == "seconds"
    ]  # fmt: skip
    return Tradeoff(
        "",
        (
            stated.choice("targets", "Predicts", (row["targets"] for row in rows), set_word),
            stated.choice("cost", "Cost in", (row["cost"] for row in rows), COSTS.__getitem__),
        ),
        tuple(sorted(front, key=lambda row: row["spent"])),
        set_word(first),
    )


def _rows(inputs: Inputs) -> stated.Rows | str:
    """A row for each predictor, set of targets and cost that is known; headline targets first."""
    table, trust = stated.statistic(inputs, "fidelity_cost"), stated.statistic(inputs, "trust")
    if isinstance(table, str):
        return table
    headline = table.attrs["headline_targets"] if isinstance(trust, str) else first_targets(trust)
    intervals = _intervals(trust) if isinstance(trust, xr.Dataset) else {}
    rows: stated.Rows = []
    for row in stated.rows_of(table, "fidelity"):
        key = (row["predictor"], row["targets"])
        column = inputs.columns[row["predictor"]]
        low, high, models, targets = intervals.get(key, (None, None, None, None))
        rows.extend(
            {
                "predictor": column.label,
                "protocol": protocol_label(column.protocol),
                "targets": row["targets"],
                "cost": cost,
                "spent": row[cost],
                "fidelity": row["fidelity"],
                "low": low,
                "high": high,
                "models": models,
                "n_targets": targets,
                "front": row[f"pareto_{cost}"] == 1,
            }
            for cost in COSTS
            if row[cost] is not None
        )
    if not rows:
        return "Nothing to show: no cost of any predictor is known."
    _place_names(rows)
    order = list(COSTS)
    return sorted(rows, key=lambda row: (row["targets"] != headline, order.index(row["cost"])))


def _intervals(trust: xr.Dataset) -> dict[tuple[str, str], tuple[float | None, ...]]:
    spearman = trust.sel(coefficient="spearman", drop=True)
    fields = ("low", "high", "n", "n_targets")
    return {
        (row["predictor"], row["targets"]): tuple(row[name] for name in fields)
        for row in stated.rows_of(spearman, "mean", fields)
    }


def _place_names(rows: stated.Rows) -> None:
    """Give every row ``name_dy``: pixels from its point to its name, so that no names overlap.

    Only the names of the front are drawn. Their order from bottom to top is that of the points, and
    they are `LINE` apart whatever the figure's width is: what is too near moves up.
    """
    for view in {(row["targets"], row["cost"]) for row in rows}:
        shown = [row for row in rows if (row["targets"], row["cost"]) == view]
        ends = [row[end] for row in shown for end in ("low", "high", "fidelity")]
        known = [end for end in ends if end is not None]
        pixels = HEIGHT / (max(known) - min(known) or 1)
        above = np.inf
        for row in sorted(shown, key=lambda row: row["fidelity"]):
            row["name_dy"] = -ABOVE
            if row["front"]:
                point = (max(known) - row["fidelity"]) * pixels
                above = min(point - ABOVE, above - LINE)
                row["name_dy"] = round(above - point)


def _figure(rows: stated.Rows) -> stated.Spec:
    protocols = list(dict.fromkeys(row["protocol"] for row in rows))
    color, shape = told_apart("protocol:N", protocols, stated.legend())
    x = alt.X(
        "drawn:Q",
        title="Cost of a model (seconds or images, as chosen above; log scale)",
        scale=alt.Scale(type="log", nice=False, padding=24),
        axis=alt.Axis(format=",~r", tickCount=5, grid=False),
    )
    y = alt.Y(
        "fidelity:Q",
        title="Mean Spearman ρ",
        scale=alt.Scale(zero=False, padding=12),
        axis=alt.Axis(format=".1f", tickCount=6),
    )
    base = (
        alt.Chart()
        .transform_filter("datum.targets == targets && datum.cost == cost")
        .transform_calculate(
            drawn=f"max(datum.spent, {SHORTEST})",
            **{
                f"{n}_shown": f"isValid(datum.{n}) ? {stated.rho_text(f'datum.{n}')} : '–'"
                for n in RHO_ENDS
            },
        )
        .encode(x=x)
    )
    front = base.transform_filter("datum.front")
    points = base.mark_point(size=100, strokeWidth=2).encode(
        y=y,
        color=color,
        shape=shape,
        fill=alt.condition("datum.front", color, alt.value("transparent")),
        tooltip=[
            alt.Tooltip("predictor:N"),
            *(alt.Tooltip(f"{name}_shown:N", title=title) for name, title in RHO_ENDS.items()),
            alt.Tooltip("n_targets:Q", title="targets"),
            alt.Tooltip("models:Q", title="models, at least"),
            alt.Tooltip("spent:Q", format=",.3~r", title="cost"),
        ],
    )
    left = "scale('x', datum.drawn) < width / 2"  # names grow towards the middle
    names = front.mark_text(
        align=alt.ExprRef(f"{left} ? 'left' : 'right'"),
        dx=alt.ExprRef(f"{left} ? 9 : -9"),
        dy=alt.ExprRef("datum.name_dy"),
        opacity=alt.ExprRef(f"width < {stated.NARROW} ? 0 : 1"),  # the table below has them, too
        fontSize=12,
        color="#777",
    ).encode(y=y, text="predictor:N")
    figure = alt.layer(
        base.mark_rule(opacity=0.35).encode(y=alt.Y("low:Q"), y2="high:Q", color=color),
        front.mark_line(interpolate="step-after", color="#8a8a8a", strokeDash=[5, 3]).encode(y=y),
        points,
        names,
        data=alt.NamedData(name="rows"),
    ).properties(width="container", height=HEIGHT)
    return finish(figure, targets=rows[0]["targets"], cost=rows[0]["cost"])
