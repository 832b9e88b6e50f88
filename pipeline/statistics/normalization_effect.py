"""What a normalisation before the head or the neighbours changes: accuracy, and the ranking.

A variant is compared with its twin without the normalisation, on the same cells: z-scored features
(``…_zscore``), or a BatchNorm before a head trained by gradient descent (``…_bn``). A converged
linear probe absorbs an affine map: where the effect is there at the study's fixed learning rate and
gone with a tuned one (``…_tuned``) and in closed form (``linear/ridge``, ``linear/logistic``), it
was optimisation. Each of these is a row of its own.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.results.cube import comparable
from pipeline.statistics.arrays import Counts, Floats, Mask
from pipeline.statistics.evidence import Evidence
from pipeline.statistics.jackknife import MIN_GROUPS, Estimate, jackknifed
from pipeline.statistics.panel import MEAN, cluster_weights, words
from pipeline.statistics.rank_correlation import spearman
from pipeline.statistics.table import tabled, withheld
from pipeline.statistics.twins import plain_twins

NO_PAIRS = "no protocol was run with and without a normalization"


AFFINE = ("zscore", "bn")
"""Normalisations whose effect is shown; what the others do to a ranking is tested elsewhere."""


def normalization_effect(evidence: Evidence) -> xr.Dataset:
    """Accuracy with minus without, paired by model.

    Returns
    -------
    Dataset
        Dimensions variant (the normalised one) and dataset (with ``mean``, over models that have
        all data sets); variables without, difference, low, high, n, families. Coordinate plain
        names the twin.
    """
    definition = "mean over models of the accuracy with a normalization minus that without"
    pairs, table = _pairs(evidence)
    if not pairs:
        return withheld(definition, NO_PAIRS)
    datasets = evidence.datasets()
    plain = table.sel(variant=list(pairs.values())).values
    change = table.sel(variant=list(pairs)).values - plain
    plain = np.where(np.isfinite(change), plain, np.nan)
    plain, change = (_with_mean(evidence, v, datasets) for v in (plain, change))

    def means(values: Floats, kept: Mask) -> tuple[Floats, Counts]:
        n = np.isfinite(values[kept]).sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.nansum(values[kept], axis=0) / n, n

    found = jackknifed(
        lambda kept: means(change, kept),
        words(evidence, "family"),
        evidence.settings.confidence,
    )
    without, _ = means(plain, np.ones(len(plain), bool))
    return tabled(
        {"variant": pairs, "dataset": [*datasets, MEAN]},
        _columns(without, found),
        {"plain": ("variant", list(pairs.values()))},
        definition=definition,
        interval=f"{evidence.settings.confidence:.0%} delete-one-family jackknife, t with G-1 "
        f"degrees of freedom; withheld below {MIN_GROUPS} families",
    )


def normalization_ranking(evidence: Evidence) -> xr.Dataset:
    """Spearman's ρ with out-of-domain headline scores, with minus without.

    Returns
    -------
    Dataset
        Dimensions variant (the normalised one), predictor (an in-domain data set), protocol (of
        the target) and target (out-of-domain data sets, and their ``mean``); variables without,
        difference, low, high, n, families. Coordinate plain names the twin.
    """
    definition = (
        "Spearman's ρ of in-domain scores with headline scores out of domain: with a "
        "normalization minus without; the mean weighs data sets by cluster"
    )
    inside, outside = (evidence.datasets(f"{where}_domain") for where in ("in", "out_of"))
    pairs, table = _pairs(evidence)
    if not pairs:
        return withheld(definition, NO_PAIRS)
    if not inside or not outside:
        return withheld(definition, f"no data set is {'out of' if inside else 'in'} domain")
    scored = table.sel(dataset=inside).notnull().any(("model", "dataset"))
    pairs = {k: v for k, v in pairs.items() if scored.sel(variant=[k, v]).all()}
    if not pairs:
        return withheld(definition, "no in-domain data set has scores with and without one")
    headline = evidence.headline
    n_models = len(evidence.models)
    x = [
        table.sel(variant=list(names), dataset=inside).values.reshape(n_models, -1)
        for names in (pairs, pairs.values())
    ]
    y = table.sel(variant=list(headline.values()), dataset=outside).values.reshape(n_models, -1)
    both = np.isfinite(x[0]) & np.isfinite(x[1])
    x = [np.where(both, part, np.nan) for part in x]  # the same models on both sides
    shape = (len(pairs), len(inside), len(headline), len(outside))
    weights = cluster_weights(evidence.cube, outside)

    def rho(values: Floats, kept: Mask) -> tuple[Floats, Counts]:
        each, models = spearman(values[kept], y[kept])
        found, n = each.reshape(shape), models.reshape(shape)
        mean, fewest = _target_mean(found, n, weights)
        return np.concatenate([found, mean], axis=-1), np.concatenate([n, fewest], axis=-1)

    def change(kept: Mask) -> tuple[Floats, Counts]:
        with_it, n = rho(x[0], kept)
        return with_it - rho(x[1], kept)[0], n

    found = jackknifed(change, words(evidence, "family"), evidence.settings.confidence)
    without, _ = rho(x[1], np.ones(n_models, bool))
    return tabled(
        {
            "variant": pairs,
            "predictor": inside,
            "protocol": headline,
            "target": [*outside, MEAN],
        },
        _columns(without, found),
        {"plain": ("variant", list(pairs.values()))},
        definition=definition,
        interval=f"{evidence.settings.confidence:.0%} delete-one-family jackknife of the "
        f"difference; withheld below {MIN_GROUPS} families",
    )


def _pairs(evidence: Evidence) -> tuple[dict[str, str], xr.DataArray]:
    cube = evidence.cube
    table = comparable(cube, evidence.settings.metric).transpose("model", "variant", "dataset")
    twins = {
        variant.full_name: plain.full_name
        for variant, plain in plain_twins(evidence.variants.values()).items()
        if variant.normalization in AFFINE
    }
    return twins, table


def _with_mean(evidence: Evidence, values: Floats, datasets: list[str]) -> Floats:
    """With the mean over those data sets that any model has, for the models that have them all."""
    mean = np.full((*values.shape[:2], 1), np.nan)
    for place in range(values.shape[1]):
        used = np.isfinite(values[:, place]).any(axis=0)
        if used.any():
            chosen = [datasets[column] for column in np.flatnonzero(used)]
            mean[:, place, 0] = values[:, place, used] @ cluster_weights(evidence.cube, chosen)
    return np.concatenate([values, mean], axis=-1)


def _target_mean(rho: Floats, n: Counts, weights: Floats) -> tuple[Floats, Counts]:
    """Weighted mean over the targets that have a ρ, and the fewest models behind one of them."""
    has = np.isfinite(rho)
    total = (has * weights).sum(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (np.where(has, rho, 0) * weights).sum(axis=-1, keepdims=True) / total
    most = np.iinfo(np.int64).max
    fewest = np.where(has, n, most).min(axis=-1, keepdims=True, initial=most)
    return mean, np.where(total > 0, fewest, 0)


def _columns(without: Floats, found: Estimate) -> dict[str, NDArray[np.number]]:
    return {
        "without": without,
        "difference": found.value,
        "low": found.low,
        "high": found.high,
        "n": found.n,
        "families": found.groups,
    }
