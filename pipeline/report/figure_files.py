"""The report's figures as files for papers, drawn without a browser and without a network."""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import vl_convert

from cache.errors import ProbelineError
from cache.files import write_durably
from pipeline.report.figures import Figure, report_figures
from pipeline.report.inputs import Inputs

Kind = Literal["pdf", "svg", "png"]

WIDTH = 480
"""Pixels of a figure that is as wide as the report's page; a PDF has 72 an inch."""

PNG_SCALE = 300 / 72
"""For 300 dots an inch."""


def write_figures(inputs: Inputs, folder: Path, kind: Kind, only: Sequence[str] = ()) -> list[Path]:
    """Draw each figure of the report as the page shows it first.

    Parameters
    ----------
    inputs : Inputs
    folder : Path
        Former files of the same names are replaced.
    kind : {"pdf", "svg", "png"}
    only : sequence of str
        Names of figures; empty: all.

    Returns
    -------
    list of Path

    Raises
    ------
    ProbelineError
        When the report has no figure of a name; nothing is written then.
    """
    figures = report_figures(inputs)
    for name in only:
        if name not in figures:
            near = difflib.get_close_matches(name, figures, n=1)
            raise ProbelineError(
                f"figure {name}",
                "is not in this report",
                expected=", ".join(figures) or "no figure: too few models or data sets have scores",
                found=name,
                remedy=f"did you mean `{near[0]}`?" if near else "name one of these",
            )
    paths = []
    for name in only or figures:
        figure = figures[name]
        usable = re.sub(r"[^\w.-]", "_", name)
        path = folder / f"{usable}.{kind}"
        write_durably(path, draw(standalone(figure), kind))
        paths.append(path)
    return paths


def standalone(figure: Figure) -> dict[str, Any]:
    """A specification that holds its data, and is as wide as a page where it fills the report's."""
    spec = copy.deepcopy(figure.spec)
    spec["datasets"] = {"rows": figure.rows}
    if spec.get("width") == "container":
        spec["width"] = WIDTH
    spec["config"] = {**spec["config"], "font": "sans-serif", "background": "white"}
    return spec


def draw(spec: dict[str, Any], kind: Kind) -> bytes:
    """A specification as the bytes of a file; links in it are not followed."""
    if kind == "pdf":
        return bytes(vl_convert.vegalite_to_pdf(spec, allowed_base_urls=[]))
    if kind == "png":
        return bytes(vl_convert.vegalite_to_png(spec, scale=PNG_SCALE, allowed_base_urls=[]))
    return str(vl_convert.vegalite_to_svg(spec, allowed_base_urls=[])).encode()
