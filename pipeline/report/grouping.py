"""By what the curves of models are coloured: by model, supervision or family."""

from __future__ import annotations

from typing import Any

import altair as alt

from pipeline.report.inputs import Inputs
from pipeline.report.stated import Choice, choice, legend
from pipeline.report.theme import COLORS, SHAPES
from pipeline.report.words import supervision_word

GROUPS = {"model": "model", "supervision": "supervision", "family": "family"}
_MOST_COLORED = 8
"""Models that are told apart by colour and shape of their own when the page opens."""


def groupings(inputs: Inputs) -> dict[str, dict[str, str]]:
    """Ways to colour the models that tell some of them apart; the page opens with the first."""
    learned = inputs.words("supervision").items()
    ways = {
        "model": {model: model for model in inputs.models},
        "supervision": {model: supervision_word(word) for model, word in learned},
        "family": inputs.words("family"),
    }
    useful = {name: of for name, of in ways.items() if name == "model" or len({*of.values()}) > 1}
    few = len(inputs.models) <= _MOST_COLORED
    return {name: useful[name] for name in sorted(useful, key=lambda n: (n == "model") != few)}


def coloring(inputs: Inputs) -> Choice:
    """The select for it."""
    return choice("by", "Colour by", groupings(inputs), GROUPS.__getitem__)


def by_group(inputs: Inputs) -> tuple[alt.Color, alt.Shape, dict[str, Any]]:
    """Colour and shape of ``group``, the group that a row's model is in, and their parameters.

    A figure has it by ``transform_calculate(group="groups[by][datum.model]")``.
    """
    ways = groupings(inputs)
    names = {way: list(dict.fromkeys(of.values())) for way, of in ways.items()}
    every = [(name, place) for way in names.values() for place, name in enumerate(way)]
    first = dict(reversed(every))  # a name that stands for two groups looks like the first of them
    color, shape = (
        alt.Scale(domain=list(first), range=[of[i % len(of)] for i in first.values()])
        for of in (COLORS, SHAPES)
    )
    below = legend(values=alt.ExprRef("names[by]"))
    return (
        alt.Color("group:N", scale=color, legend=below),
        alt.Shape("group:N", scale=shape, legend=below),
        {"by": next(iter(ways)), "groups": ways, "names": names},
    )
