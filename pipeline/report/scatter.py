"""The report's scatter plots: score in-domain against score out-of-domain, a point per model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
from numpy.typing import NDArray

from pipeline.report.inputs import Inputs
from pipeline.report.remarks import intervals_of_points, whose_scores
from pipeline.report.stated import Drawn
from pipeline.report.theme import ends, finish, number, told_apart
from pipeline.report.words import supervision_word
from pipeline.statistics.mean_scores import OUTSIDE

MEAN_TARGET = "mean"

PLAIN, LOGIT = "plain", "logit"
"""Axes on which equal steps are equal points, or equal steps of log(p / (1 - p))."""

_CHOSEN = "datum.x_set == x_set && datum.y_set == y_set"

_SCORES = ("x", "x_low", "x_high", "y", "y_low", "y_high")

_LABELS = (
    f"axes == '{LOGIT}' ? format(1 / (1 + exp(-datum.value)), '.1%') : format(datum.value, '.0%')"
)


@dataclass(frozen=True)
class Scatter:
    """Why there is no figure, or the protocols that have one, and the `scatter_choices`.

    whose and intervals are remarks on the roles of the data sets and on the points' intervals.
    """

    withheld: str
    protocols: list[str]
    across: list[str]
    up: list[str]
    whose: str
    intervals: str


def figures(inputs: Inputs) -> Drawn:
    """In-domain against out-of-domain scores, by each protocol's headline variant."""
    return {
        f"scatter_{protocol}": (scatter(inputs, protocol), points)
        for protocol in inputs.headline
        if (points := scatter_rows(inputs, protocol))
    }


def section(inputs: Inputs) -> Scatter:
    """What the figures offer."""
    of = {
        protocol: rows for protocol in inputs.headline if (rows := scatter_rows(inputs, protocol))
    }
    protocols = [*of]
    why_not = "Nothing to show: this needs two data sets on which the same models are scored."
    rows = [row for points in of.values() for row in points]
    of_means = [row for row in rows if row["y_set"] == MEAN_TARGET]
    return Scatter(
        "" if protocols else why_not,
        protocols,
        *scatter_choices(inputs),
        whose_scores(len(inputs.datasets("in_domain")), len(inputs.datasets("out_of_domain"))),
        intervals_of_points(
            of_sets=any(row["x_low"] is not None for row in rows),
            of_means=any(row["y_low"] is not None for row in of_means),
            confidence=inputs.study.correlation.confidence,
        ),
    )


def scatter_choices(inputs: Inputs) -> tuple[list[str], list[str]]:
    """Data sets offered for x, and for y (`MEAN_TARGET`: mean over the out-of-domain ones).

    The mean is offered where models can be compared by it: it needs a score on every data set.
    """
    inside, outside = inputs.datasets("in_domain"), inputs.datasets("out_of_domain")
    across = inside or inputs.datasets()
    compared = len(outside) > 1 and any(
        np.isfinite(_means(inputs, protocol)[0]).sum() > 1 for protocol in inputs.headline
    )
    up = ([MEAN_TARGET] if compared else []) + outside
    return across, up or [d for d in inputs.datasets() if d != across[0]]


def scatter_rows(inputs: Inputs, protocol: str) -> list[dict[str, Any]]:
    """One row per model and choice of axes, with intervals over test images."""
    across, up = scatter_choices(inputs)
    points = {name: _scores(inputs, protocol, name) for name in {*across, *up}}
    words = {name: inputs.words(name) for name in ("family", "backbone")}
    learned = inputs.words("supervision").items()
    words["supervision"] = {model: supervision_word(word) for model, word in learned}
    rows = []
    for x_set in across:
        for y_set in up:
            for model in inputs.models:
                if model not in points[x_set] or model not in points[y_set] or x_set == y_set:
                    continue
                (x, x_low, x_high), (y, y_low, y_high) = points[x_set][model], points[y_set][model]
                scores = {
                    "x": x, "x_low": x_low, "x_high": x_high,
                    "y": y, "y_low": y_low, "y_high": y_high,
                }  # fmt: skip
                rows.append(
                    {"x_set": x_set, "y_set": y_set, "model": model}
                    | {name: of[model] for name, of in words.items()}
                    | {name: number(value) for name, value in scores.items()}
                )
    return rows


def _scores(inputs: Inputs, protocol: str, name: str) -> dict[str, tuple[float, float, float]]:
    """Value, lower and upper end by model, on a data set or on `MEAN_TARGET`."""
    if name == MEAN_TARGET:
        columns = _means(inputs, protocol)
    else:
        cells = inputs.scored.sel(variant=inputs.headline[protocol], dataset=name)
        columns = [cells[end].values for end in ("value", "ci_low", "ci_high")]
    found = zip(inputs.models, zip(*columns, strict=True), strict=True)
    return {model: (v, low, high) for model, (v, low, high) in found if np.isfinite(v)}


def _means(inputs: Inputs, protocol: str) -> list[NDArray[np.float64]]:
    """Of the out-of-domain data sets; without intervals where there are no per-image outcomes."""
    told = inputs.told("mean_scores")
    if told.data_vars:
        chosen = told.sel(protocol=protocol, scope=OUTSIDE)
        if chosen["mean"].notnull().any():
            return [chosen[end].values for end in ("mean", "low", "high")]
    means = inputs.plain_means(protocol, inputs.scored_datasets(protocol, OUTSIDE))
    return [means, np.full_like(means, np.nan), np.full_like(means, np.nan)]


def _shown(field: str) -> str:
    """What a score is drawn as: an end that is not known as its value; logits of 0 and 1 cut."""
    value = f"(isValid(datum.{field}) ? datum.{field} : datum.{field[0]})"
    cut = f"clamp({value}, 0.0005, 0.9995)"
    return f"axes == '{LOGIT}' ? log({cut} / (1 - {cut})) : {value}"


def scatter(inputs: Inputs, protocol: str) -> dict[str, Any]:
    """In-domain score against out-of-domain score; `x_set` and `y_set` choose the data sets."""
    across, up = scatter_choices(inputs)
    families = sorted(set(inputs.words("family").values()))
    legend = alt.Legend(orient="bottom", title=None, columns=3, symbolSize=90, symbolOpacity=1)
    color, shape = told_apart("family:N", families, legend)
    base = (
        alt.Chart()
        .transform_filter(_CHOSEN)
        .transform_calculate(**{f"{field}_shown": _shown(field) for field in _SCORES})
        .encode(color=color)
    )
    x_title = "In-domain score" if inputs.datasets("in_domain") else "Score on one data set"
    y_title = "Out-of-domain score" if inputs.datasets("out_of_domain") else "Score on another"
    axis = alt.Axis(tickCount=5, grid=True, labelExpr=_LABELS)
    scale = alt.Scale(zero=False, nice=True)
    x = alt.X("x_shown:Q", title=x_title, axis=axis, scale=scale)
    y = alt.Y("y_shown:Q", title=y_title, axis=axis, scale=scale)
    bars = [
        base.mark_rule(opacity=0.55).encode(
            x=alt.X("x_low_shown:Q", title=x_title), x2="x_high_shown:Q", y=y
        ),
        base.mark_rule(opacity=0.55).encode(
            x=x, y=alt.Y("y_low_shown:Q", title=y_title), y2="y_high_shown:Q"
        ),
    ]
    points = base.mark_point(filled=True, size=110, opacity=1).encode(
        x=x,
        y=y,
        shape=shape,
        tooltip=[
            *(alt.Tooltip(f"{f}:N") for f in ("model", "family", "backbone", "supervision")),
            alt.Tooltip("x:Q", format=".1%", title="across"),
            *ends(".1%", "x_low", "x_high"),
            alt.Tooltip("y:Q", format=".1%", title="up"),
            *ends(".1%", "y_low", "y_high"),
        ],
    )
    figure = alt.layer(*bars, points, _nothing(), data=alt.NamedData(name="rows")).properties(
        width="container", height=320
    )
    return finish(figure, x_set=across[0], y_set=up[0], axes=PLAIN)


def _nothing() -> Any:
    """Words where the choice of data sets leaves no point."""
    return (
        alt.Chart()
        .transform_filter(_CHOSEN)
        .transform_aggregate(points="count()")
        .transform_filter("datum.points == 0")
        .mark_text(align="left", baseline="top")
        .encode(x=alt.value(8), y=alt.value(8), text=alt.value("No model has both scores."))
    )
