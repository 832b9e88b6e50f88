"""The data dictionary: what the files in results/ hold, told by the objects that fill them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from inspect import getdoc

from pipeline.results.score_table import SCORE_TABLE
from pipeline.statistics.columns import COLUMNS
from pipeline.statistics.registry import STATISTICS, own_columns
from pipeline.study.metrics import METRICS
from pipeline.study.protocol_list import PROTOCOLS

_KINDS = {"text": "text", "number": "number", "whole": "whole number"}


def data_dictionary() -> str:
    """The dictionary as Markdown; docs/results.md is this text."""
    own = {f"{s}.{name}": column for s in STATISTICS for name, column in own_columns(s).items()}
    columns = COLUMNS | own
    return "\n".join(
        [
            "# What is in results/",
            "",
            "Made by `probeline scores dictionary` from the objects that fill these files; a test "
            "compares.",
            "",
            "## scores.csv, and the cube scores.nc",
            "",
            "A row for each score. Empty where it is not known.",
            "",
            *_table(
                ("column", "of", "meaning", "unit or values", "type"),
                ((c.name, c.of, c.meaning, c.unit, _KINDS[c.kind]) for c in SCORE_TABLE),
            ),
            "",
            "### protocol",
            "",
            *_table(
                ("value", "in words", "predicts classes"),
                ((p.name, p.label, "yes" if p.classifies else "no") for p in PROTOCOLS),
            ),
            "",
            "### metric",
            "",
            *_table(
                ("value", "in words", "better", "lowest", "highest", "unit"),
                (
                    (
                        m.name,
                        m.label,
                        "higher" if m.higher_is_better else "lower",
                        f"{m.range[0]:g}",
                        f"{m.range[1]:g}",
                        m.unit,
                    )
                    for m in METRICS
                ),
            ),
            "",
            "## statistics/NAME.csv, and the groups of correlation.nc",
            "",
            "Each group's attributes say how it was made (`definition`, `source`, `interval`) and "
            "what is not there and why (`withheld`); [statistics.md](statistics.md) explains them.",
            "",
            *_table(
                ("name", "what it says"),
                ((name, _first_line(made)) for name, made in STATISTICS.items()),
            ),
            "",
            "### Columns of these tables",
            "",
            "Where a table's column means something else, the table's name goes before it. `X_low` "
            "and `X_high` are the ends of the interval of X. What the page calls a column stands "
            "beside it where a table there shows it.",
            "",
            *_table(
                ("column", "on the page", "meaning", "unit", "range"),
                ((name, c.head, c.meaning, c.unit, _ends(c.range)) for name, c in columns.items()),
            ),
            "",
        ]
    )


def _first_line(function: object) -> str:
    return (getdoc(function) or "").split("\n\n")[0]


def _ends(ends: tuple[float, float]) -> str:
    low, high = ends
    if math.isinf(low) and math.isinf(high):
        return ""
    if math.isinf(low):
        return f"up to {high:g}"
    return f"from {low:g}" if math.isinf(high) else f"{low:g} to {high:g}"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(' '.join(cell.split()) for cell in line)} |" for line in lines]
