"""Differences between predictors: F1 each against in-domain linear probing, F2 normalisation.

F1 and F2 are declared families: corrected within themselves. All other pairs are exploration.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from pipeline.statistics.arrays import Floats, Mask
from pipeline.statistics.correlation import MIN_FAMILIES
from pipeline.statistics.differences import POWER, Differences, judged_together, untested
from pipeline.statistics.evidence import Evidence
from pipeline.statistics.fidelity import Fidelity, Redraws, fidelity, measure_fidelity
from pipeline.statistics.multiplicity import benjamini_hochberg
from pipeline.statistics.paired import Pair, Paired, draws_of, paired
from pipeline.statistics.predictions import ALL, OTHER_PROTOCOLS, predictions
from pipeline.statistics.resampling import percentile_interval
from pipeline.statistics.table import blank, fill, tabled, withheld
from pipeline.statistics.twins import plain_twins
from pipeline.study.column import Column
from pipeline.study.finetune import FINETUNE
from pipeline.study.linear import LINEAR

MOST_ROWS = 300
"""Different orders to redraw: beyond, only the declared pairs are compared."""

REFERENCE = LINEAR.name
"""The protocol that F1 compares all others with."""

NUMBERS = (
    "difference", "low", "high", "new_low", "new_high", "p", "p_bh", "p_max_t", "p_holm",
    "detectable", "joint_low", "joint_high",
)  # fmt: skip

_SOURCE = (
    "redrawn models and redrawn families, of both the wider interval and the larger p; max-T of "
    "Westfall & Young 1993, Holm 1979, Benjamini & Hochberg 1995 for exploration"
)
_SETS = (
    f"{OTHER_PROTOCOLS}: without targets of either one's own protocol. On each target over the "
    "models that both have, and over the targets that both have"
)


def predictor_differences(evidence: Evidence) -> xr.Dataset:
    """Mean ρ of each predictor less that of each other one, on the same models and targets."""
    definition = (
        f"mean Spearman ρ of `predictor` less that of `reference` over the same targets; {_SETS}"
    )
    trusted = fidelity(evidence)
    if isinstance(trusted, str):
        return withheld(definition, trusted)
    found, confidence = trusted.found, evidence.settings.confidence
    reference = next((i for i, p in enumerate(found.predictors) if p.protocol == REFERENCE), None)
    shared = [OTHER_PROTOCOLS, ALL, *(q for q in found.protocols if q == FINETUNE.name)]
    sets = [*shared, *(q for q in found.protocols if q not in shared)]
    names = found.names
    labels = {"predictor": names, "reference": names, "targets": sets}
    table = blank(labels, NUMBERS)
    first = [(i, reference) for i in range(len(names)) if i != reference and reference is not None]
    contests = contests_of(trusted, _explored(trusted, first))
    declared = contests.of(first)
    for s, name in enumerate(sets):
        columns = dict(vars(compared(declared, name, confidence)))
        if name in shared:
            columns["new_low"], columns["new_high"] = on_new_targets(declared, name, confidence)
            _explore(contests, table, s, name, confidence)
        for k, (i, j) in enumerate(first):
            fill(table, (i, j, s), {column: values[k] for column, values in columns.items()})
    return tabled(
        labels,
        table,
        definition=definition,
        source=_SOURCE,
        interval=f"{confidence:.0%} percentiles, of each difference alone; joint_low and "
        "joint_high: for all comparisons with the reference at once, by max-T; new_low and "
        "new_high: for new targets, over families and clusters of data sets",
        headline_targets=found.headline_set,
        reference="" if reference is None else names[reference],
        power=f"detectable: the smallest true difference that {POWER:.0%} of such studies "
        "find significant by max-T. A difference that is not significant is not zero",
        withheld="p_max_t, p_holm and detectable: only against the declared reference, the "
        f"in-domain linear probe; intervals and p below {MIN_FAMILIES} families; pairs other "
        "than with the reference on targets of a single protocol, and all of them where scores "
        f"are missing in more than {MOST_ROWS} different ways",
    )


def _explored(trusted: Fidelity, first: list[Pair]) -> list[Pair]:
    """The declared pairs, and all others unless gaps make too much of them."""
    rows = range(len(trusted.found.predictors))
    pairs = [(i, j) for i in rows for j in rows if i < j]
    whole = [*first, *pairs]
    many = len(paired(trusted.found, trusted.spearman, whole).found.pick) > MOST_ROWS
    return first if many else whole


def _explore(
    contests: Contests,
    table: dict[str, Floats],
    place: int,
    name: str,
    confidence: float,
) -> None:
    """Fill in what is no declared test: all pairs, each alone."""
    pairs = [(i, j) for i, j in contests.pairs if i < j]
    some = contests.of(pairs)
    every = compared(some, name, confidence)
    explored = benjamini_hochberg(every.p)
    new_low, new_high = on_new_targets(some, name, confidence)
    for k, (i, j) in enumerate(pairs):
        for a, b, sign in ((i, j, 1), (j, i, -1)):
            low, high = sorted((sign * every.low[k], sign * every.high[k]))
            lowest, highest = sorted((sign * new_low[k], sign * new_high[k]))
            values = {
                "difference": sign * every.difference[k], "low": low, "high": high,
                "new_low": lowest, "new_high": highest, "p": every.p[k], "p_bh": explored[k],
            }  # fmt: skip
            fill(table, (a, b, place), values)


def normalization_tests(evidence: Evidence) -> xr.Dataset:
    """Mean ρ of predictors with normalised embeddings less that of the same without."""
    definition = (
        "mean Spearman ρ of `predictor`, with normalized embeddings, less that of `plain`, "
        f"without; {_SETS}"
    )
    twins = plain_twins(evidence.variants.values())
    pairs = [
        (Column(plain, dataset), Column(changed, dataset))
        for dataset in evidence.datasets("in_domain")
        for changed, plain in twins.items()
    ]
    found = predictions(evidence, list(dict.fromkeys(p for pair in pairs for p in pair)))
    trusted = measure_fidelity(evidence, found) if not isinstance(found, str) else found
    if isinstance(trusted, str):
        reason = trusted if twins else "no variant has a counterpart with another normalization"
        return withheld(definition, reason)
    place = {p: i for i, p in enumerate(trusted.found.predictors)}
    there = [(a, b) for a, b in pairs if a in place and b in place]
    sets = [OTHER_PROTOCOLS, ALL]
    confidence = evidence.settings.confidence
    contests = contests_of(trusted, [(place[b], place[a]) for a, b in there])
    results = [compared(contests, name, confidence) for name in sets]
    columns = ("difference", "low", "high", "p", "p_max_t", "p_holm", "detectable")
    return tabled(
        {"predictor": [b.name for _, b in there], "targets": sets},
        {c: np.stack([getattr(result, c) for result in results], axis=1) for c in columns},
        {"plain": ("predictor", [a.name for a, _ in there])},
        definition=definition,
        source=_SOURCE,
        interval=f"{confidence:.0%} percentiles, of each difference alone",
    )


@dataclass(frozen=True)
class Contests:
    """Pairs of predictors on what both have, with their redraws.

    Attributes
    ----------
    both : Paired
    redraws : Redraws
        Of the rows of `both`.
    pairs : tuple of (int, int)
        The predictors' places.
    """

    both: Paired
    redraws: Redraws
    pairs: tuple[Pair, ...]

    def of(self, pairs: list[Pair]) -> Contests:
        """Some of the pairs."""
        return replace(
            self, both=self.both.of([self.pairs.index(p) for p in pairs]), pairs=tuple(pairs)
        )

    def chosen(self, name: str) -> Mask:
        """Target protocols of a set for each pair, shape (n_pairs, n_protocols)."""
        found = self.both.found
        own = [p.protocol for p in found.predictors]
        rows = [found.members(name, own[a], own[b]) for a, b in self.pairs]
        return np.array(rows, bool).reshape(len(rows), len(found.protocols))


def contests_of(trusted: Fidelity, pairs: list[Pair]) -> Contests:
    """Pairs of predictors, each on the targets and models that both have."""
    both = paired(trusted.found, trusted.spearman, pairs)
    redraws = draws_of(both, trusted.redraws, trusted.families, new=True)
    return Contests(both, redraws, tuple(pairs))


def compared(contests: Contests, name: str, confidence: float) -> Differences:
    """Differences of mean ρ between predictors, over a set of targets, tested together."""
    chosen = contests.chosen(name)
    value = contests.both.value(chosen)
    if contests.redraws.families is None:
        # Models of one family are alike: redrawing models alone promises too narrow an interval.
        return untested(value)
    redraws = [contests.both.differences(d, chosen) for d in contests.redraws.over_models]
    return judged_together(value, redraws, confidence)


def on_new_targets(contests: Contests, name: str, confidence: float) -> tuple[Floats, Floats]:
    """Intervals of the same differences for other targets; NaN below 6 clusters of data sets."""
    draws = contests.redraws.new_targets
    if draws is None or contests.redraws.families is None:
        nothing = np.full(len(contests.pairs), np.nan)
        return nothing, nothing
    differences = contests.both.differences(draws, contests.chosen(name))
    return percentile_interval(differences, confidence)
