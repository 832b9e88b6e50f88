"""The report's ranks: of every model on every data set, and which ones are possible."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import altair as alt

from pipeline.report.inputs import Inputs
from pipeline.report.noise import overall_table
from pipeline.report.panels import Table
from pipeline.report.stated import NARROW, Drawn, all_withheld, answer_first
from pipeline.report.theme import finish, number
from pipeline.report.verdicts import at_most

_MOST = 60
"""Models beyond which rows get thinner."""

_NEAR, _SURE = "within chance of the best", "differs from the best"


@dataclass(frozen=True)
class Ranks:
    """Why there is no figure (empty where there is one), what it offers, ranks across data sets."""

    figure: str
    protocols: list[str]
    datasets: list[str]
    overall: Table

    @property
    def withheld(self) -> str:
        """Why there are no ranks, on any data set or across them."""
        return all_withheld(self.figure, self.overall.withheld)


def figures(inputs: Inputs) -> Drawn:
    """Ranks, and those that are possible, on one data set at a time."""
    rows = rank_rows(inputs)
    return {"ranks": (rank_figure(rows), rows)} if rows else {}


def section(inputs: Inputs) -> Ranks:
    """What the figure offers, and the table below it."""
    rows = rank_rows(inputs)
    reason = inputs.told("ranks").attrs.get("withheld", "there is only one model")
    protocols, datasets = (
        list(dict.fromkeys(str(row[name]) for row in rows)) for name in ("protocol", "dataset")
    )
    why_not = "" if rows else f"Withheld: {reason}."
    return Ranks(why_not, protocols, datasets, overall_table(inputs))


def rank_rows(inputs: Inputs) -> list[dict[str, Any]]:
    """One row per protocol, data set and model; empty where there are no per-image outcomes.

    Those that the answer rests on come first.
    """
    ranks = inputs.told("ranks")
    if not ranks.data_vars:
        return []
    table = ranks.to_dataframe().dropna(subset=["rank"]).reset_index()
    rows = [
        {
            "protocol": row["protocol"],
            "dataset": row["dataset"],
            "model": row["model"],
            "score": number(row["score"]),
            "rank": number(row["rank"], 1),
            **{end: number(row[end], 1) for end in ("best_rank", "worst_rank")},
            "at_most_behind": at_most(row["behind_high"]),
            "group": _NEAR if row["within_chance"] == 1 else _SURE,
        }
        for row in table.to_dict("records")
    ]
    return answer_first(inputs, rows)


def rank_figure(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Ranks with their simultaneous sets; the parameters `protocol` and `dataset` choose whose."""
    count = len({row["model"] for row in rows})
    base = (
        alt.Chart()
        .transform_filter("datum.protocol == protocol && datum.dataset == dataset")
        .encode(
            y=alt.Y(
                "model:N",
                sort=alt.EncodingSortField("rank", op="min"),
                title=None,
                axis=alt.Axis(domain=False, ticks=False, labelPadding=8),
            ),
            tooltip=[
                alt.Tooltip("model:N"),
                alt.Tooltip("score:Q", format=".1%"),
                alt.Tooltip("rank:Q"),
                alt.Tooltip("best_rank:Q", title="possible from"),
                alt.Tooltip("worst_rank:Q", title="… to"),
                alt.Tooltip("group:N", title="beside the best"),
                alt.Tooltip("at_most_behind:N", title="behind the best at most, points"),
            ],
        )
    )
    axis = alt.Axis(tickMinStep=1, format="d", grid=True, orient="top")
    scale = alt.Scale(domain=[0.5, count + 0.5], nice=False)

    def x(field: str) -> alt.X:
        return alt.X(f"{field}:Q", title="Rank (1 is best)", axis=axis, scale=scale)

    below = alt.ExprRef(f"width < {NARROW} ? 1 : 2")  # else a phone cuts the second entry off
    legend = alt.Legend(orient="top", title=None, labelLimit=300, symbolOpacity=1, columns=below)
    color = alt.Color(
        "group:N",
        scale=alt.Scale(domain=[_NEAR, _SURE], range=["#0072b2", "#8a8a8a"]),
        legend=legend,
    )
    shape = alt.Shape(
        "group:N",
        scale=alt.Scale(domain=[_NEAR, _SURE], range=["circle", "square"]),
        legend=legend,
    )
    thick = 12 if count <= _MOST else 5
    layers = [
        base.mark_rule(strokeWidth=thick, opacity=0.25).encode(
            x=x("best_rank"), x2="worst_rank:Q", color=color
        ),
        base.mark_point(filled=True, size=80 if count <= _MOST else 20, opacity=1).encode(
            x=x("rank"), color=color, shape=shape
        ),
    ]
    figure = alt.layer(*layers, data=alt.NamedData(name="rows")).properties(
        width="container", height=(26 if count <= _MOST else 9) * count
    )
    return finish(figure, protocol=rows[0]["protocol"], dataset=rows[0]["dataset"])
