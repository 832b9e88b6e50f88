"""The report's figure of transferability metrics: correlations, raw and given the backbone."""

from __future__ import annotations

from dataclasses import dataclass

import altair as alt

from pipeline.report import stated
from pipeline.report.inputs import Inputs
from pipeline.report.theme import COLORS, finish
from pipeline.statistics.correlation import MIN_MODELS
from pipeline.study.predictors import PREDICTORS
from pipeline.study.protocol_list import protocol_label

RHO_ENDS = {"value": "ρ", "low": "… from", "high": "… to"}

EVERY = ""
"""Stands for all data sets at once, without intervals."""


@dataclass(frozen=True)
class Cheap(stated.Shown):
    """What the section says.

    Attributes
    ----------
    given : tuple of str
        Which correlations there are: over all models, given the backbone.
    interval : str
    """

    given: tuple[str, ...]
    interval: str


def figures(inputs: Inputs) -> stated.Drawn:
    """Spearman's ρ of each transferability metric with the scores on the same data set."""
    found = _rows(inputs)
    return {} if isinstance(found, str) else {"cheap_predictors": (_figure(found), found)}


def section(inputs: Inputs) -> Cheap:
    """The words beside the figure."""
    rows = _rows(inputs)
    if isinstance(rows, str):
        return Cheap(rows, (), (), "")
    datasets = list(dict.fromkeys(row["dataset"] for row in rows))
    every = [EVERY] if len(datasets) > 1 else []
    return Cheap(
        "",
        (
            stated.choice("protocol", "Scores by", (r["protocol"] for r in rows), protocol_label),
            stated.choice(
                "dataset", "Data set", [*every, *datasets],
                lambda name: name or "all, without intervals",
            ),
        ),
        tuple(dict.fromkeys(row["given"] for row in rows)),
        str(inputs.statistics["predictors_given_backbone"].attrs.get("interval", "")),
    )  # fmt: skip


def _rows(inputs: Inputs) -> stated.Rows | str:
    found = stated.statistic(inputs, "predictors_given_backbone")
    if isinstance(found, str):
        return found
    rows = stated.rows_of(found, "value") if found["value"].size else []
    labels = {v.name: v.label for v in inputs.variants.values() if v.protocol == PREDICTORS.name}
    for row in rows:
        row["predictor"] = labels[row["predictor"]]
    return stated.answer_first(inputs, rows) or _nothing(len(labels))


def _nothing(named: int) -> str:
    """Why there is no row, by how many transferability metrics have scores."""
    if not named:
        return "Nothing to show: no transferability metric was computed or imported."
    one = "transferability metric"
    which = f"the {one}" if named == 1 else f"each of the {named} {one}s"
    return (
        f"Nothing to show: {which} shares fewer than {MIN_MODELS} models with every protocol's "
        "scores on the same data set, or does not vary."
    )


def _figure(rows: stated.Rows) -> stated.Spec:
    datasets = list(dict.fromkeys(row["dataset"] for row in rows))
    given = list(dict.fromkeys(row["given"] for row in rows))
    below = stated.legend()
    color = alt.Color(
        "given:N", scale=alt.Scale(domain=given, range=[COLORS[0], COLORS[1]]), legend=below
    )
    shape = alt.Shape(
        "given:N", scale=alt.Scale(domain=given, range=["circle", "diamond"]), legend=below
    )
    base = (
        alt.Chart()
        .transform_filter(
            f"datum.protocol == protocol && (dataset == '{EVERY}' || datum.dataset == dataset)"
        )
        .transform_calculate(
            **{
                f"{n}_shown": f"isValid(datum.{n}) ? {stated.rho_text(f'datum.{n}')} : '–'"
                for n in RHO_ENDS
            }
        )
        .encode(
            y=alt.Y(
                "predictor:N",
                title=None,
                sort=None,
                axis=alt.Axis(domain=False, ticks=False, labelPadding=6),
            ),
            yOffset=alt.YOffset("given:N", scale=alt.Scale(domain=given, paddingOuter=0.4)),
            color=color,
        )
    )
    x = alt.X(
        "value:Q",
        title="Spearman ρ",
        scale=alt.Scale(domain=[-1, 1]),
        axis=alt.Axis(format=".1f", tickCount=5),
    )
    points = base.mark_point(filled=True, size=70, opacity=0.75).encode(
        x=x,
        shape=shape,
        tooltip=[
            alt.Tooltip("predictor:N"),
            alt.Tooltip("dataset:N", title="data set"),
            alt.Tooltip("given:N", title="over"),
            *(alt.Tooltip(f"{name}_shown:N", title=title) for name, title in RHO_ENDS.items()),
            alt.Tooltip("n:Q", title="models"),
            alt.Tooltip("families:Q"),
        ],
    )
    one = base.transform_filter(f"dataset != '{EVERY}'")
    figure = alt.layer(
        stated.zero_line("x"),
        one.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q"), x2="high:Q"),
        points,
        data=alt.NamedData(name="rows"),
    ).properties(autosize="fit-x", width="container", height=alt.Step(34, **{"for": "position"}))
    first = EVERY if len(datasets) > 1 else datasets[0]
    return finish(figure, protocol=rows[0]["protocol"], dataset=first)
