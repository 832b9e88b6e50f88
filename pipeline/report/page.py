"""The report: one HTML file that holds all it needs and opens without a network.

The page's policy (Content-Security-Policy) forbids every request and every script but its own,
which are named by their digest. All that a study names is escaped: text by Jinja, data by `embed`,
or it is packed as letters.
The page computes no statistics: its numbers are those of results/correlation.nc and scores.nc.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jinja2
import vl_convert
from markupsafe import Markup

from pipeline.report import columns, sections, verdicts
from pipeline.report import formats as report_formats
from pipeline.report.about import About
from pipeline.report.answers import answer
from pipeline.report.embed import pack, squeezed
from pipeline.report.figure_words import shows
from pipeline.report.figures import report_figures
from pipeline.report.gaps_scores import missing_cells
from pipeline.report.heat import COEFFICIENT_WORDS, MODELS_WORDS
from pipeline.report.inputs import Inputs
from pipeline.report.methods import embeddings, methods
from pipeline.report.panels import unsaid
from pipeline.report.scatter import MEAN_TARGET
from pipeline.report.section import GROUPS, Content, Section
from pipeline.report.stated import by_reason
from pipeline.report.tables import score_table
from pipeline.statistics.correlation import MIN_FAMILIES, MIN_MODELS
from pipeline.statistics.written import rounded
from pipeline.study.metrics import BOOTSTRAP
from pipeline.study.protocol_list import protocol_label, protocol_named

_HERE = Path(__file__).parent

_GLOBALS = "window.vegaEmbed = vegaEmbed;"
"""What the bundle of Vega, Vega-Lite and vega-embed gives to the page's own script."""


def render(inputs: Inputs) -> str:
    """The whole page; the same inputs give the same text."""
    with ThreadPoolExecutor(1) as beside:  # a second of Rust and zlib, which hold no lock of ours
        bundled = beside.submit(_bundled)
        return _rendered(inputs, bundled.result)


def _rendered(inputs: Inputs, bundled: Callable[[], tuple[str, str]]) -> str:
    scripts = [_text("page.js"), _text("constraints.js")]
    packed = _packed_figures(inputs)
    contents = [(section, section.content(inputs)) for section in sections.SECTIONS]
    parts = _parts(contents)
    vega, squeezed_vega = bundled()
    names = [name for name, _, _ in parts]
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            shown=[(section, content) for section, content in contents if not content.withheld],
            parts=parts,
            last="Provenance" if "Provenance" in names else names[-1],
            absent=by_reason(
                (content.withheld, section) for section, content in contents if content.withheld
            ),
            title=inputs.study.report.title,
            styles=[Markup(_text(s)) for s in ("page.css", "sections.css")],  # noqa: S704 - our own
            vega=squeezed_vega,
            scripts=[Markup(script) for script in scripts],  # noqa: S704 - our own
            policy=_policy(vega, *scripts),
            data=_packed({"table": score_table(inputs)}),
            figures=_packed(packed),
            inputs=inputs,
            about_statistic=About(inputs),
            inside=inputs.datasets("in_domain"),
            outside=inputs.datasets("out_of_domain"),
            answers=answer(inputs),
            missing=missing_cells(inputs),
            target=inputs.target,
            has={section.place for _, shown, _ in parts for section, _ in shown}.__contains__,
            mean_target=MEAN_TARGET,
            coefficients=COEFFICIENT_WORDS,
            models_words=MODELS_WORDS,
            word=protocol_label,
            protocol_named=protocol_named,
            variant_label=lambda name: inputs.variants[name].label,
            embeddings=embeddings(inputs.study),
            methods=methods(inputs.study),
            min_models=MIN_MODELS,
            min_families=MIN_FAMILIES,
            bootstrap=BOOTSTRAP,
        )
    )


def _packed_figures(inputs: Inputs) -> dict[str, Any]:
    """Figures with their rows by column; of a large table the rows take a quarter of a gigabyte."""
    figures, packed = report_figures(inputs), {}
    for name in [*figures]:
        figure = figures.pop(name)
        packed[name] = {"spec": figure.spec, "rows": pack(figure.rows)}
    return packed


def _packed(data: Any) -> str:
    return squeezed(json.dumps(data, allow_nan=False, separators=(",", ":")))


def _parts(
    contents: list[tuple[Section, Content]],
) -> list[tuple[str, list[tuple[Section, Content]], str]]:
    """Headings of the page's parts with what is shown in them, and their ids; none is empty."""
    parts = [
        (
            name,
            [(s, content) for s, content in contents if s.group == name and not content.withheld],
            place,
        )
        for name, place in GROUPS.items()
    ]
    return [part for part in parts if part[1]]


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = ("percent", "level", "points", "rho", "count", "seconds", "p_value", "size",
               "megabytes", "milliseconds", "prose")  # fmt: skip
    for name in filters:
        environment.filters[name] = getattr(report_formats, name)
    environment.globals |= {
        "interval": report_formats.interval,
        "unsaid": unsaid,
        "head": columns.head,
        "legend": columns.legend,
        "shows": shows,
        "verdict": verdicts.verdict,
        "at_most": verdicts.at_most,
        "margin": verdicts.margin_words,
        "by_which_tests": verdicts.by_which_tests,
        "why_without": verdicts.why_without,
        "rounded": rounded,
    }
    return environment


def _text(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


@functools.cache
def _bundled() -> tuple[str, str]:
    """Vega, Vega-Lite and vega-embed as one script, and that as the page holds it."""
    script: str = vl_convert.javascript_bundle(_GLOBALS)
    return script, squeezed(script)


def _policy(*scripts: str) -> str:
    digests = (base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:"
    )
