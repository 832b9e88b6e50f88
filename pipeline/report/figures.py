"""All figures of the report, by name: the page draws them, and `probeline figures` files them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeline.report import sections
from pipeline.report.inputs import Inputs


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


def report_figures(inputs: Inputs) -> dict[str, Figure]:
    """Figures by name; those without anything to show are left out."""
    return {
        name: Figure(_in_pixels(spec, rows), rows)
        for section in sections.SECTIONS
        for name, (spec, rows) in section.figures(inputs).items()
    }


def _in_pixels(spec: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """A height in steps as one in pixels: beside the page's width Vega-Lite has no steps."""
    height = spec.get("height")
    if spec.get("width") != "container" or not isinstance(height, dict):
        return spec
    axes = (layer["encoding"].get("y", {}) for layer in spec["layer"] if "encoding" in layer)
    field = next(axis["field"] for axis in axes if "field" in axis)
    return spec | {"height": height["step"] * len({row[field] for row in rows})}
