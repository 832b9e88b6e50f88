"""The report's section on changes of domain: effective robustness and transfer residuals."""

from __future__ import annotations

from dataclasses import dataclass

import altair as alt
import numpy as np
import xarray as xr

from pipeline.report import stated
from pipeline.report.inputs import Inputs
from pipeline.report.remarks import outside_band
from pipeline.report.theme import COLORS, finish
from pipeline.report.verdicts import listed
from pipeline.study.protocol_list import protocol_label

FIELDS = ("value", "band", "outside", "accuracy", "expected", "beyond", "n")
PLACES = ("below the band", "inside the band", "above the band")
MOST_MODELS = 100
"""Models in a figure: of more, those that lie farthest outside their band anywhere."""

BENDS = 0.001
"""p of a bend, below which it is said."""

NO_LINE = "Nothing to show: no line could be fitted; it takes more models with both scores."


@dataclass(frozen=True)
class Judged(stated.Shown):
    """One of the two figures.

    Attributes
    ----------
    remark : str
        How many residuals lie outside their band.
    models, drawn : int
        Models with a residual, and those in the figure.
    interval : str
    """

    remark: str
    models: int
    drawn: int
    interval: str


@dataclass(frozen=True)
class Robustness:
    """What the section says.

    Attributes
    ----------
    effective, residual : Judged
    baseline : str
        Models that the lines of effective robustness are fitted to.
    notes : tuple of str
        Where the line does not hold, and who is left out of it.
    """

    effective: Judged
    residual: Judged
    baseline: str
    notes: tuple[str, ...] = ()

    @property
    def withheld(self) -> str:
        """Why there is neither figure."""
        return stated.all_withheld(self.effective.withheld, self.residual.withheld)


def figures(inputs: Inputs) -> stated.Drawn:
    """Residuals of every model with the prediction band about 0."""
    drawn: stated.Drawn = {}
    for name, chooser in (("effective_robustness", "head"), ("transfer_residual", "protocol")):
        found = stated.statistic(inputs, name)
        if isinstance(found, xr.Dataset) and (rows := _rows(found)):
            shown = _farthest(rows)
            drawn[name] = _figure(shown, [chooser, *_sources(found)]), shown
    return drawn


def section(inputs: Inputs) -> Robustness:
    """The words beside the figures."""
    effective = stated.statistic(inputs, "effective_robustness")
    residual = stated.statistic(inputs, "transfer_residual")
    names = "" if isinstance(effective, str) else str(effective.attrs["baseline"])
    told = listed(names.split(", "))
    return Robustness(
        _judged(effective, stated.Choice("head", "Probe", ()), lambda v: _words(inputs, v)),
        _judged(residual, stated.Choice("protocol", "Protocol", ()), protocol_label),
        told,
        () if isinstance(effective, str) else _notes(inputs, effective),
    )


def _words(inputs: Inputs, head: str) -> str:
    try:
        return inputs.variants[head].label
    except KeyError:  # a classifier is called by its home, too
        return head


def _notes(inputs: Inputs, found: xr.Dataset) -> tuple[str, ...]:
    """Where the baseline's line bends, and how many models are near chance."""
    notes = []
    if "bend" not in found:
        return ()
    for head in found["head"].values:
        bent, near = [], []
        for dataset in found["dataset"].values:
            of = found.sel(head=head, dataset=dataset)
            known = of["bend"].values[np.isfinite(of["bend"].values)]
            if len(known) and known[0] < BENDS:
                bent.append(str(dataset))
            if low := int((of["near_chance"] == 1).sum()):
                near.append(f"{low:,} on {dataset}")
        if bent:
            notes.append(
                f"{_words(inputs, str(head))}: the baseline’s line bends on {listed(bent)} "
                f"(p below {BENDS:g}), so how far a model lies above it there is a rough number."
            )
        if near:
            notes.append(
                f"{_words(inputs, str(head))}: models near chance are left out: {listed(near)}."
            )
    return tuple(notes)


def _judged(found: xr.Dataset | str, chooser: stated.Choice, words: object) -> Judged:
    if isinstance(found, str):
        return Judged(found, (), "", 0, 0, "")
    rows = _rows(found)
    if not rows:
        return Judged(NO_LINE, (), "", 0, 0, "")
    choices = [
        stated.choice(chooser.signal, chooser.label, (r[chooser.signal] for r in rows), words)
    ]
    choices += [stated.choice("in_domain", "From", (r[s] for r in rows)) for s in _sources(found)]
    choices.append(stated.choice("dataset", "Data set", (r["dataset"] for r in rows)))
    outside = sum(row["place"] != PLACES[1] for row in rows)
    models = len({row["model"] for row in rows})
    return Judged(
        "", tuple(choices), outside_band(outside, len(rows)), models, min(models, MOST_MODELS),
        str(found.attrs.get("interval", "")),
    )  # fmt: skip


def _sources(found: xr.Dataset) -> list[str]:
    return [str(dim) for dim in found.dims if dim == "in_domain"]


def _rows(found: xr.Dataset) -> stated.Rows:
    rows = stated.rows_of(found.where(np.isfinite(found["band"])), "value", FIELDS)
    for row in rows:
        row["place"] = PLACES[1 + int(row.pop("outside"))]
    return rows


def _farthest(rows: stated.Rows) -> stated.Rows:
    """Rows of at most `MOST_MODELS` models, in the order that they had."""
    far = sorted(rows, key=lambda row: row["band"] - abs(row["value"]))
    kept = set(list(dict.fromkeys(row["model"] for row in far))[:MOST_MODELS])
    return [row for row in rows if row["model"] in kept]


def _figure(rows: stated.Rows, choosers: list[str]) -> stated.Spec:
    chosen = [*choosers, "dataset"]
    y = alt.Y("model:N", sort=alt.SortField("value", order="descending"), title=None,
              axis=alt.Axis(domain=False, ticks=False, labelPadding=6))  # fmt: skip
    base = (
        alt.Chart()
        .transform_filter(" && ".join(f"datum.{name} == {name}" for name in chosen))
        .transform_calculate(below="-datum.band")
        .encode(y=y)
    )
    x = alt.X("value:Q", title="Residual, logits", axis=alt.Axis(format="+.1~f", tickCount=6))
    below = stated.legend()
    colors = [COLORS[1], COLORS[6], COLORS[0]]
    shapes = ["triangle-left", "circle", "triangle-right"]
    points = base.mark_point(filled=True, size=110, opacity=1).encode(
        x=x,
        color=alt.Color(
            "place:N", scale=alt.Scale(domain=list(PLACES), range=colors), legend=below
        ),
        shape=alt.Shape(
            "place:N", scale=alt.Scale(domain=list(PLACES), range=shapes), legend=below
        ),
        tooltip=[
            alt.Tooltip("model:N"),
            alt.Tooltip("value:Q", format="+.3f", title="residual, logits"),
            alt.Tooltip("band:Q", format=".3f", title="band, ±"),
            alt.Tooltip("accuracy:Q", format=".1%"),
            alt.Tooltip("expected:Q", format=".1%"),
            alt.Tooltip("n:Q", title="models behind the line"),
            alt.Tooltip("beyond:Q", format=".2f", title="extrapolated by, logits"),
        ],
    )
    figure = alt.layer(
        base.mark_bar(color="#8a8a8a", opacity=0.25, height=10).encode(
            x=alt.X("below:Q"), x2="band:Q"
        ),
        stated.zero_line("x"),
        points,
        data=alt.NamedData(name="rows"),
    ).properties(autosize="fit-x", width="container", height=alt.Step(24))
    return finish(figure, **{name: rows[0][name] for name in chosen})
