"""What the report's Vega-Lite figures share: style, words, palette.

Colours are Okabe and Ito's, which people with any kind of colour vision tell apart. The page's
style sheet repaints text and rules in the dark; the colours here are those of a downloaded figure.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import altair as alt
import numpy as np

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a8a8a")
SHAPES = (
    "circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right",
    "triangle-left",
)  # fmt: skip
"""One more than colours, so that 56 families differ in one or the other."""

_CONFIG: dict[str, Any] = {
    "font": "system-ui, sans-serif",
    "background": "transparent",
    "view": {"stroke": None},
    "axis": {
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": 600,
        "labelColor": "#444",
        "titleColor": "#222",
        "gridColor": "#e4e4e4",
        "domainColor": "#999",
        "tickColor": "#999",
        "labelLimit": 190,
    },
    "legend": {"labelFontSize": 12, "titleFontSize": 12, "labelLimit": 190},
    "title": {"fontSize": 13, "fontWeight": 600, "anchor": "start", "color": "#222"},
}


def finish(figure: Any, **chosen: Any) -> dict[str, Any]:
    """A chart as a Vega-Lite specification in the report's style.

    Parameters
    ----------
    figure : Chart
        Altair's, of whatever kind.
    **chosen
        The figure's parameters, each with what it is when the page opens.
    """
    # Altair's own check of the whole figure costs a second; its parts were checked when made. Its
    # `add_params` copies the whole figure, each layer for itself, to write this at the same place.
    spec: dict[str, Any] = figure.to_dict(validate=False)
    if chosen:
        params = [{"name": name, "value": of} for name, of in chosen.items()]
        spec["params"] = [*spec.get("params", []), *params]
    spec["config"] = _CONFIG
    return spec


def told_apart(
    field: str, names: Collection[str], legend: alt.Legend
) -> tuple[alt.Color, alt.Shape]:
    """Colours and shapes by a field, in the order of its names; far more names look alike."""
    ranges = ([of[i % len(of)] for i in range(len(names))] for of in (COLORS, SHAPES))
    color, shape = (alt.Scale(domain=list(names), range=of) for of in ranges)
    return (
        alt.Color(field, scale=color, legend=legend),
        alt.Shape(field, scale=shape, legend=legend),
    )


def ends(form: str, low: str = "low", high: str = "high") -> list[alt.Tooltip]:
    """What a tooltip says of an interval, after what it is of."""
    return [
        alt.Tooltip(f"{low}:Q", format=form, title="… from"),
        alt.Tooltip(f"{high}:Q", format=form, title="… to"),
    ]


def number(x: float, digits: int = 5) -> float | None:
    """A float as JSON has it: rounded, null where there is none."""
    return round(float(x), digits) if np.isfinite(x) else None
