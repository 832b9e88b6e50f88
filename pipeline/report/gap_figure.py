"""What the figures of supervised minus self-supervised models share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from pipeline.report.stated import Choice, Rows, Spec, choice, dataset_word, mean_first, zero_line
from pipeline.report.theme import COLORS, ends, finish

_APART = "datum.low > 0 || datum.high < 0"
_CHOSEN = "datum.head == head && datum.dataset == dataset && datum.group == group"


def log_axis(field: str, title: str, **axis: Any) -> Any:
    """A logarithmic axis of counts."""
    return alt.X(
        f"{field}:Q",
        title=title,
        scale=alt.Scale(type="log", nice=False, padding=12),
        axis=alt.Axis(format="~g", grid=False, **({"tickCount": 6} | axis)),
    )


def gap_choices(rows: Rows) -> tuple[Choice, ...]:
    """The selects of `gap_figure`."""
    return (
        choice("dataset", "Data set", _in_rows(rows, "dataset"), dataset_word),
        choice("head", "Head", _in_rows(rows, "head")),
        choice("group", "Models", _in_rows(rows, "group")),
    )


def gap_figure(
    rows: Rows,
    base: alt.Chart,
    tooltip: Sequence[alt.Tooltip],
    *,
    joined: str = "true",
    shape: Any = alt.Undefined,
) -> Spec:
    """Differences with their intervals; a point is open where its interval contains 0.

    Parameters
    ----------
    rows : list of dict
        With head, dataset, group, difference, low, high, supervised, self_supervised and claim.
    base : Chart
        What is across.
    tooltip : sequence of Tooltip
        What a point is, before its numbers.
    joined : str
        Vega expression of the rows that a line goes through.
    shape : Shape, optional
        Of the points.
    """
    y = alt.Y(
        "difference_points:Q",
        title="Supervised − self-supervised, points",
        axis=alt.Axis(format="+~r", tickCount=5),
    )
    in_points = {f"{name}_points": f"100 * datum.{name}" for name in ("difference", "low", "high")}
    base = base.transform_filter(_CHOSEN).transform_calculate(**in_points)
    points = base.mark_point(size=90, strokeWidth=2, color=COLORS[0]).encode(
        y=y,
        shape=shape,
        fill=alt.condition(_APART, alt.value(COLORS[0]), alt.value("transparent")),
        tooltip=[
            *tooltip,
            alt.Tooltip("difference_points:Q", format="+.1f", title="difference, points"),
            *ends("+.1f", "low_points", "high_points"),
            alt.Tooltip("supervised:Q", title="supervised models"),
            alt.Tooltip("self_supervised:Q", title="self-supervised models"),
            alt.Tooltip("claim:N", title="a claim about"),
        ],
    )
    line = base.transform_filter(joined).mark_line(color=COLORS[0], strokeWidth=1.5)
    figure = alt.layer(
        zero_line("y"),
        line.encode(y=y),
        base.mark_rule(color=COLORS[0]).encode(y="low_points:Q", y2="high_points:Q"),
        points,
        data=alt.NamedData(name="rows"),
    ).properties(width="container", height=300)
    return finish(figure, **{n: _in_rows(rows, n)[0] for n in ("head", "group", "dataset")})


def _in_rows(rows: Rows, field: str) -> list[str]:
    """Values in their order, each once; of data sets their mean first."""
    found = list(dict.fromkeys(row[field] for row in rows))
    return mean_first(found) if field == "dataset" else found
