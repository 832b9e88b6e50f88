"""The report's first screen: which model, which protocol, and what is withheld and why.

All numbers are read from the statistics of results/correlation.nc.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.report.contests import Contest, contest
from pipeline.report.inputs import Inputs
from pipeline.report.predictors import (
    EMBEDDINGS,
    OF_TARGETS,
    PROTOCOL,
    TRAINED,
    Predictor,
    lone_target,
    predictors,
)
from pipeline.report.targets import first_targets
from pipeline.report.words import set_word
from pipeline.statistics.correlation import FEW_FAMILIES, MIN_FAMILIES, MIN_MODELS

MOST = {PROTOCOL: 5, EMBEDDINGS: 2, OF_TARGETS: 1, TRAINED: 1}
"""Predictors of each kind in the table of the first screen."""

_LEADERS = {
    PROTOCOL: "Best of the cheap protocols on in-domain data",
    EMBEDDINGS: "Best without any probe, from in-domain train embeddings alone",
}
_BUT_DEAR = "Only fine-tuning was scored in-domain, and it is not cheap"


@dataclass(frozen=True)
class Answers:
    """What the first screen says.

    Attributes
    ----------
    contests : tuple of Contest
    predictors : tuple of Predictor
        Best mean Spearman first; empty where withheld.
    reference : str
        What predictors are tested against, in words; empty where there is none.
    targets : str
        What is predicted, in words.
    lone_target : str
        The one target that the statistics put first, where `targets` are more; else empty.
    withheld : str
        Why there is no answer about predictors, or no interval; empty where there are both.
    families : int
    few_families : bool
        Whether intervals over families rest on few of them.
    untrained : tuple of str
        Models whose weights were never trained.
    """

    contests: tuple[Contest, ...]
    predictors: tuple[Predictor, ...]
    reference: str
    targets: str
    lone_target: str
    withheld: str
    families: int
    few_families: bool
    untrained: tuple[str, ...]

    @property
    def leaders(self) -> list[tuple[str, Predictor]]:
        """The best of each cheap kind, and what it is best of."""
        found = [
            (words, best[0]) for kind, words in _LEADERS.items() if (best := self._of_kind(kind))
        ]
        return found or [(_BUT_DEAR, dear) for dear in self._of_kind(TRAINED)[:1]]

    @property
    def shown(self) -> list[Predictor]:
        """Those of the first screen: the best of each kind, by their means."""
        chosen = [p for kind, most in MOST.items() for p in self._of_kind(kind)[:most]]
        return [p for p in self.predictors if p in chosen]

    @property
    def tested(self) -> Predictor | None:
        """The best cheap protocol that is tested against the reference."""
        return next((p for p in self._of_kind(PROTOCOL) if np.isfinite(p.difference)), None)

    @property
    def one_target(self) -> bool:
        """Whether every mean of the first screen is over one target."""
        return all(p.targets == 1 for p in self.shown)

    def _of_kind(self, kind: str) -> list[Predictor]:
        return [p for p in self.predictors if p.kind == kind]


def answer(inputs: Inputs) -> Answers:
    """Answer the two questions of a study."""
    trust = inputs.told("trust")
    found = predictors(inputs)
    families = len(set(inputs.words("family").values()))
    reference = str(inputs.told("predictor_differences").attrs.get("reference", ""))
    return Answers(
        contests=tuple(contest(inputs, protocol) for protocol in inputs.headline),
        predictors=found,
        reference=inputs.columns[reference].label if reference else "",
        targets=set_word(first_targets(trust)) if trust.data_vars else "",
        lone_target=lone_target(inputs),
        withheld=_why_withheld(inputs, found, families),
        families=families,
        few_families=MIN_FAMILIES <= families < FEW_FAMILIES,
        untrained=_untrained(inputs),
    )


def _untrained(inputs: Inputs) -> tuple[str, ...]:
    method, supervision = inputs.words("method"), inputs.words("supervision")
    entries = inputs.study.models
    return tuple(
        name
        for name in inputs.models
        if method[name] == "random"
        or supervision[name] == "none"
        or (name in entries and entries[name].weights.startswith("random("))
    )


def _why_withheld(inputs: Inputs, found: tuple[Predictor, ...], families: int) -> str:
    if not inputs.datasets("in_domain"):
        return "No data set of this study has the role in-domain, so nothing can predict."
    if not inputs.datasets("out_of_domain"):
        return "No data set of this study has the role out-of-domain: there is nothing to predict."
    if not any(inputs.scored_datasets(protocol, "out_of_domain") for protocol in inputs.headline):
        return "No out-of-domain data set has a score: there is nothing to predict."
    models = len(inputs.models)
    if models < MIN_MODELS:
        return (
            f"Withheld: a rank correlation over {models} model{'s' * (models != 1)} says nothing. "
            f"At least {MIN_MODELS} are needed."
        )
    if not found:
        return (
            f"Withheld: no pair of columns has {MIN_MODELS} models with different scores. "
            "Scores are missing or constant."
        )
    if families < MIN_FAMILIES:
        return (
            "Intervals are withheld: they leave out one model family at a time, and "
            f"{families} famil{'y is' if families == 1 else 'ies are'} too few "
            f"(at least {MIN_FAMILIES})."
        )
    return ""
