"""The report's scatter plots: score in-domain against score out-of-domain, a point per model."""

from __future__ import annotations

from typing import Any

import altair as alt

from pipeline.report_inputs import Inputs
from pipeline.report_paired import mean_scores
from pipeline.report_theme import COLORS, SHAPES, finish, number

MEAN_TARGET = "mean"


def scatter_choices(inputs: Inputs) -> tuple[list[str], list[str]]:
    """Data sets offered for x, and for y (`MEAN_TARGET`: mean over the out-of-domain ones)."""
    inside, outside = inputs.datasets("in_domain"), inputs.datasets("out_of_domain")
    across = inside or inputs.datasets()
    up = ([MEAN_TARGET] if len(outside) > 1 else []) + outside
    return across, up or [d for d in inputs.datasets() if d != across[0]]


def scatter_rows(inputs: Inputs, protocol: str) -> list[dict[str, Any]]:
    """One row per model and choice of axes, with intervals over test images."""
    across, up = scatter_choices(inputs)
    single = sorted({*across, *up} - {MEAN_TARGET})
    points = {name: mean_scores(inputs, protocol, [name]) for name in single}
    points[MEAN_TARGET] = mean_scores(inputs, protocol, inputs.datasets("out_of_domain"))
    variant = inputs.headline[protocol]
    for name in single:
        cells = inputs.cube.sel(variant=variant, dataset=name, metric=inputs.metric)
        for model in points[name]:  # a single data set has its own, better interval
            cell = cells.sel(model=model)
            points[name][model] = (
                float(cell["value"]), float(cell["ci_low"]), float(cell["ci_high"])
            )  # fmt: skip
    rows = []
    for x_set in across:
        for y_set in up:
            for model, entry in inputs.study.models.items():
                if model not in points[x_set] or model not in points[y_set] or x_set == y_set:
                    continue
                (x, x_low, x_high), (y, y_low, y_high) = points[x_set][model], points[y_set][model]
                row = {
                    "x_set": x_set, "y_set": y_set, "model": model, "family": entry.family,
                    "backbone": entry.backbone, "supervision": entry.supervision,
                    "x": x, "x_low": x_low, "x_high": x_high,
                    "y": y, "y_low": y_low, "y_high": y_high,
                }  # fmt: skip
                rows.append({k: number(v) if isinstance(v, float) else v for k, v in row.items()})
    return rows


def scatter(inputs: Inputs, protocol: str) -> dict[str, Any]:
    """In-domain score against out-of-domain score; `x_set` and `y_set` choose the data sets."""
    across, up = scatter_choices(inputs)
    families = sorted({model.family for model in inputs.study.models.values()})
    repeat = range(len(families))
    legend = alt.Legend(orient="bottom", title=None, columns=3, symbolSize=90, symbolOpacity=1)
    base = (
        alt.Chart()
        .transform_filter("datum.x_set == x_set && datum.y_set == y_set")
        .encode(
            color=alt.Color(
                "family:N",
                scale=alt.Scale(domain=families, range=[COLORS[i % len(COLORS)] for i in repeat]),
                legend=legend,
            )
        )
    )
    x_title = "In-domain score" if inputs.datasets("in_domain") else "Score on one data set"
    y_title = "Out-of-domain score" if inputs.datasets("out_of_domain") else "Score on another"
    x_axis = alt.Axis(format=".0%", tickCount=5, grid=True)
    y_axis = alt.Axis(format=".0%", tickCount=5, grid=True)
    x = alt.X("x:Q", title=x_title, axis=x_axis, scale=alt.Scale(zero=False, nice=True))
    y = alt.Y("y:Q", title=y_title, axis=y_axis, scale=alt.Scale(zero=False, nice=True))
    bars = [
        base.mark_rule(opacity=0.55).encode(x=alt.X("x_low:Q", title=x_title), x2="x_high:Q", y=y),
        base.mark_rule(opacity=0.55).encode(x=x, y=alt.Y("y_low:Q", title=y_title), y2="y_high:Q"),
    ]
    points = base.mark_point(filled=True, size=110, opacity=1).encode(
        x=x,
        y=y,
        shape=alt.Shape(
            "family:N",
            scale=alt.Scale(domain=families, range=[SHAPES[i % len(SHAPES)] for i in repeat]),
            legend=legend,
        ),
        tooltip=[
            *(alt.Tooltip(f"{f}:N") for f in ("model", "family", "backbone", "supervision")),
            alt.Tooltip("x:Q", format=".1%", title="across"),
            alt.Tooltip("x_low:Q", format=".1%", title="… from"),
            alt.Tooltip("x_high:Q", format=".1%", title="… to"),
            alt.Tooltip("y:Q", format=".1%", title="up"),
            alt.Tooltip("y_low:Q", format=".1%", title="… from"),
            alt.Tooltip("y_high:Q", format=".1%", title="… to"),
        ],
    )
    figure = alt.layer(*bars, points, data=alt.NamedData(name="rows")).properties(
        width="container", height=320
    )
    params = [alt.param(name="x_set", value=across[0]), alt.param(name="y_set", value=up[0])]
    return finish(figure.add_params(*params))
