"""A section of the report, as one object: all that the page knows of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from pipeline.report.inputs import Inputs
from pipeline.report.stated import Drawn


class Content(Protocol):
    """What a section says; its template reads it as ``content``."""

    @property
    def withheld(self) -> str:
        """Why there is nothing to say, in one line; empty where there is something."""


@dataclass(frozen=True)
class Given:
    """The content of a section that reads only what the whole page knows, so is always there."""

    withheld: str = ""


GROUPS = {
    "Decide": "decide",
    "Scores": "scores-group",
    "Trust": "trust-group",
    "Data": "data-group",
    "Statistics": "statistics-group",
    "Provenance": "provenance-group",
    "Use it": "use-group",
}
"""Parts of the page, in its order: the navigation's words, which are the headings, and the ids."""


@dataclass(frozen=True)
class Section:
    """A section of the report.

    Attributes
    ----------
    place : str
        Its id in the page, which links name.
    heading : str
    template : str
        File of this folder: what stands below the heading.
    content : callable
        From the inputs to what the template shows. It says itself whether the inputs suffice
        (``withheld``): a predicate beside it would look at the same statistics once more, and could
        say otherwise.
    figures : callable
        From the inputs to the section's figures.
    style : str
        CSS class: ``long`` may break between printed pages, ``card`` has a frame.
    group : str
        The part of the page that it is in, one of `GROUPS`.
    """

    place: str
    heading: str
    template: str
    content: Callable[[Inputs], Content] = lambda _: Given()
    figures: Callable[[Inputs], Drawn] = lambda _: {}
    style: str = ""
    group: str = "Statistics"
