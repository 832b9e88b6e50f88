"""How each statistic was computed: every attribute that its table carries, in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pipeline.report.columns import word
from pipeline.report.inputs import Inputs
from pipeline.report.words import set_word, task_word
from pipeline.statistics.columns import COLUMNS

HEADINGS = {
    "definition": "What it is",
    "p_zero": "p of no correlation",
    "common": "Common models",
    "corrected": "Corrected for chance",
    "baseline": "Baseline models",
    "budget": "Labels",
    "headline_targets": "Targets put first",
}
"""Of attributes whose names do not say it, and that are about no column with a head."""

_NAMES: Mapping[str, Callable[[Inputs, str], str]] = {
    "budget": lambda _, name: task_word(name),
    "headline_targets": lambda _, name: set_word(name),
    "reference": lambda inputs, name: inputs.columns[name].label if name else "",
    "target": lambda inputs, name: inputs.variants[name].label if name else "",
}
"""Attributes that hold a name, and what puts it into words."""


_PLACES = {"definition": 0, "interval": 1, "source": 3, "withheld": 4}


class About:
    """Tells of statistics, and remembers of which, so that the page's end can tell of the rest.

    Parameters
    ----------
    inputs : Inputs
    """

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs
        self._told: set[str] = set()

    def __call__(self, name: str) -> list[tuple[str, str]]:
        """A heading and a text for each attribute, those that nobody foresaw in the middle."""
        self._told.add(name)
        attributes = self._inputs.told(name).attrs
        order = sorted(attributes, key=lambda key: _PLACES.get(key, 2))
        return [
            (HEADINGS.get(key) or word(key, COLUMNS.get(key)), text)
            for key in order
            if (text := self._in_words(key, str(attributes[key])))
        ]

    def _in_words(self, key: str, text: str) -> str:
        return _NAMES[key](self._inputs, text) if key in _NAMES else text

    def rest(self) -> list[str]:
        """Statistics with results that were not told of yet."""
        found = self._inputs.statistics.items()
        return [name for name, table in found if table.data_vars and name not in self._told]
