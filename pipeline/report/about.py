"""How each statistic was computed: every attribute that its table carries, in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pipeline.report.columns import word
from pipeline.report.inputs import Inputs
from pipeline.report.words import set_word, task_word
from pipeline.statistics.columns import COLUMNS
from pipeline.statistics.written import counted
from pipeline.study.protocol_list import protocol_label

HEADINGS = {
    "definition": "What it is",
    "p_zero": "p of no correlation",
    "corrected": "Corrected for chance",
    "baseline": "Baseline models",
    "budget": "Labels",
    "headline_targets": "Targets put first",
    "deciding": "The best is by",
    "left_out": "Untrained or collapsed, left out",
    "labels_seen": "Left out, as they saw the labels",
    "ranked": "Rank of the features",
    "common": "Common models",
    "unpaired": "Compared without per-image outcomes",
    "conservative": "What that means",
}
"""Of attributes whose names do not say it, and that are about no column with a head."""

_NAMES: Mapping[str, Callable[[Inputs, str], str]] = {
    "budget": lambda _, name: task_word(name),
    "headline_targets": lambda _, name: set_word(name),
    "reference": lambda inputs, name: inputs.columns[name].label if name else "",
    "deciding": lambda _, name: protocol_label(name),
    "unpaired": lambda inputs, names: _labels(inputs, names),
    "models": lambda _, number: counted(int(number), "model"),
    "left_out": lambda _, number: counted(int(number), "model"),
    "ranked": lambda _, number: f"known of {counted(int(number), 'model')}",
    "common_models": lambda _, number: "",  # `common` says it in words
    "shots": lambda _, number: f"{counted(int(number), 'labelled image')} a class",
    "target": lambda inputs, name: inputs.variants[name].label if name else "",
}
"""Attributes that hold a name or a number, and what puts it into words."""


def _labels(inputs: Inputs, names: str) -> str:
    """Protocols, or variants, of a list as it stands in an attribute."""
    return ", ".join(
        inputs.variants[name].label if name in inputs.variants else protocol_label(name)
        for name in filter(None, names.split(", "))
    )


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
