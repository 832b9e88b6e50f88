"""The report's map of how alike models place the same images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import xarray as xr

from cache.errors import ProbelineError
from pipeline.machine.netcdf import read_netcdf
from pipeline.project.paths import SIMILARITY_NC
from pipeline.report.inputs import Inputs
from pipeline.report.stated import (
    Drawn,
    Rows,
    Shown,
    Spec,
    answer_first,
    choice,
    ink,
    rho_text,
    rows_of,
)
from pipeline.report.theme import finish

_ROOM_FOR_NUMBER = 34
"""Pixels a side from which on the cells hold their number."""


@dataclass(frozen=True)
class Similarity(Shown):
    """What the section says.

    Attributes
    ----------
    images : str
        How many images were compared, in words.
    undefined : tuple of str
        Models without a number on some data set: their embeddings have no spread.
    """

    images: str
    undefined: tuple[str, ...]


def figures(inputs: Inputs) -> Drawn:
    """CKA between models, one data set at a time."""
    found = _maps(inputs)
    if isinstance(found, str):
        return {}
    rows = _rows(inputs, found)
    return {"cka_map": (_figure(found, rows), rows)} if rows else {}


def section(inputs: Inputs) -> Similarity:
    """The words beside the map."""
    found = _maps(inputs)
    if isinstance(found, str):
        return Similarity(found, (), "", ())
    rows = _rows(inputs, found)
    if not rows:
        return Similarity("Nothing to show: no two models could be compared.", (), "", ())
    images = [int(n) for n in np.unique(found["images"].values)]
    own = np.diagonal(found["cka"].transpose("dataset", "model", "other").values, 0, 1, 2)
    without = ~np.isfinite(own).all(axis=0)
    return Similarity(
        "",
        (choice("dataset", "Data set", (row["dataset"] for row in rows)),),
        f"{images[0]:,}" if len(images) == 1 else f"{images[0]:,} to {images[-1]:,}",
        tuple(str(name) for name in found["model"].values[without]),
    )


def _maps(inputs: Inputs) -> xr.Dataset | str:
    """The stored maps, or why there are none that are this study's."""
    if len(inputs.study.models) < 2:
        return "Withheld: it takes the embeddings of two models."
    try:
        found = read_netcdf(SIMILARITY_NC)
    except ProbelineError as error:
        return f"Withheld: {error.place} {error.problem}. Run the stage similarity."
    theirs = [str(name) for name in found["model"].values]
    if theirs != list(inputs.study.models):
        return f"Withheld: {SIMILARITY_NC} is of other models. Run the stage similarity."
    return found


def _rows(inputs: Inputs, found: xr.Dataset) -> Rows:
    """Each pair once, on every data set, the target first."""
    models = np.arange(found.sizes["model"])
    once = xr.DataArray(models[:, np.newaxis] > models, dims=("model", "other"))
    images = found["images"].astype(np.float64)
    pairs = xr.Dataset({"cka": found["cka"].where(once)})
    pairs["images"] = images.broadcast_like(pairs["cka"])
    return answer_first(inputs, rows_of(pairs.transpose("dataset", "model", "other"), "cka"))


def _figure(found: xr.Dataset, rows: Rows) -> Spec:
    names = [str(name) for name in found["model"].values]
    step = min(52, max(18, 760 // len(names)))
    axis: dict[str, Any] = {"domain": False, "ticks": False, "labelPadding": 6, "title": None}
    base = (
        alt.Chart(width=alt.Step(step), height=alt.Step(step))
        .transform_filter("datum.dataset == dataset")
        .transform_calculate(shown=rho_text("datum.cka"))
        .encode(
            x=alt.X(
                "other:N",
                scale=alt.Scale(domain=names[:-1], paddingInner=0.05),
                axis=alt.Axis(labelAngle=-45, **axis),
            ),
            y=alt.Y(
                "model:N",
                scale=alt.Scale(domain=names[1:], paddingInner=0.05),
                axis=alt.Axis(**axis),
            ),
            tooltip=[
                alt.Tooltip("model:N", title="one model"),
                alt.Tooltip("other:N", title="the other"),
                alt.Tooltip("shown:N", title="CKA"),
                alt.Tooltip("images:Q", format=","),
            ],
        )
    )
    scale = alt.Scale(domain=[0, 0.5, 1], range=["#f2f2f0", "#86b8dc", "#08519c"], clamp=True)
    legend = alt.Legend(title=None, orient="right", gradientLength=140, format=".1f")
    layers = [
        base.mark_rect(cornerRadius=2).encode(color=alt.Color("cka:Q", scale=scale, legend=legend))
    ]
    if step >= _ROOM_FOR_NUMBER:
        numbers = base.mark_text(fontSize=11)
        layers.append(numbers.encode(text="shown:N", color=ink("datum.cka")))
    figure = alt.layer(*layers, data=alt.NamedData(name="rows"))
    return finish(figure, dataset=rows[0]["dataset"])
