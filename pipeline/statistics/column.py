"""A column of the statistics' tables as one object: its meaning, unit, ends, and its head.

The page, its LaTeX tables and docs/results.md read it, so that none says something else of it.
"""

from __future__ import annotations

from dataclasses import dataclass

INF = float("inf")
Ends = tuple[float, float]

ANY: Ends = (-INF, INF)
SHARE: Ends = (0, 1)
"""Also of accuracies, probabilities, and of 1 for yes and 0 for no."""

DIFFERENCE: Ends = (-1, 1)
"""Of two shares; also of ρ and other coefficients."""

TWICE: Ends = (-2, 2)
"""Of two coefficients."""

COUNT: Ends = (0, INF)
PLACE: Ends = (1, INF)


@dataclass(frozen=True)
class Column:
    """One column of the statistics' tables.

    Attributes
    ----------
    meaning : str
    unit : str
        ``text`` for words; "" for numbers without one. The page writes numbers by it.
    range : tuple of float
        Between which ends it lies; of an interval's ends, those of its value are told.
    head : str
        What stands above it on the page; empty of one that has no column of its own there, or is
        called like what the study calls its rows.
    """

    meaning: str
    unit: str = ""
    range: Ends = ANY
    head: str = ""


def text(meaning: str, head: str = "") -> Column:
    """Words."""
    return Column(meaning, "text", head=head)


def yes(meaning: str) -> Column:
    """1 for yes and 0 for no."""
    return Column(f"1 where {meaning}, else 0", "yes or no", SHARE)


def count(meaning: str, of: str, head: str = "") -> Column:
    """How many; `of` what is the unit."""
    return Column(meaning, of, COUNT, head)


def p(meaning: str, head: str = "") -> Column:
    """A p value."""
    return Column(meaning, "probability", SHARE, head)


def rho(meaning: str, head: str = "") -> Column:
    """A rank correlation."""
    return Column(meaning, "ρ", DIFFERENCE, head)


def share(meaning: str, unit: str = "share", head: str = "") -> Column:
    """A number from 0 to 1."""
    return Column(meaning, unit, SHARE, head)
