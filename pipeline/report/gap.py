"""One kind of shortcoming that the page looks for, found or not."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.statistics.written import counted


@dataclass(frozen=True)
class Gap:
    """One kind of shortcoming.

    Attributes
    ----------
    title : str
    why : str
        What it means for the numbers.
    places : tuple of str
        Where it was found; empty: nowhere.
    checked : int
        How many units were looked at; 0: there is nothing to look at, and nothing to say.
    unit : str
        What these are; a list may have several places in one, or one line for many.
    concerned : int or None
        Units in which something was found; None: each place is one.
    """

    title: str
    why: str
    places: tuple[str, ...]
    checked: int
    unit: str = "cell"
    concerned: int | None = None

    @property
    def tally(self) -> str:
        """In how many of the units that were looked at something was found."""
        found = len(self.places) if self.concerned is None else self.concerned
        return f"{found:,} of {counted(self.checked, self.unit)}"

    @property
    def nowhere(self) -> str:
        """How many units were looked at in vain."""
        return f"none in {counted(self.checked, self.unit)}"
