"""The report: one HTML file that holds all it needs and opens without a network.

The page's policy (Content-Security-Policy) forbids every request and every script but its own two,
which are named by their digest. All that a study names is escaped: text by Jinja, data by `embed`.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from pathlib import Path
from typing import Any

import jinja2
import vl_convert
from markupsafe import Markup

from pipeline.correlation import MIN_FAMILIES, MIN_MODELS
from pipeline.report_answers import PROTOCOL_WORDS, answer
from pipeline.report_gaps import find_gaps
from pipeline.report_heat import COEFFICIENT_WORDS, heat_map, heat_rows
from pipeline.report_inputs import Inputs
from pipeline.report_methods import methods
from pipeline.report_scatter import MEAN_TARGET, scatter, scatter_choices, scatter_rows
from pipeline.report_tables import cost_table, provenance_table, score_table, variant_label
from pipeline.scoring import BOOTSTRAP

_HERE = Path(__file__).parent

_GLOBALS = "window.vegaEmbed = vegaEmbed;"
"""What the bundle of Vega, Vega-Lite and vega-embed gives to the page's own script."""


def render(inputs: Inputs) -> str:
    """The whole page; the same inputs give the same text."""
    vega = _vega()
    script = (_HERE / "report.js").read_text(encoding="utf-8")
    across, up = scatter_choices(inputs)
    found = answer(inputs)
    rows = heat_rows(inputs)
    drawn = any(row["value"] is not None for row in rows)
    figures: dict[str, Any] = {}
    if drawn:
        figures["correlation"] = {"spec": heat_map(inputs), "rows": rows}
    pairs = {protocol: scatter_rows(inputs, protocol) for protocol in inputs.headline}
    for protocol, points in pairs.items():
        if points:
            figures[f"scatter_{protocol}"] = {"spec": scatter(inputs, protocol), "rows": points}
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            title=inputs.study.report.title,
            style=Markup((_HERE / "report.css").read_text(encoding="utf-8")),  # noqa: S704 - our own
            vega=Markup(vega),  # noqa: S704 - vl-convert's own
            script=Markup(script),  # noqa: S704 - our own
            policy=_policy(vega, script),
            data=embed({"table": score_table(inputs), "figures": figures}),
            inputs=inputs,
            study=inputs.study,
            inside=inputs.datasets("in_domain"),
            outside=inputs.datasets("out_of_domain"),
            answers=found,
            drawn=drawn,
            scattered=[protocol for protocol, points in pairs.items() if points],
            across=across,
            up=up,
            mean_target=MEAN_TARGET,
            coefficients=COEFFICIENT_WORDS,
            protocols=PROTOCOL_WORDS,
            variant_label=variant_label,
            methods=methods(inputs.study),
            gaps=find_gaps(inputs),
            costs=cost_table(inputs),
            provenance=provenance_table(inputs),
            min_models=MIN_MODELS,
            min_families=MIN_FAMILIES,
            bootstrap=BOOTSTRAP,
        )
    )


def embed(data: Any) -> Markup:
    """JSON for the inside of a ``<script>`` element: no character in it can end the element."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 - escaped right above


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda x: f"{100 * x:.1f}%"
    environment.filters["points"] = lambda x: f"{100 * x:.1f}".replace("-", "−")
    environment.filters["rho"] = lambda x: f"{x:.2f}".replace("-", "−")
    environment.filters["count"] = lambda x: f"{x:,}"
    environment.filters["seconds"] = lambda x: f"{x:,.2f}" if x < 1000 else f"{x:,.0f}"
    return environment


@functools.cache
def _vega() -> str:
    """Vega, Vega-Lite and vega-embed as one script; refused if it would end its own element."""
    script: str = vl_convert.javascript_bundle(_GLOBALS)
    assert "</script" not in script.lower()
    assert "<!--" not in script
    return script


def _policy(*scripts: str) -> str:
    digests = (base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:"
    )
