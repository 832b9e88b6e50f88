"""Differences between predictors: F1 each against in-domain linear probing, F2 normalisation.

F1 and F2 are declared families: corrected within themselves. All other pairs are exploration.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.statistics.differences import POWER, Differences, judged_together
from pipeline.statistics.evidence import Evidence
from pipeline.statistics.fidelity import Fidelity, fidelity, measure_fidelity
from pipeline.statistics.multiplicity import benjamini_hochberg
from pipeline.statistics.predictions import (
    ALL,
    OTHER_PROTOCOLS,
    mean_of_known,
    predictions,
)
from pipeline.statistics.resampling import percentile_interval
from pipeline.statistics.twins import plain_twins
from pipeline.statistics.withheld import withheld
from pipeline.study.column import Column
from pipeline.study.finetune import FINETUNE
from pipeline.study.linear import LINEAR

Floats = NDArray[np.float64]
Pair = tuple[int, int]

REFERENCE = LINEAR.name
"""The protocol that F1 compares all others with."""

_SOURCE = (
    "redrawn models and redrawn families, of both the wider interval and the larger p; max-T of "
    "Westfall & Young 1993, Holm 1979, Benjamini & Hochberg 1995 for exploration"
)
_SETS = (
    f"{OTHER_PROTOCOLS}: without targets of either one's own protocol. Withheld where the two have "
    "other targets than each other"
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
    labels = [p.name for p in found.predictors]
    reference = next((i for i, p in enumerate(found.predictors) if p.protocol == REFERENCE), None)
    sets = [OTHER_PROTOCOLS, ALL, *(q for q in found.protocols if q == FINETUNE.name)]
    names = (
        "difference", "low", "high", "new_low", "new_high", "p", "p_bh", "p_max_t", "p_holm",
        "detectable",
    )  # fmt: skip
    table = {name: np.full((len(labels), len(labels), len(sets)), np.nan) for name in names}
    pairs = [(i, j) for i in range(len(labels)) for j in range(len(labels)) if i < j]
    first = [(i, reference) for i in range(len(labels)) if i != reference and reference is not None]
    for s, name in enumerate(sets):
        every = compared(trusted, pairs, name, confidence)
        explored = benjamini_hochberg(every.p)
        new_low, new_high = on_new_targets(trusted, pairs, name, confidence)
        for k, (i, j) in enumerate(pairs):
            for a, b, sign in ((i, j, 1), (j, i, -1)):
                ends = sorted((sign * every.low[k], sign * every.high[k]))
                new_ends = sorted((sign * new_low[k], sign * new_high[k]))
                values = (sign * every.value[k], *ends, *new_ends, every.p[k], explored[k])
                for column, value in zip(names, values, strict=False):
                    table[column][a, b, s] = value
        declared = compared(trusted, first, name, confidence)
        for k, (i, j) in enumerate(first):
            for column in ("p_max_t", "p_holm", "detectable"):
                table[column][i, j, s] = getattr(declared, column)[k]
    return xr.Dataset(
        {name: (("predictor", "reference", "targets"), values) for name, values in table.items()},
        coords={"predictor": labels, "reference": labels, "targets": sets},
        attrs={
            "definition": definition,
            "source": _SOURCE,
            "interval": f"{confidence:.0%} percentiles, of each difference alone; new_low and "
            "new_high: for new targets, over families and clusters of data sets",
            "headline_targets": found.headline_set,
            "reference": "" if reference is None else labels[reference],
            "power": f"detectable: the smallest true difference that {POWER:.0%} of such studies "
            "find significant by max-T. A difference that is not significant is not zero",
            "withheld": "p_max_t, p_holm and detectable: only against the declared reference, the "
            "in-domain linear probe",
        },
    )


def normalization_tests(evidence: Evidence) -> xr.Dataset:
    """Mean ρ of predictors with normalised embeddings less that of the same without."""
    definition = (
        "mean Spearman ρ of `predictor`, with normalized embeddings, less that of `plain`, "
        f"without; {_SETS}"
    )
    pairs = [
        (Column(plain, dataset), Column(changed, dataset))
        for dataset in evidence.datasets("in_domain")
        for changed, plain in plain_twins(evidence.variants.values()).items()
    ]
    found = predictions(evidence, list(dict.fromkeys(p for pair in pairs for p in pair)))
    trusted = measure_fidelity(evidence, found) if not isinstance(found, str) else found
    if isinstance(trusted, str):
        reason = trusted if pairs else "no variant has a counterpart with another normalization"
        return withheld(definition, reason)
    place = {p: i for i, p in enumerate(trusted.found.predictors)}
    there = [(a, b) for a, b in pairs if a in place and b in place]
    sets = [OTHER_PROTOCOLS, ALL]
    confidence = evidence.settings.confidence
    results = [
        compared(trusted, [(place[b], place[a]) for a, b in there], name, confidence)
        for name in sets
    ]
    columns = ("value", "low", "high", "p", "p_max_t", "p_holm", "detectable")
    return xr.Dataset(
        {
            "difference" if c == "value" else c: (
                ("predictor", "targets"),
                np.stack([getattr(result, c) for result in results], axis=1),
            )
            for c in columns
        },
        coords={
            "predictor": [b.name for _, b in there],
            "targets": sets,
            "plain": ("predictor", [a.name for a, _ in there]),
        },
        attrs={
            "definition": definition,
            "source": _SOURCE,
            "interval": f"{confidence:.0%} percentiles, of each difference alone",
        },
    )


def compared(trusted: Fidelity, pairs: list[Pair], name: str, confidence: float) -> Differences:
    """Differences of mean ρ between predictors, over a set of targets, tested together."""
    shared = [_shared_protocols(trusted, a, b, name) for a, b in pairs]
    means = trusted.found.by_protocol(trusted.spearman)
    value = _paired(means[np.newaxis], pairs, shared)[0]
    if trusted.redraws.families is None:
        # Models of one family are alike: redrawing models alone promises too narrow an interval.
        return Differences(value, *[np.full(len(pairs), np.nan)] * 6)
    redraws = [_paired(draws, pairs, shared) for draws in trusted.redraws.over_models]
    return judged_together(value, redraws, confidence)


def on_new_targets(
    trusted: Fidelity, pairs: list[Pair], name: str, confidence: float
) -> tuple[Floats, Floats]:
    """Intervals of the same differences for other targets; NaN below 6 clusters of data sets."""
    draws = trusted.redraws.new_targets
    if draws is None or trusted.redraws.families is None:
        return np.full(len(pairs), np.nan), np.full(len(pairs), np.nan)
    shared = [_shared_protocols(trusted, a, b, name) for a, b in pairs]
    return percentile_interval(_paired(draws, pairs, shared), confidence)


def _shared_protocols(trusted: Fidelity, a: int, b: int, name: str) -> NDArray[np.bool_]:
    """Target protocols of a set for two predictors; none where their targets differ."""
    found = trusted.found
    known = np.isfinite(trusted.spearman)
    chosen = found.members(name, found.predictors[a].protocol, found.predictors[b].protocol)
    inside = chosen[found.protocol_places]
    return chosen & bool((known[a] == known[b])[inside].all())


def _paired(draws: Floats, pairs: list[Pair], shared: list[NDArray[np.bool_]]) -> Floats:
    """Mean ρ of each pair's first predictor less that of its second, shape (n_draws, n_pairs)."""
    differences = np.full((len(draws), len(pairs)), np.nan)
    for k, ((a, b), chosen) in enumerate(zip(pairs, shared, strict=True)):
        differences[:, k] = mean_of_known(draws[:, a][:, chosen] - draws[:, b][:, chosen])
    return differences
