"""The report's first screen: which model, which protocol, and what is withheld and why.

All numbers are read from the statistics of results/correlation.nc.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.report.contests import Contest, contest
from pipeline.report.inputs import Inputs
from pipeline.report.once import once
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
from pipeline.statistics.advice import Advice, advices
from pipeline.statistics.correlation import FEW_FAMILIES, MIN_FAMILIES, MIN_MODELS
from pipeline.statistics.jackknife import MIN_GROUPS
from pipeline.statistics.statements import ALPHA, against_reference, chance_of_order
from pipeline.statistics.written import counted, families_given, models_of, rho

MOST = {PROTOCOL: 5, EMBEDDINGS: 2, OF_TARGETS: 1, TRAINED: 1}
"""Predictors of each kind in the table of the first screen."""

_LEADERS = {
    PROTOCOL: "Highest of the cheap protocols on in-domain data",
    EMBEDDINGS: "Highest without any probe, from in-domain train embeddings alone",
}
_BUT_DEAR = "Only fine-tuning was scored in-domain, and it is not cheap"


@dataclass(frozen=True)
class Answers:
    """What the first screen says.

    Attributes
    ----------
    contests : tuple of Contest
        By the protocol that decides first.
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
    families_given : bool
        Whether the family of any model is known.
    few_families : bool
        Whether intervals over families rest on few of them.
    advices : tuple of Advice
        Which evaluation to use, of the headline's targets first, then of each protocol's.
    """

    contests: tuple[Contest, ...]
    predictors: tuple[Predictor, ...]
    reference: str
    targets: str
    lone_target: str
    withheld: str
    families: int
    few_families: bool
    advices: tuple[Advice, ...] = ()
    families_given: bool = True

    def against(self, of: Predictor) -> str:
        """How a predictor compares with the reference; of the reference, how the next one does."""
        shown = self.tested if of.name == self.reference else of
        if shown is None or not np.isfinite(shown.difference):
            return ""
        said = against_reference(
            shown.name, self.reference, shown.difference, shown.difference_low,
            shown.difference_high, shown.p, shown.comparisons,
        )  # fmt: skip
        if shown.p >= ALPHA and np.isfinite(shown.detectable):
            said += (
                f" With these models, only a true difference of about {rho(shown.detectable)} or "
                "more would have shown up in 4 of 5 such studies."
            )
        return said

    def resting_on(self, of: Predictor) -> str:
        """Models, families and targets behind a predictor's number, and of how many it is first."""
        compared = len(self.predictors)
        spread = (
            f" On single targets ρ is {rho(of.lowest)} to {rho(of.highest)}."
            if of.targets > 1
            else ""
        )
        together = "both" if compared == 2 else f"all {compared}"
        highest = (
            f" The interval holds for {together} compared at once, so also for the highest."
            if compared > 1 and np.isfinite(of.low)
            else ""
        )
        return (
            f"Over {models_of(of.models, of.families, given=self.families_given)} "
            f"and {counted(of.targets, 'target')} that all compared predictors have."
            f"{spread}{highest}"
        )

    @property
    def protocols(self) -> list[str]:
        """Protocols of the targets, where there are several."""
        found = list(self.predictors[0].by_protocol) if self.predictors else []
        return found if len(found) > 1 else []

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


@once
def answer(inputs: Inputs) -> Answers:
    """What the study as a whole says, over all data sets: the evidence beside the answer."""
    table = inputs.told("comparison")
    found = predictors(inputs)
    families = len(set(inputs.words("family").values()))
    reference = str(inputs.told("predictor_differences").attrs.get("reference", ""))
    return Answers(
        contests=tuple(
            contest(inputs, protocol)
            for protocol in sorted(inputs.headline, key=lambda name: name != inputs.decides)
        ),
        predictors=found,
        reference=inputs.columns[reference].label if reference else "",
        targets=set_word(first_targets(table)) if table.data_vars else "",
        lone_target=lone_target(inputs),
        withheld=_why_withheld(inputs, found),
        families=families,
        few_families=MIN_FAMILIES <= families < FEW_FAMILIES,
        advices=advices(inputs.statistics, inputs.columns),
        families_given=families_given(inputs.words("family").values()),
    )


def _why_withheld(inputs: Inputs, found: tuple[Predictor, ...]) -> str:
    if not inputs.datasets("in_domain"):
        return "No data set of this study has the role in-domain, so nothing can predict."
    if not inputs.datasets("out_of_domain"):
        return "No data set of this study has the role out-of-domain: there is nothing to predict."
    if not any(inputs.scored_datasets(protocol, "out_of_domain") for protocol in inputs.headline):
        return "No out-of-domain data set has a score: there is nothing to predict."
    models = len(inputs.models)
    if models < MIN_MODELS:
        return (
            f"Withheld: a rank correlation over {counted(models, 'model')} says nothing. "
            f"At least {MIN_MODELS} are needed."
        )
    if not found:
        return (
            f"Withheld: no pair of columns has {MIN_MODELS} models with different scores. "
            "Scores are missing or constant."
        )
    if not np.isfinite([p.low for p in found]).any():
        fewest = min(p.models for p in found)
        return (
            f"Intervals are withheld: {counted(fewest, 'model')} in common are too few (at least "
            f"{MIN_GROUPS}); {chance_of_order(fewest)}."
        )
    return ""
