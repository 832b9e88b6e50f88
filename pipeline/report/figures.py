"""All figures of the report, by name: the page draws them, and `probeline figures` files them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.report import (
    cheap,
    constraints,
    enough,
    finetuning,
    labels,
    neighbors,
    robustness,
    similarity,
    tradeoff,
)
from pipeline.report.heat import heat_map, heat_rows
from pipeline.report.inputs import Inputs
from pipeline.report.ranks import rank_figure, rank_rows
from pipeline.report.scatter import scatter, scatter_rows


@dataclass(frozen=True)
class Figure:
    """A figure and what it shows.

    Attributes
    ----------
    spec : dict
        Vega-Lite specification; its data are called ``rows``.
    rows : list of dict
        JSON values.
    """

    spec: dict[str, Any]
    rows: list[dict[str, Any]]


SECTIONS: Mapping[str, Any] = {
    "constraints": constraints,
    "tradeoff": tradeoff,
    "labels": labels,
    "finetuning": finetuning,
    "enough": enough,
    "robustness": robustness,
    "cheap": cheap,
    "similarity": similarity,
    "neighbors": neighbors,
}
"""Modules with a template of their own: ``section(inputs)`` is what it needs, and some have
``figures(inputs)``."""


def report_figures(inputs: Inputs) -> dict[str, Figure]:
    """Figures by name; those without anything to show are left out."""
    figures = {}
    if ranks := rank_rows(inputs):
        figures["ranks"] = Figure(rank_figure(ranks), ranks)
    rows = heat_rows(inputs)
    if any(row["value"] is not None for row in rows):
        figures["correlation"] = Figure(heat_map(inputs), rows)
    for protocol in inputs.headline:
        if points := scatter_rows(inputs, protocol):
            figures[f"scatter_{protocol}"] = Figure(scatter(inputs, protocol), points)
    for module in SECTIONS.values():
        if hasattr(module, "figures"):
            figures |= {
                name: Figure(_in_pixels(spec, rows), rows)
                for name, (spec, rows) in module.figures(inputs).items()
            }
    return figures


def _in_pixels(spec: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """A height in steps as one in pixels: beside the page's width Vega-Lite has no steps."""
    height = spec.get("height")
    if spec.get("width") != "container" or not isinstance(height, dict):
        return spec
    axes = (layer["encoding"].get("y", {}) for layer in spec["layer"] if "encoding" in layer)
    field = next(axis["field"] for axis in axes if "field" in axis)
    return spec | {"height": height["step"] * len({row[field] for row in rows})}
