"""The report's heat map: correlations between all headline columns."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.report.inputs import Inputs
from pipeline.report.noise import noise_tables
from pipeline.report.panels import Table
from pipeline.report.remarks import families_behind
from pipeline.report.stated import Drawn, all_withheld, ink, rho_text
from pipeline.report.theme import finish, number
from pipeline.statistics.correlation import MIN_MODELS
from pipeline.statistics.written import counted
from pipeline.study.column import column_name
from pipeline.study.protocol_list import protocol_label

COEFFICIENT_WORDS = {
    "spearman": "Spearman ρ",
    "kendall": "Kendall τ-b",
    "pearson": "Pearson r",
    "pearson_logit": "Pearson r of logits",
    "weighted_tau": "weighted τ (top ranks count more)",
}
ROLE_WORDS = {"in_domain": "In-domain", "out_of_domain": "Out-of-domain", "": "No role"}

_ROOM_FOR_NUMBER = 40
"""Pixels a side from which on the cells hold their number."""

MODELS_WORDS = {"both": "all that have both scores", "common": "those that have all scores"}
"""Over which models a cell is: where some scores are missing, cells are over different ones."""


@dataclass(frozen=True)
class Correlations:
    """Why there is no map (empty where there is one), and tables of the noise in the scores.

    remark is on what the map's intervals rest on, resting on how many models its cells are over;
    common offers the models that all columns have, where cells differ in that.
    """

    map: str
    noise: list[Table]
    remark: str
    resting: str
    common: bool

    @property
    def withheld(self) -> str:
        """Why there is neither a map nor a table."""
        return all_withheld(self.map, *(table.withheld for table in self.noise))


def figures(inputs: Inputs) -> Drawn:
    """All headline columns against each other."""
    rows = heat_rows(inputs)
    return {"correlation": (heat_map(inputs), rows)} if rows else {}


def section(inputs: Inputs) -> Correlations:
    """The tables below the map, and what is said in its place."""
    pairs = inputs.told("headline_pairs")
    remark = families_behind(pairs.sel(coefficient="spearman")) if pairs.data_vars else ""
    return Correlations(
        _no_map(inputs), noise_tables(inputs), remark, _resting(inputs), _differs(inputs)
    )


def _counts(inputs: Inputs) -> NDArray[np.int64]:
    """Models behind each pair of different columns."""
    pairs = inputs.told("headline_pairs")
    if not pairs.data_vars:
        return np.zeros(0, np.int64)
    n = pairs["n"].sel(coefficient="spearman").transpose("predictor", "target").values
    found: NDArray[np.int64] = n[np.triu_indices(len(n), 1)].astype(np.int64)
    return found


def _differs(inputs: Inputs) -> bool:
    """Whether cells are over different models, and enough have all scores."""
    n, pairs = _counts(inputs), inputs.told("headline_pairs")
    common = int(pairs.attrs.get("common_models", 0))
    return bool(n.size and common >= MIN_MODELS and n.min() != n.max())


def _resting(inputs: Inputs) -> str:
    n = _counts(inputs)
    if not n.size:
        return ""
    if n.min() == n.max():
        return f"Every cell is over the same {counted(int(n[0]), 'model')}."
    return (
        f"Cells are over {n.min():,} to {counted(int(n.max()), 'model')}, those that have both "
        "scores."
    )


def _no_map(inputs: Inputs) -> str:
    shown = _shown(inputs)
    if shown and _has_numbers(shown[1]):
        return ""
    models = len(inputs.models)
    few = f"; this study has {counted(models, 'model')}" if models < MIN_MODELS else ""
    return (
        f"Nothing to show: a correlation needs {MIN_MODELS} models with two different columns of "
        f"scores{few}."
    )


def _shown(inputs: Inputs) -> tuple[list[tuple[str, str, str]], xr.Dataset] | None:
    """Headline columns (data set, protocol, name), in-domain first, and all of their pairs."""
    pairs = inputs.told("headline_pairs")
    if not pairs.data_vars:
        return None
    there = set(map(str, pairs["predictor"].values))
    ordered = [d for role in ROLE_WORDS for d in inputs.datasets(role)]
    columns = [
        (d, p, key)
        for d in ordered
        for p, v in inputs.headline.items()
        if (key := column_name(v, d)) in there
    ]
    keys = [key for _, _, key in columns]
    return columns, pairs.sel(predictor=keys, target=keys)


def _has_numbers(pairs: xr.Dataset) -> bool:
    """Whether any two different columns have a correlation."""
    value = pairs["value"].transpose("coefficient", ...).values
    return bool(np.isfinite(value[:, ~np.eye(value.shape[-1], dtype=bool)]).any())


def heat_rows(inputs: Inputs) -> list[dict[str, Any]]:
    """Correlations of all pairs of headline columns, in-domain first; empty without any number."""
    shown = _shown(inputs)
    if not shown or not _has_numbers(shown[1]):
        return []
    columns, chosen = shown
    fields = {name: chosen[name].values for name in ("value", "low", "high", "n", "families")}
    common = chosen["common"].values if _differs(inputs) else None
    rows = []
    for c, coefficient in enumerate(str(x) for x in chosen["coefficient"].values):
        for i, (dataset, protocol, _) in enumerate(columns):
            for j, (other, other_protocol, _) in enumerate(columns):
                if i == j:
                    continue
                rows.append(
                    {
                        "coefficient": coefficient,
                        "predictor": _column(dataset, protocol),
                        "predictor_role": inputs.roles[dataset],
                        "target": _column(other, other_protocol),
                        "target_role": inputs.roles[other],
                        **{x: number(fields[x][c, i, j], 4) for x in ("value", "low", "high")},
                        "n": int(fields["n"][c, i, j]),
                        "families": int(fields["families"][c, i, j]),
                        **({} if common is None else {"common": number(common[c, i, j], 4)}),
                    }
                )
    return rows


def heat_map(inputs: Inputs) -> dict[str, Any]:
    """Heat map of correlations; the parameter `coefficient` chooses which."""
    by_role = _columns_by_role(inputs)
    count = sum(map(len, by_role.values()))
    step = min(52, max(14, 860 // count))
    n = _counts(inputs)
    common = inputs.told("headline_pairs").attrs.get("common_models", 0)
    common = int(common) if n.min() != n.max() else None
    roles = list(by_role)
    grid = [
        [
            _heat_block(by_role, down, across, step, common, edge=(down == roles[-1], i == 0))
            for i, across in enumerate(roles)
        ]
        for down in roles
    ]
    for chart, role in zip(grid[0], roles, strict=True):
        # The first one grows to the left, where there is room: it may have one column only.
        chart.title = alt.Title(ROLE_WORDS[role], anchor="end" if role != roles[-1] else "start")
    blocks = [chart for charts in grid for chart in charts]
    figure = alt.concat(
        *blocks, columns=len(roles), spacing=8, bounds="flush", data=alt.NamedData(name="rows")
    )
    return finish(figure, coefficient="spearman", over="both")


def _columns_by_role(inputs: Inputs) -> dict[str, list[str]]:
    """Names of the columns that have scores, for each role that has any."""
    there = set(map(str, inputs.told("headline_pairs")["predictor"].values))
    found = {
        role: [
            _column(d, p)
            for d in inputs.datasets(role)
            for p, v in inputs.headline.items()
            if column_name(v, d) in there
        ]
        for role in ROLE_WORDS
    }
    return {role: names for role, names in found.items() if names}


def _heat_block(
    with_role: dict[str, list[str]],
    down: str,
    across: str,
    step: int,
    common: int | None,
    edge: tuple[bool, bool],
) -> Any:
    """The columns of one role against those of another; axes stand on the outer edges only.

    `common` is how many models have all scores; None where all cells are over as many.
    """
    bottom, left = edge
    axis: dict[str, Any] = {
        "domain": False, "ticks": False, "labelPadding": 6, "title": None, "labelLimit": 280,
    }  # fmt: skip
    base = (
        alt.Chart()
        .transform_filter("datum.coefficient == coefficient")
        .transform_filter(alt.FieldEqualPredicate(field="predictor_role", equal=down))
        .transform_filter(alt.FieldEqualPredicate(field="target_role", equal=across))
        .transform_calculate(
            shows="over == 'common' ? datum.common : datum.value",
            models=f"'n ' + (over == 'common' ? {common or 0} : datum.n)",
        )
        .transform_calculate(
            interval="over == 'common' ? 'only over all that have both' : "
            f"isValid(datum.low) ? {rho_text('datum.low')} + ' to ' + "
            f"{rho_text('datum.high')} : 'withheld'",
            shown=rho_text("datum.shows"),
            called=f"({json.dumps(COEFFICIENT_WORDS)})[datum.coefficient]",
        )
        .encode(
            x=alt.X(
                "target:N",
                scale=alt.Scale(domain=with_role[across], paddingInner=0.05),
                axis=alt.Axis(labelAngle=-45, **axis) if bottom else None,
            ),
            y=alt.Y(
                "predictor:N",
                scale=alt.Scale(domain=with_role[down], paddingInner=0.05),
                axis=alt.Axis(**axis) if left else None,
            ),
            tooltip=[
                alt.Tooltip("predictor:N", title="one column"),
                alt.Tooltip("target:N", title="the other"),
                alt.Tooltip("called:N", title="coefficient"),
                alt.Tooltip("shown:N", title="value"),
                alt.Tooltip("interval:N"),
                alt.Tooltip("models:N"),
                alt.Tooltip("families:Q"),
            ],
        )
    )
    scale = alt.Scale(
        domain=[-1, -0.5, 0, 0.5, 1],
        range=["#a44a00", "#eeb479", "#f2f2f0", "#86b8dc", "#08519c"],
    )
    legend = alt.Legend(title=None, orient="right", gradientLength=140, format=".1f")
    known = base.transform_filter("isValid(datum.shows)")
    cells = known.mark_rect(cornerRadius=2).encode(
        color=alt.Color("shows:Q", scale=scale, legend=legend)
    )
    # Without this filter Vega would paint a withheld coefficient like a 0.
    withheld = base.transform_filter("!isValid(datum.shows)").mark_text(
        text="–", fontSize=14, color="#8a8a8a"
    )
    color = ink("datum.shows")
    dots = (
        base.transform_filter(
            "over == 'both' && isValid(datum.low) && (datum.low > 0 || datum.high < 0)"
        )
        .mark_point(filled=True, size=12, xOffset=step / 2 - 6, yOffset=6 - step / 2)
        .encode(color=color, opacity=alt.value(1))
    )
    layers = [cells, withheld, dots]
    if step >= _ROOM_FOR_NUMBER:
        above = 0 if common is None else -6
        layers.append(known.mark_text(fontSize=12, dy=above).encode(text="shown:N", color=color))
        if common is not None:
            layers.append(known.mark_text(fontSize=9, dy=9).encode(text="models:N", color=color))
    return alt.layer(*layers).properties(width=alt.Step(step), height=alt.Step(step))


def _column(dataset: str, protocol: str) -> str:
    return f"{dataset} · {protocol_label(protocol)}"
