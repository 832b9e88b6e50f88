"""Intervals of scores from elsewhere: each holds its value, in the value's own unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation

import numpy as np
from numpy.typing import NDArray

from pipeline.results.foreign_lines import Lines

ENDS = ("ci_low", "ci_high")


def check_intervals(lines: Lines, numbers: Mapping[str, Sequence[float]]) -> None:
    """Refuse intervals whose ends are interchanged, or that do not hold their value.

    Parameters
    ----------
    lines : Lines
    numbers : mapping of str to sequence of float
        The columns value, ci_low and ci_high (the latter two if the file has them) as the file
        has them, NaN where a cell is empty.

    Raises
    ------
    ProbelineError
        Naming the lines.
    """
    value = np.array(numbers["value"], np.float64)
    low, high = (np.array(numbers.get(end, np.full(len(value), np.nan))) for end in ENDS)

    def shown(row: int) -> str:
        low, value, high = (lines.column(n)[row] for n in ("ci_low", "value", "ci_high"))
        return f"{low or '…'} to {high or '…'} around {value}"

    lines.refuse_rows(
        (low > high).tolist(), "ci_low is above ci_high", shown, remedy="exchange the two"
    )
    outside = (low > value) | (high < value)  # false where one is empty
    for row in np.flatnonzero(outside):
        cells = [lines.column(name)[row] for name in ("value", *ENDS)]
        outside[row] = not _held_by_rounding(*cells)
    lines.refuse_rows(
        outside.tolist(),
        "the interval does not hold its value",
        shown,
        expected="ci_low ≤ value ≤ ci_high, all three in one unit",
        remedy=_remedy(value[outside], low[outside], high[outside]),
    )


def _held_by_rounding(value: str, low: str, high: str) -> bool:
    """Whether the numbers lie outside only by the half of a last digit that rounding takes."""

    def step(cell: str) -> Decimal:
        exponent = Decimal(cell).as_tuple().exponent
        return Decimal(1).scaleb(exponent if isinstance(exponent, int) else 0) / 2

    def apart(smaller: str, larger: str) -> bool:
        return Decimal(smaller) - Decimal(larger) > max(
            step(smaller) + step(larger), abs(Decimal(larger)) * Decimal("1e-9")
        )

    try:
        return not (low and apart(low, value)) and not (high and apart(value, high))
    except InvalidOperation:  # e.g. `nan`
        return True


def _remedy(value: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]) -> str:
    """The unit of the interval, where another one explains every row; else what to look at."""
    for factor, of_interval, of_value in (
        (0.01, "fractions", "percentages"),
        (100.0, "percentages", "fractions"),
    ):
        scaled = value * factor
        if len(scaled) and not ((low > scaled) | (high < scaled)).any():
            return f"the intervals are {of_interval}, the values {of_value}: write both alike"
    return "correct these intervals, or leave all of them out: --without-intervals"
