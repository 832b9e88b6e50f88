"""Kind and backbone of the models: which comparisons a study's design allows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pipeline.statistics.arrays import Mask, Words
from pipeline.statistics.contrasts import Contrast
from pipeline.statistics.written import UNKNOWN

OBJECTIVES = ("generative", "discriminative")
"""Left and right side of the objective gap."""

MIN_SIDE = 2
"""Models of a backbone, or in a cell of the design, below which nothing is said of it."""

MAX_BACKBONES = 8
"""Of the most frequent backbones, that are compared with the most frequent one."""

GAP = f"{OBJECTIVES[0]} - {OBJECTIVES[1]}"


def contrasts_of(objective: Words, backbone: Words, method: Words) -> list[Contrast]:
    """The objective gap over all models and within each backbone, and the gaps between backbones.

    Backbones are compared with the most frequent one: within discriminative models, and within
    methods that were trained on both.
    """
    left, right = (objective == word for word in OBJECTIVES)
    found = [Contrast(GAP, left, right, tested=False)]  # objectives differ in backbone, too
    for name in frequent_backbones(backbone):
        here = backbone == name
        if (left & here).any() and (right & here).any():
            found.append(Contrast(f"{GAP} within {name}", left & here, right & here))
    return [*found, *_between_backbones(right, backbone, method)]


def frequent_backbones(backbone: Words) -> list[str]:
    """Backbones of at least `MIN_SIDE` models, most frequent first, at most `MAX_BACKBONES`."""
    names, count = np.unique(backbone, return_counts=True)
    order = np.argsort(-count, kind="stable")
    known = [str(names[i]) for i in order if names[i] != UNKNOWN and count[i] >= MIN_SIDE]
    return known[:MAX_BACKBONES]


def obstacle(objective: Words, backbone: Words) -> str:
    """Why objective and backbone can't be told apart; empty for a filled design.

    A filled design has at least `MIN_SIDE` models of each objective on every backbone. Models of
    unknown objective or backbone are no part of it.
    """
    known = np.isin(objective, OBJECTIVES) & (backbone != UNKNOWN)
    if not known.any():
        return "not estimable: no model of known objective and backbone"
    empty = [
        f"{count} {word} {name}"
        for name in np.unique(backbone[known])
        for word in OBJECTIVES
        if (count := int((known & (backbone == name) & (objective == word)).sum())) < MIN_SIDE
    ]
    if len(np.unique(backbone[known])) < 2:
        return "not estimable: a single backbone"
    if not empty:
        return ""
    shown = ", ".join(empty[:3]) + (f" and {len(empty) - 3} more" if len(empty) > 3 else "")
    return f"not estimable: objective and backbone are confounded ({shown})"


def _between_backbones(discriminative: Mask, backbone: Words, method: Words) -> Iterator[Contrast]:
    names = frequent_backbones(backbone)
    for name in names[1:]:
        left, right = backbone == name, backbone == names[0]
        gap = f"{name} - {names[0]}"
        yield Contrast(
            f"{gap} within {OBJECTIVES[1]}", left & discriminative, right & discriminative
        )
        pairs = np.intersect1d(method[left], method[right])
        paired = np.isin(method, pairs[pairs != UNKNOWN])
        yield Contrast(f"{gap} within methods", left & paired, right & paired, method)
