"""Which kinds of shift a predictor survives: its correlations, grouped by the targets' shift."""

from __future__ import annotations

import numpy as np
import xarray as xr

from pipeline.results.cube import comparable
from pipeline.statistics.arrays import Counts, Floats, Mask
from pipeline.statistics.evidence import Evidence
from pipeline.statistics.jackknife import MIN_GROUPS, jackknifed
from pipeline.statistics.panel import cluster_weights, words
from pipeline.statistics.rank_correlation import spearman
from pipeline.statistics.table import tabled, withheld

DEFINITION = (
    "mean Spearman's ρ of in-domain headline scores with headline scores on the out-of-domain "
    "data sets of one kind of shift, weighted by cluster"
)


def correlations_by_shift(evidence: Evidence) -> xr.Dataset:
    """ρ of each in-domain headline with each protocol's headline, averaged within kinds of shift.

    Returns
    -------
    Dataset
        Dimensions predictor (protocol), in_domain (data set), protocol (of the target) and shift;
        variables value, low, high (over models), lowest, highest (over data sets), datasets, n
        (fewest models behind one of them), families.
    """
    inside = evidence.datasets("in_domain")
    shifts: dict[str, list[str]] = {}
    for dataset in evidence.datasets("out_of_domain"):
        shift = str(evidence.cube["shift"].sel(dataset=dataset).item())
        if shift:
            shifts.setdefault(shift, []).append(dataset)
    if not shifts or not inside:
        return withheld(
            DEFINITION,
            "it takes data sets in domain, and others of which the study says how they are shifted",
        )
    headline = evidence.headline
    table = comparable(evidence.cube, evidence.settings.metric)
    table = table.sel(variant=list(headline.values())).transpose("model", "variant", "dataset")
    targets = [name for names in shifts.values() for name in names]
    n_models, n_protocols = len(evidence.models), len(headline)
    x = table.sel(dataset=inside).values.reshape(n_models, -1)
    y = table.sel(dataset=targets).values.reshape(n_models, -1)
    shape = (n_protocols, len(inside), n_protocols, len(targets))
    # Weights of shape (targets, shifts).
    weights = np.zeros((len(targets), len(shifts)))
    for place, names in enumerate(shifts.values()):
        rows = [targets.index(name) for name in names]
        weights[rows, place] = cluster_weights(evidence.cube, names)

    def each(kept: Mask) -> tuple[Floats, Counts]:
        found, n = spearman(x[kept], y[kept])
        return found.reshape(shape), n.reshape(shape)

    def means(kept: Mask) -> tuple[Floats, Counts]:
        found, n = each(kept)
        has = np.isfinite(found)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(has, found, 0) @ weights / (has @ weights), np.where(has, n, 0) @ (
                weights > 0
            )

    found = jackknifed(
        means, words(evidence, "family"), evidence.settings.confidence, correlation=True
    )
    everyone, n = each(np.ones(n_models, bool))
    has = np.isfinite(everyone)
    groups = [np.flatnonzero(weights[:, place]) for place in range(len(shifts))]
    over = {
        "lowest": [np.where(has, everyone, np.inf)[..., g].min(axis=-1) for g in groups],
        "highest": [np.where(has, everyone, -np.inf)[..., g].max(axis=-1) for g in groups],
        "datasets": [has[..., g].sum(axis=-1) for g in groups],
        "n": [np.where(has, n, n_models)[..., g].min(axis=-1) for g in groups],
    }
    empty = np.stack(over["datasets"], axis=-1) == 0
    stacked = {name: np.stack(values, axis=-1) for name, values in over.items()}
    for name in ("lowest", "highest"):
        stacked[name] = np.where(empty, np.nan, stacked[name])
    stacked["n"] = np.where(empty, 0, stacked["n"])
    variables = {"value": found.value, "low": found.low, "high": found.high}
    return tabled(
        {"predictor": headline, "in_domain": inside, "protocol": headline, "shift": shifts},
        variables | stacked | {"families": found.groups},
        definition=DEFINITION,
        interval=f"{evidence.settings.confidence:.0%} delete-one-family jackknife of the "
        f"mean, atanh scale; withheld below {MIN_GROUPS} families",
    )
