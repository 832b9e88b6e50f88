"""How the report writes numbers."""

from __future__ import annotations

import math
import re
from typing import SupportsFloat

from markupsafe import Markup, escape

from pipeline.statistics.written import MINUS, NOTHING, p_value, rho, signed

__all__ = [
    "MINUS", "NOTHING", "count", "interval", "level", "megabytes", "milliseconds", "p_value",
    "percent", "points", "prose", "rho", "seconds", "sentence", "size",
]  # fmt: skip


def percent(x: float) -> str:
    """0.812 as 81.2%."""
    return signed(f"{100 * x:.1f}%") if math.isfinite(x) else NOTHING


def points(x: float) -> str:
    """0.812 as 81.2."""
    return signed(f"{100 * x:.1f}") if math.isfinite(x) else NOTHING


def count(x: float) -> str:
    """12345 as 12,345."""
    return f"{x:,}"


def seconds(x: float) -> str:
    """Two decimals, none from a thousand on."""
    if not math.isfinite(x):
        return NOTHING
    if 0 < x < 0.005:
        return "< 0.01"
    return f"{x:,.2f}" if x < 1000 else f"{x:,.0f}"


def interval(low: SupportsFloat, high: SupportsFloat, *, in_points: bool = False) -> str:
    """0.52 to 0.93; empty where there is none."""
    ends = float(low), float(high)
    if not all(map(math.isfinite, ends)):
        return ""
    write = points if in_points else rho
    return " to ".join(map(write, ends))


def level(confidence: float) -> str:
    """0.95 as 95%: of an interval."""
    return f"{100 * confidence:g}%"


def size(parameters: float) -> str:
    """5524416 as 5.5 M."""
    if not math.isfinite(parameters):
        return NOTHING
    return f"{parameters / 1e6:,.1f} M" if parameters >= 1e5 else f"{parameters / 1e3:,.0f} k"


def megabytes(x: float) -> str:
    """22.1 as 22 MB."""
    if not math.isfinite(x):
        return NOTHING
    return f"{x:,.0f} MB" if x >= 10 else f"{x:.1f} MB"


def milliseconds(x: float) -> str:
    """58.6 as 59 ms."""
    if not math.isfinite(x):
        return NOTHING
    return f"{x:,.0f} ms" if x >= 10 else f"{x:.2g} ms"


def sentence(text: str) -> str:
    """With a capital, but of a sign (ρ, p), and a full stop."""
    first, _, _ = text.partition(" ")
    whole = text if len(first) == 1 else f"{text[:1].upper()}{text[1:]}"
    return whole if whole.endswith((".", "!", "?")) else f"{whole}."


def prose(text: str) -> Markup:
    """A sentence of ours as markup: what stands between backticks is code, and all is escaped."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704
