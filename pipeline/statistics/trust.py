"""Which predictor to trust: mean correlation with the targets, for each set of targets."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.statistics.correlation import ALMOST_ONE, COEFFICIENTS, MIN_FAMILIES, Jackknife
from pipeline.statistics.evidence import Evidence
from pipeline.statistics.fidelity import (
    MIN_CLUSTERS,
    Fidelity,
    families_of,
    fidelity,
    models_of,
    without_families,
)
from pipeline.statistics.predictions import OTHER_PROTOCOLS, Predictions
from pipeline.statistics.resampling import percentile_interval
from pipeline.statistics.withheld import withheld

Floats = NDArray[np.float64]

DIMS = ("coefficient", "predictor", "targets")

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
    return xr.Dataset(
        {name: (DIMS, values) for name, values in table.items()},
        coords=coordinates(found.found) | {"coefficient": list(COEFFICIENTS)},
        attrs={
            "definition": _DEFINITION,
            "source": "plain mean, and mean of atanh r taken back (Fisher 1921)",
            "interval": f"{confidence:.0%} delete-one-family jackknife of the mean on the atanh "
            "scale, for these targets; new_low and new_high, of Spearman, for new targets: "
            "percentiles over redrawn families and clusters of data sets",
            "withheld": f"intervals below {MIN_FAMILIES} families, and for new targets below "
            f"{MIN_CLUSTERS} clusters; pearson_logit of cheap predictors, which are no accuracies",
            "headline_targets": found.found.headline_set,
        },
    )


def coordinates(found: Predictions) -> dict[str, object]:
    """Of tables by predictor and set of targets."""
    return {
        "predictor": [p.name for p in found.predictors],
        "targets": found.sets,
        "predictor_variant": ("predictor", [p.variant.full_name for p in found.predictors]),
        "predictor_dataset": ("predictor", [p.dataset for p in found.predictors]),
    }


def _means(values: Floats, found: Predictions) -> Floats:
    """Plain mean, and Fisher's, of coefficients: shape (2, ..., n_predictors, n_sets)."""
    plain = found.over_sets(found.by_protocol(values))
    z = np.arctanh(np.clip(values, -ALMOST_ONE, ALMOST_ONE))
    return np.stack([plain, np.tanh(found.over_sets(found.by_protocol(z)))])


def _intervals(trusted: Fidelity, confidence: float) -> dict[str, Floats]:
    found = trusted.found
    means = _means(trusted.observed, found)
    jackknife = Jackknife(means, confidence)
    families = families_of(found, trusted.families)[:, np.newaxis]
    known = np.isfinite(trusted.observed)
    for used, values in without_families(found, trusted.families):
        part = np.any(used, axis=1, keepdims=True)
        # A pair that is withheld stays out; one that only this deletion spoils spoils the mean.
        spoilt = (known & used & ~np.isfinite(values)).astype(float)
        whole = found.over_sets(found.by_protocol(spoilt)) > 0
        without = np.where(whole, np.nan, _means(np.where(known, values, np.nan), found))
        jackknife.leave_out(without, part)
    low, high = (np.where(families < MIN_FAMILIES, np.nan, v) for v in jackknife.interval())
    return {
        "mean": means[0],
        "low": low[0],
        "high": high[0],
        "fisher": means[1],
        "fisher_low": low[1],
        "fisher_high": high[1],
        "families": np.where(np.isnan(means[0]), np.nan, np.broadcast_to(families, means[0].shape)),
    }


def _extremes(trusted: Fidelity) -> dict[str, Floats]:
    """Lowest and highest coefficient of any target, and fewest models behind one."""
    found = trusted.found
    models = models_of(found).astype(float)
    shape = (len(COEFFICIENTS), len(found.predictors), len(found.sets))
    table = {name: np.full(shape, np.nan) for name in ("lowest", "highest", "n")}
    for p, predictor in enumerate(found.predictors):
        for s, name in enumerate(found.sets):
            inside = found.members(name, predictor.protocol)[found.protocol_places]
            for c, values in enumerate(trusted.observed[:, p]):
                chosen = inside & np.isfinite(values)
                if chosen.any():
                    table["lowest"][c, p, s] = values[chosen].min()
                    table["highest"][c, p, s] = values[chosen].max()
                    table["n"][c, p, s] = models[p, chosen].min()
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
