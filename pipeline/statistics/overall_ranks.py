"""Ranks of the models across data sets, every cluster of data sets weighing the same."""

from __future__ import annotations

import numpy as np
import scipy
import xarray as xr
from numpy.typing import NDArray

from pipeline.results.cube import same_metric
from pipeline.statistics.arrays import Counts, Floats, Mask
from pipeline.statistics.evidence import Evidence
from pipeline.statistics.jackknife import MIN_GROUPS, jackknifed
from pipeline.statistics.panel import MEAN, clusters_of, headline_panel, weights_of
from pipeline.statistics.rank_sets import ranks_of
from pipeline.statistics.table import tabled, withheld

NUMBERS = (
    "mean", "low", "high", "rank", "win_rate", "win_low", "win_high", "win_rank", "borda",
    "datasets", "clusters",
)  # fmt: skip


def overall_ranks(evidence: Evidence) -> xr.Dataset:
    """Mean logit accuracy, mean pairwise win rate, and Borda points on complete blocks.

    Returns
    -------
    Dataset
        Dimensions protocol and model; variables of `NUMBERS`: mean, low, high (of logit accuracy,
        told as an accuracy; NaN for a model that lacks a data set), its rank, win_rate with
        win_low and win_high (over the data sets that two models share) and its rank, borda (mean
        share of the other models that are worse; only where no model lacks a data set), datasets
        and clusters of that model.
    """
    definition = (
        "over data sets, weighted by cluster: mean logit accuracy (told as an accuracy), and the "
        "mean over the other models of the share of data sets on which a model is better (ties "
        "half)"
    )
    if not evidence.headline:
        return withheld(definition, "no protocol that judges images")
    panel = headline_panel(evidence)
    names = [d for d in panel["dataset"].values if d != MEAN]
    table = panel.sel(scale="logit", dataset=names).transpose("protocol", "model", "dataset").values
    of_one = [
        np.isin(evidence.datasets(), same_metric(evidence.cube, evidence.settings.metric, variant))
        for variant in evidence.headline.values()
    ]
    parts = [_one(evidence, scores, same) for scores, same in zip(table, of_one, strict=True)]
    return tabled(
        {"protocol": evidence.headline, "model": evidence.models},
        {name: np.stack([part[name] for part in parts]) for name in NUMBERS},
        definition=definition,
        interval=f"{evidence.settings.confidence:.0%} delete-one-cluster jackknife: for "
        f"new data sets; withheld below {MIN_GROUPS} clusters",
        borda="depends on the pool: another model may change the order of two others",
        withheld="the mean of a model that lacks a data set; Borda unless blocks are complete",
    )


def win_rates(scores: Floats, weights: Floats) -> Floats:
    """Mean over the other models of the weighted share of shared data sets won; ties count half.

    Parameters
    ----------
    scores : ndarray of shape (n_models, n_datasets)
        NaN where missing.
    weights : ndarray of shape (n_datasets,)

    Returns
    -------
    ndarray of shape (n_models,)
    """
    present = np.isfinite(scores)
    if present.all():  # no pair needs to be looked at: of n models n - rank are worse
        shares = (len(scores) - ranks_of(scores.T)) / max(len(scores) - 1, 1)
        if len(scores) < 2 or not weights.sum():
            return np.full(len(scores), np.nan)
        won: Floats = weights @ shares / weights.sum()
        return won
    wins, shared = np.zeros((2, len(scores), len(scores)))
    for column, weight in enumerate(weights):
        y, has = scores[:, column], present[:, column]
        both = np.outer(has, has)
        wins += weight * np.where(both, 0.5 * (np.sign(y[:, np.newaxis] - y) + 1), 0.0)
        shared += weight * both
    np.fill_diagonal(shared, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = np.where(shared > 0, wins / shared, 0.0)
        mean: Floats = rate.sum(axis=1) / (shared > 0).sum(axis=1)
    return mean


def _one(evidence: Evidence, scores: Floats, same: Mask) -> dict[str, NDArray[np.number]]:
    """The variables of one protocol; `scores` are logits of shape (n_models, n_datasets).

    `same`: data sets of one metric, over which the mean is; wins are over all.
    """
    used = np.flatnonzero(np.isfinite(scores).any(axis=0))
    datasets = [evidence.datasets()[column] for column in used]
    scores, n_models = scores[:, used], len(scores)
    same = same[used]
    if not datasets:
        return dict.fromkeys(NUMBERS, np.full(n_models, np.nan))
    clusters = clusters_of(evidence.cube, datasets)

    def statistic(kept: Mask) -> tuple[Floats, Counts]:
        left = scores[:, kept]
        weights = weights_of(clusters[kept])
        meant = same[kept]
        if meant.any():
            mean = left[:, meant] @ weights_of(clusters[kept][meant])
        else:
            mean = np.full(n_models, np.nan)
        with np.errstate(invalid="ignore"):
            found = np.stack([mean, win_rates(left, weights)])
        return found, np.full(found.shape, kept.sum())

    found = jackknifed(statistic, clusters, evidence.settings.confidence)
    has = np.isfinite(scores)
    # On complete blocks points for models beaten are the win rate; on others they are nothing.
    borda = found.value[1] if has.all() else np.full(n_models, np.nan)
    return {
        "mean": scipy.special.expit(found.value[0]),
        "low": scipy.special.expit(found.low[0]),
        "high": scipy.special.expit(found.high[0]),
        "rank": _ranks(found.value[0]),
        "win_rate": found.value[1],
        "win_low": np.maximum(found.low[1], 0),
        "win_high": np.minimum(found.high[1], 1),
        "win_rank": _ranks(found.value[1]),
        "borda": borda,
        "datasets": has.sum(axis=1),
        "clusters": np.array([len(set(clusters[row])) for row in has]),
    }


def _ranks(values: Floats) -> Floats:
    """Ranks among those that have a value."""
    ranks = np.full(len(values), np.nan)
    has = np.isfinite(values)
    ranks[has] = ranks_of(values[has])
    return ranks
