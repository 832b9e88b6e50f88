"""The report's first screen: which model, which protocol, and what is withheld and why."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pipeline.analysis import predictor_summary
from pipeline.correlation import MIN_FAMILIES, MIN_MODELS
from pipeline.report_inputs import Inputs
from pipeline.report_paired import Contest, contest

FEW_FAMILIES = 8
"""From `MIN_FAMILIES` to below this many, intervals are shown and marked."""

PROTOCOL_WORDS = {
    "knn": "kNN",
    "linear": "linear probe",
    "fewshot": "few-shot",
    "transfer": "transferred probe",
    "predictors": "cheap predictors",
}


@dataclass(frozen=True)
class Target:
    """How a predictor does on the out-of-domain scores of one protocol.

    Attributes
    ----------
    protocol : str
    mean, lowest, highest : float
        Spearman ρ over the out-of-domain data sets.
    targets : int
        Data sets behind the mean.
    intervals, above_zero : int
        Data sets with an interval, and with one that lies above 0.
    """

    protocol: str
    mean: float
    lowest: float
    highest: float
    targets: int
    intervals: int
    above_zero: int


@dataclass(frozen=True)
class Predictor:
    """One protocol on one in-domain data set, as a predictor of out-of-domain scores."""

    protocol: str
    dataset: str
    targets: tuple[Target, ...]

    @property
    def mean(self) -> float:
        """Spearman ρ, averaged over target protocols."""
        return float(np.mean([t.mean for t in self.targets]))


@dataclass(frozen=True)
class Answers:
    """What the first screen says.

    Attributes
    ----------
    contests : mapping of protocol to Contest
    predictors : tuple of Predictor
        Best mean Spearman first; empty where withheld.
    withheld : str
        Why there is no answer about predictors, or no interval; empty where there are both.
    families : int
    few_families : bool
        Whether intervals over families rest on few of them.
    untrained : tuple of str
        Models whose weights were never trained.
    """

    contests: dict[str, Contest]
    predictors: tuple[Predictor, ...]
    withheld: str
    families: int
    few_families: bool
    untrained: tuple[str, ...]


def answer(inputs: Inputs) -> Answers:
    """Answer the two questions of a study."""
    predictors = _predictors(inputs)
    families = len({model.family for model in inputs.study.models.values()})
    return Answers(
        contests={protocol: _contest(inputs, protocol) for protocol in inputs.headline},
        predictors=tuple(predictors),
        withheld=_why_withheld(inputs, predictors, families),
        families=families,
        few_families=MIN_FAMILIES <= families < FEW_FAMILIES,
        untrained=tuple(
            name
            for name, model in inputs.study.models.items()
            if model.weights.startswith("random(")
            or model.method == "random"
            or model.supervision == "none"
        ),
    )


def _contest(inputs: Inputs, protocol: str) -> Contest:
    found = contest(inputs, protocol)
    if found.best is None or len(found.datasets) > 1:
        return found
    # One data set: its score has an exact interval already, the one that the table shows.
    cell = inputs.cube.sel(
        model=found.best,
        dataset=found.datasets[0],
        variant=inputs.headline[protocol],
        metric=inputs.metric,
    )
    return replace(found, low=float(cell["ci_low"]), high=float(cell["ci_high"]))


def _predictors(inputs: Inputs) -> list[Predictor]:
    found: dict[tuple[str, str], list[Target]] = {}
    for row in predictor_summary(inputs.cube, inputs.correlations):
        if row["coefficient"] != "spearman":
            continue
        columns = [
            f"{inputs.headline[row['target_protocol']]}@{d}"
            for d in inputs.datasets("out_of_domain")
        ]
        low = inputs.correlations["low"].sel(
            coefficient="spearman",
            predictor=f"{inputs.headline[row['protocol']]}@{row['dataset']}",
            target=columns,
        )
        target = Target(
            row["target_protocol"],
            row["mean"],
            row["lowest"],
            row["highest"],
            row["targets"],
            int(np.isfinite(low).sum()),
            int((low > 0).sum()),
        )
        found.setdefault((row["protocol"], row["dataset"]), []).append(target)
    predictors = [Predictor(*key, tuple(targets)) for key, targets in found.items()]
    return sorted(predictors, key=lambda p: -p.mean)


def _why_withheld(inputs: Inputs, predictors: list[Predictor], families: int) -> str:
    if not inputs.datasets("in_domain"):
        return "No data set of this study has the role in-domain, so nothing can predict."
    if not inputs.datasets("out_of_domain"):
        return "No data set of this study has the role out-of-domain: there is nothing to predict."
    models = len(inputs.study.models)
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
