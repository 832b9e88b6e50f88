"""The report's figures as files for papers, drawn without a browser and without a network.

Beside each lies its caption: what it shows, of how many models, and how it was computed.
"""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import vl_convert

from cache.errors import ProbelineError
from cache.files import write_durably
from pipeline.report.captions import caption
from pipeline.report.figures import Figure, report_figures
from pipeline.report.inputs import Inputs
from pipeline.report.latex import figure as environment

Kind = Literal["pdf", "svg", "png"]

WIDTH = 480
"""Pixels of a figure that is as wide as the report's page; a PDF has 72 an inch."""

DOTS = 300
"""An inch, of a PNG."""

FONT, SMALL = 12, 8
"""Pixels of the text in the page, and points of it in a figure of a chosen width."""

NARROWEST = 100
"""Pixels of a figure's inside."""

_SIZE = re.compile(r'(<svg[^>]*?) width="([0-9.]+)" height="([0-9.]+)"')

_POINTS = {"mm": 72 / 25.4, "cm": 72 / 2.54, "in": 72.0, "pt": 1.0}


@dataclass(frozen=True)
class Drawing:
    """A figure as a file.

    Attributes
    ----------
    path : Path
    text : float
        Points of its smallest usual text.
    """

    path: Path
    text: float


def points_of(width: str) -> float:
    """A width such as ``84mm`` in points, 72 an inch.

    Raises
    ------
    ProbelineError
        When it is none.
    """
    found = re.fullmatch(r"([0-9]{1,4}(?:\.[0-9]+)?) ?(mm|cm|in|pt)", width.strip())
    points = float(found[1]) * _POINTS[found[2]] if found else 0.0
    if not 36 <= points <= 7200:
        raise ProbelineError(
            "--width",
            "is no width of a figure",
            expected="a number with mm, cm, in or pt, from half an inch to 100",
            found=width,
            remedy="for example --width 84mm",
        )
    return points


def write_figures(
    inputs: Inputs,
    folder: Path,
    kind: Kind,
    only: Sequence[str] = (),
    width: str = "",
    *,
    latex: bool = False,
) -> list[Drawing]:
    """Draw each figure of the report as the page shows it first, and write its caption.

    Parameters
    ----------
    inputs : Inputs
    folder : Path
        Former files of the same names are replaced.
    kind : {"pdf", "svg", "png"}
    only : sequence of str
        Names of figures; empty: all.
    width : str
        As `points_of` reads it; empty: as wide as the page.
    latex : bool
        Whether to write a figure environment for each, too.

    Raises
    ------
    ProbelineError
        When the report has no figure of a name, or the width is none; nothing is written then.
    """
    wanted = points_of(width) if width else None
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
    drawings = []
    for name in dict.fromkeys(only or figures):
        figure = figures[name]
        usable = re.sub(r"[^\w.-]", "_", name)
        path = folder / f"{usable}.{kind}"
        said = caption(inputs, name, figure)
        spec, scale = standalone(figure), 1.0
        if wanted is not None:
            spec, scale = fitted(spec, wanted)
        write_durably(path, draw(spec, kind, scale))
        write_durably(folder / f"{usable}.caption.txt", f"{said}\n".encode())
        if latex:
            wide = width.replace(" ", "") or r"\linewidth"
            text = environment(path.name, wide, said, usable.replace("_", "-"))
            write_durably(folder / f"{usable}.tex", text.encode())
        drawings.append(Drawing(path, FONT * scale))
    return drawings


def fitted(spec: dict[str, Any], points: float) -> tuple[dict[str, Any], float]:
    """A specification and the scale at which it is so many points wide.

    What is as wide as there is room is laid out anew, so that its text is as large as in a paper;
    what has a size of its own (a cell for each pair) is only scaled.
    """
    if spec.get("width") == WIDTH:
        beside = size_of(spec)[0] - WIDTH
        inside = max(NARROWEST, points * FONT / SMALL - beside)
        spec = {**spec, "width": inside}
    return spec, points / size_of(spec)[0]


def size_of(spec: dict[str, Any]) -> tuple[float, float]:
    """Width and height in pixels, axes and legends included."""
    found = _SIZE.search(str(vl_convert.vegalite_to_svg(spec, allowed_base_urls=[])))
    if found is None:
        raise AssertionError("an SVG without a size")
    return float(found[2]), float(found[3])


def standalone(figure: Figure) -> dict[str, Any]:
    """A specification that holds its data, and is as wide as a page where it fills the report's."""
    spec = copy.deepcopy(figure.spec)
    spec["datasets"] = {"rows": figure.rows}
    if spec.get("width") == "container":
        spec["width"] = WIDTH
    spec["config"] = {**spec["config"], "font": "sans-serif", "background": "white"}
    return spec


def draw(spec: dict[str, Any], kind: Kind, scale: float = 1.0) -> bytes:
    """A specification as the bytes of a file, a pixel a point; links in it are not followed."""
    if kind == "png":
        return bytes(vl_convert.vegalite_to_png(spec, scale=scale, ppi=DOTS, allowed_base_urls=[]))
    drawn = str(vl_convert.vegalite_to_svg(spec, allowed_base_urls=[]))
    if kind == "pdf":
        return bytes(vl_convert.svg_to_pdf(_sized(drawn, scale)))
    return (_sized(drawn, scale, "pt") if scale != 1.0 else drawn).encode()


def _sized(drawn: str, scale: float, unit: str = "") -> str:
    """An SVG of another size; what is in it grows with it."""
    return _SIZE.sub(
        lambda of: (
            f'{of[1]} width="{float(of[2]) * scale:.6g}{unit}" '
            f'height="{float(of[3]) * scale:.6g}{unit}"'
        ),
        drawn,
        count=1,
    )
