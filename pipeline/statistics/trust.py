"""Which predictor to trust: mean correlation with the targets, for each set of targets."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.statistics.arrays import Floats, Mask, Words
from pipeline.statistics.correlation import COEFFICIENTS, MIN_FAMILIES
from pipeline.statistics.evidence import Evidence
from pipeline.statistics.fidelity import (
    MIN_CLUSTERS,
    Fidelity,
    families_of,
    fidelity,
    models_of,
    without_each,
)
from pipeline.statistics.fisher_z import ALMOST_ONE, least_errors, limits, z_of
from pipeline.statistics.jackknife import MIN_GROUPS, Jackknife
from pipeline.statistics.predictions import OTHER_PROTOCOLS, Predictions
from pipeline.statistics.resampling import percentile_interval
from pipeline.statistics.table import tabled, withheld

_DEFINITION = (
    "Mean over out-of-domain targets of the correlation over models between predictor and target; "
    "protocols of targets weigh alike, within a protocol clusters of data sets, within a cluster "
    f"data sets. {OTHER_PROTOCOLS}: without targets of the predictor's own protocol"
)


def trust(evidence: Evidence) -> xr.Dataset:
    """How well each predictor ranks models on the targets, with intervals."""
    found = fidelity(evidence)
    if isinstance(found, str):
        return withheld(_DEFINITION, found)
    confidence = evidence.settings.confidence
    table = _intervals(found, confidence)
    table |= _extremes(found)
    table["new_low"], table["new_high"] = _new_targets(found, confidence)
    known = np.isfinite(found.observed)
    counts = [found.found.counts(k) for k in known]
    table["n_targets"] = np.stack([t for t, _ in counts]).astype(float)
    table["n_clusters"] = np.stack([c for _, c in counts]).astype(float)
    return tabled(
        {
            "coefficient": COEFFICIENTS,
            "predictor": found.found.names,
            "targets": found.found.sets,
        },
        table,
        found.found.words,
        definition=_DEFINITION,
        source="plain mean, and mean of atanh r taken back (Fisher 1921)",
        interval=f"{confidence:.0%} delete-one-family jackknife of the mean on the atanh "
        "scale, for these targets; over_models: 1 where single models are left out, as one "
        f"target has fewer than {MIN_FAMILIES} families. new_low and new_high, of Spearman, "
        "for new targets: percentiles over redrawn families and clusters of data sets",
        withheld=f"intervals below {MIN_GROUPS} models, and for new targets below "
        f"{MIN_CLUSTERS} clusters; pearson_logit of transferability metrics, which are no "
        "accuracies",
        headline_targets=found.found.headline_set,
    )


def _means(values: Floats, at: Floats, found: Predictions) -> Floats:
    """Plain mean, and Fisher's, of coefficients: shape (2, ..., n_predictors, n_sets)."""
    plain = found.over_sets(found.by_protocol(values))
    z = found.over_sets(found.by_protocol(z_of(values, at)))
    return np.stack([plain, np.tanh(z)])


def _intervals(trusted: Fidelity, confidence: float) -> dict[str, Floats]:
    found = trusted.found
    known = np.isfinite(trusted.observed)
    counts = {
        "families": _fewest(families_of(found, trusted.families), known, found),
        "n": _fewest(models_of(found), known, found),
    }
    few = (counts["families"] < MIN_FAMILIES) & (counts["n"] >= MIN_GROUPS)
    means, low, high = _jackknifed(trusted, trusted.families, counts["families"], confidence)
    if few.any():
        models = np.arange(len(found.models)).astype(np.str_)
        _, *ends = _jackknifed(trusted, models, counts["n"], confidence)
        low, high = (
            np.where(few, of_models, of_families)
            for of_models, of_families in zip(ends, (low, high), strict=True)
        )
    return {
        "mean": means[0],
        "low": low[0],
        "high": high[0],
        "fisher": means[1],
        "fisher_low": low[1],
        "fisher_high": high[1],
        "over_models": np.where(np.isnan(low[0]), np.nan, few.astype(float)),
        **counts,
    }


def _jackknifed(
    trusted: Fidelity, units: Words, counts: Floats, confidence: float
) -> tuple[Floats, Floats, Floats]:
    """Both means with their intervals, each of shape (2, n_coefficients, n_predictors, n_sets)."""
    found = trusted.found
    known = np.isfinite(trusted.observed)
    at = limits(models_of(found))
    means = _means(trusted.observed, at, found)
    jackknife = Jackknife(means, confidence, _limits_of_means(at, known, found))
    for part in without_each(found, units):
        # A pair that is withheld stays out; one that only this deletion spoils spoils the mean.
        spoilt = (known & part.used & ~np.isfinite(part.values)).astype(float)
        whole = found.over_sets(found.by_protocol(spoilt)) > 0
        left = limits(part.n)
        values = _means(np.where(known, part.values, np.nan), left, found)
        any_used = (known & part.used).astype(float)
        jackknife.leave_out(
            np.where(whole, np.nan, values),
            found.over_sets(found.by_protocol(any_used)) > 0,
            _limits_of_means(left, known, found),
        )
    n = _fewest(models_of(found), known, found)
    clipped = np.tanh(z_of(means, _limits_of_means(at, known, found)))
    least = np.stack([least_errors(values, n) for values in clipped])
    low, high = (np.where(counts < MIN_GROUPS, np.nan, end) for end in jackknife.interval(least))
    return means, low, high


def _limits_of_means(at: Floats, known: Mask, found: Predictions) -> Floats:
    """Where means are clipped: at the mean of their targets' limits; Fisher's were clipped."""
    plain = found.over_sets(found.by_protocol(np.where(known, at, np.nan)))
    return np.stack([plain, np.full_like(plain, ALMOST_ONE)])


def _fewest(counts: NDArray[np.int64], known: Mask, found: Predictions) -> Floats:
    """Fewest behind any known coefficient, shape (n_coefficients, n_predictors, n_sets)."""
    shape = (len(COEFFICIENTS), len(found.predictors), len(found.sets))
    fewest = np.full(shape, np.nan)
    for p, predictor in enumerate(found.predictors):
        for s, name in enumerate(found.sets):
            inside = found.members(name, predictor.protocol)[found.protocol_places]
            for c in range(len(COEFFICIENTS)):
                chosen = known[c, p] & inside
                if chosen.any():
                    fewest[c, p, s] = counts[p, chosen].min()
    return fewest


def _extremes(trusted: Fidelity) -> dict[str, Floats]:
    """Lowest and highest coefficient of any target."""
    found = trusted.found
    shape = (len(COEFFICIENTS), len(found.predictors), len(found.sets))
    table = {name: np.full(shape, np.nan) for name in ("lowest", "highest")}
    for p, predictor in enumerate(found.predictors):
        for s, name in enumerate(found.sets):
            inside = found.members(name, predictor.protocol)[found.protocol_places]
            for c, values in enumerate(trusted.observed[:, p]):
                chosen = inside & np.isfinite(values)
                if chosen.any():
                    table["lowest"][c, p, s] = values[chosen].min()
                    table["highest"][c, p, s] = values[chosen].max()
    return table


def _new_targets(trusted: Fidelity, confidence: float) -> tuple[Floats, Floats]:
    """Of Spearman, for sets with enough clusters."""
    found = trusted.found
    shape = (len(COEFFICIENTS), len(found.predictors), len(found.sets))
    low, high = np.full(shape, np.nan), np.full(shape, np.nan)
    if trusted.redraws.new_targets is None:
        return low, high
    _, clusters = found.counts(np.isfinite(trusted.spearman))
    ends = percentile_interval(found.over_sets(trusted.redraws.new_targets), confidence)
    spearman = COEFFICIENTS.index("spearman")
    for whole, end in zip((low, high), ends, strict=True):
        whole[spearman] = np.where(clusters < MIN_CLUSTERS, np.nan, end)
    return low, high
