"""How the report writes numbers."""

from __future__ import annotations

import math
from typing import SupportsFloat

from pipeline.statistics.written import MINUS, NOTHING, p_value, rho, signed

__all__ = [
    "MINUS", "NOTHING", "count", "interval", "p_value", "percent", "points", "rho", "seconds",
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
