"""The first screen: the answer's two cards, with all their sentences made, and their evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import xarray as xr

from pipeline.report import checks_words, choice_words
from pipeline.report.checks import OPEN, Check, Trust, trust_in
from pipeline.report.choice import VERDICTS, Choice, choose
from pipeline.report.columns import head, heads
from pipeline.report.formats import level, points, seconds
from pipeline.report.inputs import Inputs
from pipeline.report.panels import Cell, Filled, Tables, table_of
from pipeline.report.pasting import lines_to_paste
from pipeline.report.verdicts import at_most
from pipeline.study.protocol_list import protocol_label


@dataclass(frozen=True)
class ModelCard:
    """What the card on the model says; `rules` are of the verdict's words."""

    choice: Choice
    take: str
    accuracy: str
    verdict: str
    instruction: str
    says: str
    weak: str
    rules: dict[str, str]
    withheld: str = ""


@dataclass(frozen=True)
class CheckCard:
    """What the card on cheap checks says; `lines` are for params.yaml."""

    trust: Trust
    verdict: str
    until_then: str
    on_target: str
    not_good_enough: str
    to_find_out: str
    lines: str
    withheld: str = ""


def model(inputs: Inputs) -> ModelCard:
    """The card on the model."""
    found = choose(inputs)
    return ModelCard(
        found, choice_words.take(found), choice_words.accuracy(found, inputs.metric),
        choice_words.verdict(found), choice_words.instruction(found), choice_words.says(found),
        choice_words.weak(found.classes),
        {word: rule.format(level=level(inputs.study.correlation.confidence))
         for word, rule in VERDICTS.items()},
    )  # fmt: skip


def check(inputs: Inputs) -> CheckCard:
    """The card on cheap checks."""
    choice = choose(inputs)
    found = trust_in(inputs, choice)
    return CheckCard(
        found, checks_words.verdict(found, choice), checks_words.until_then(found, choice),
        checks_words.on_target(found, choice), checks_words.not_good_enough(found.checks),
        checks_words.to_find_out(found, choice),
        lines_to_paste(found, inputs.study) if found.state == OPEN else "",
    )  # fmt: skip


def checks(inputs: Inputs) -> Tables:
    """What every cheap check would have cost on the target."""
    found = choose(inputs)
    probe = protocol_label(found.protocol) if found.protocol else "the probe that decides"
    table = table_of(
        inputs, "target_checks", f"What each check costs on {found.target.words}",
        partial(_rows, trust_in(inputs, found).checks),
    )  # fmt: skip
    return Tables(
        [table],
        intro="If you compare the models by a check and take the one that it puts first, you are "
        f"so many points behind the best model on {found.target.words}, by {probe}.",
    )


def _rows(known: Sequence[Check], _: Inputs, __: xr.Dataset) -> Filled:
    rows = [
        [
            Cell(of.label, "" if of.on_target else "not on the target’s own images"),
            Cell(of.picked),
            Cell(points(of.behind)),
            Cell(at_most(of.at_most)),
            Cell(_word(of)),
            Cell(seconds(of.seconds)),
        ]
        for of in sorted(known, key=lambda of: (of.behind, of.at_most))
    ]
    of_target = heads("picked", "target_checks.behind", "target_checks.behind_high")
    return Filled(["Check", *of_target, "Verdict", head("seconds")], rows)


def _word(of: Check) -> str:
    if of.good:
        return "as good as the best"
    return "within chance" if of.near else "differs"
