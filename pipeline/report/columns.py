"""Heads of the page's tables: above a statistic's column stands what its `Column` says."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from pipeline.report.formats import sentence
from pipeline.statistics.column import Column
from pipeline.statistics.columns import COLUMNS

OF_THE_PAGE = {
    "ends": Column(
        "ρ on the single targets, from the lowest to the highest", head="Lowest to highest"
    ),
    "extraction": Column(
        "seconds of the model’s own forward passes, all data sets together", head="Extraction, s"
    ),
    "few_shot_head": Column(
        "mean over the same models of a head on frozen embeddings that saw as few labels",
        head="Few-shot head, %",
    ),
    "gmacs": Column("billions of multiply-adds for one image", head="GMACs"),
    "new_targets": Column(
        "interval of the mean for other data sets of the same kind", head="For new targets"
    ),
    "one_target": Column(
        "Spearman’s ρ with the only target there is; what holds there need not hold for another "
        "one",
        head="ρ, one target",
    ),
    "pair": Column(
        "two columns of scores; the numbers are Spearman’s ρ between them over models", head="ρ of"
    ),
    "tie_behind": Column(
        "upper limit of how far any of the tied models lies behind the best",
        head="Any of them at most behind, points",
    ),
    "undecided": Column("label counts at which the difference may be 0", head="Within chance at"),
    "beside_best": Column(
        "within chance: no model is known to be better; differs: one is", head="Beside the best"
    ),
}
"""What no statistic's table has in one column: two ends, words for numbers, the models' cost."""


class Head(NamedTuple):
    """What stands above a column of the page.

    Attributes
    ----------
    text : str
    meaning : str
        A sentence; empty where the text says it in full.
    key : str
        Of the column in `COLUMNS` or `OF_THE_PAGE` that says so; empty of one that is in neither.
    """

    text: str
    meaning: str = ""
    key: str = ""


def head(key: str, further: str = "") -> Head:
    """The head of a column, by its key, and what else stands there."""
    column = COLUMNS.get(key) or OF_THE_PAGE[key]
    return Head(f"{column.head}{further}", sentence(column.meaning), key)


def heads(*keys: str) -> list[Head]:
    """`head` of each."""
    return [head(key) for key in keys]


def word(name: str, column: Column | None) -> str:
    """What the page calls what has this name: the column's head, or the name."""
    return column.head if column and column.head else name.replace("_", " ").capitalize()


def legend(heads: Iterable[Head]) -> list[Head]:
    """The heads of a table that need words, each meaning once, the first one that has it."""
    found: dict[str, Head] = {}
    for of in heads:
        if of.meaning:
            found.setdefault(of.meaning, of)
    return list(found.values())
