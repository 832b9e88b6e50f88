"""The report's first screen: which model, which protocol, and what is withheld and why.

All numbers are read from the statistics of results/correlation.nc.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from pipeline.report.contests import Contest, contest
from pipeline.report.inputs import Inputs
from pipeline.report.words import column_label, set_word
from pipeline.statistics.correlation import FEW_FAMILIES, MIN_FAMILIES, MIN_MODELS
from pipeline.statistics.predictions import ALL as EVERY

MOST_PROBES, MOST_CHEAP = 5, 3
"""Predictors in the table of the first screen."""

_NAN = float("nan")


@dataclass(frozen=True)
class Predictor:
    """One variant on one in-domain data set, as a predictor of out-of-domain scores.

    Attributes
    ----------
    label : str
        As in correlation.nc: ``protocol/variant@data set``.
    name : str
        The same in words.
    mean, low, high : float
        Spearman ρ, averaged over the targets, with its interval over model families.
    targets, models, families : int
        Behind the mean; of models the fewest behind one ρ.
    tested_on : str
        Targets of the comparison with the reference: those of both, or where the two share none of
        them all targets.
    difference, difference_low, difference_high, p, detectable : float
        From the reference on the same targets; NaN for the reference itself.
    seconds : float
        Measured, per model, embeddings given; NaN if not known.
    """

    label: str
    name: str
    mean: float
    low: float
    high: float
    targets: int
    models: int
    families: int
    tested_on: str
    difference: float
    difference_low: float
    difference_high: float
    p: float
    detectable: float
    seconds: float

    @property
    def cheap(self) -> bool:
        """Whether it is a number of the train embeddings, and judges no image."""
        return self.label.startswith("predictors/")


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
    withheld: str
    families: int
    few_families: bool
    untrained: tuple[str, ...]

    @property
    def probes(self) -> list[Predictor]:
        """Predictors that judge images: the protocols."""
        return [p for p in self.predictors if not p.cheap]

    @property
    def leaders(self) -> list[tuple[str, Predictor]]:
        """The best protocol and the best cheap predictor, and what each is best of."""
        cheap = [p for p in self.predictors if p.cheap]
        kinds = {"Best of the protocols": self.probes, "Best of the cheap predictors": cheap}
        return [(words, found[0]) for words, found in kinds.items() if found]

    @property
    def shown(self) -> list[Predictor]:
        """Those of the first screen: most protocols, and the best cheap predictors."""
        cheap = [p for p in self.predictors if p.cheap]
        chosen = [*self.probes[:MOST_PROBES], *cheap[:MOST_CHEAP]]
        return [p for p in self.predictors if p in chosen]

    @property
    def tested(self) -> Predictor | None:
        """The best protocol that is tested against the reference."""
        return next((p for p in self.probes if np.isfinite(p.difference)), None)


def answer(inputs: Inputs) -> Answers:
    """Answer the two questions of a study."""
    trust = inputs.told("trust")
    predictors = _predictors(inputs, trust)
    families = len(set(inputs.words("family").values()))
    reference = str(inputs.told("predictor_differences").attrs.get("reference", ""))
    return Answers(
        contests=tuple(contest(inputs, protocol) for protocol in inputs.headline),
        predictors=predictors,
        reference=column_label(reference) if reference else "",
        targets=set_word(str(trust.attrs.get("headline_targets", "all"))),
        withheld=_why_withheld(inputs, predictors, families),
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


def _predictors(inputs: Inputs, trust: xr.Dataset) -> tuple[Predictor, ...]:
    if not trust.data_vars:
        return ()
    chosen = str(trust.attrs["headline_targets"])
    table = trust.sel(coefficient="spearman", targets=chosen)
    found = []
    for label in map(str, table["predictor"].values):
        of = table.sel(predictor=label)
        if not np.isfinite(of["mean"]):
            continue
        found.append(
            Predictor(
                label=label,
                name=column_label(label),
                mean=float(of["mean"]),
                low=float(of["low"]),
                high=float(of["high"]),
                targets=_count(of["n_targets"]),
                models=_count(of["n"]),
                families=_count(of["families"]),
                **_against_reference(inputs, label, chosen),
                seconds=_seconds(inputs, label, chosen),
            )
        )
    return tuple(sorted(found, key=lambda p: -p.mean))


_DIFFERENCE = {
    "difference": "difference", "difference_low": "low", "difference_high": "high",
    "p": "p_max_t", "detectable": "detectable",
}  # fmt: skip


def _count(value: xr.DataArray) -> int:
    return int(value) if np.isfinite(value) else 0


def _against_reference(inputs: Inputs, label: str, targets: str) -> dict[str, Any]:
    found = inputs.told("predictor_differences")
    reference = str(found.attrs.get("reference", ""))
    offered = found["targets"].values if found.data_vars and reference else ()
    for name in (targets, EVERY):
        if name in offered:
            cell = found.sel(predictor=label, reference=reference, targets=name)
            if np.isfinite(cell["difference"]):
                return {"tested_on": set_word(name)} | {
                    key: float(cell[variable]) for key, variable in _DIFFERENCE.items()
                }
    return {"tested_on": ""} | dict.fromkeys(_DIFFERENCE, _NAN)


def _seconds(inputs: Inputs, label: str, targets: str) -> float:
    found = inputs.told("fidelity_cost")
    if not found.data_vars or label not in found["predictor"].values:
        return _NAN
    return float(found["seconds"].sel(predictor=label, targets=targets))


def _why_withheld(inputs: Inputs, predictors: tuple[Predictor, ...], families: int) -> str:
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
    if not predictors:
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
