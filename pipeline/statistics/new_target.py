"""What to expect on a data set that is not in the study.

**The interval for a new data set.** With these models on another data set like those of the study,
the correlation that will be seen is one more draw of atanh ρ from where those of the study came
from: mean ± t(T-1) s √(1 + 1/T) over T clusters of targets. That is the simplest method; it covers
(docs/statistics.md), so none with more parts is used. The models are the same, so what is chance in
them moves all targets alike and is no part of it: it says nothing about other models.

**"Behaves like".** Whether the data set that orders half of the models most like yours also orders
the other half like yours, better than the mean rank on all other data sets does: tried on each data
set in turn. Only where it does is there a reason to look at one's nearest neighbour.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy
import xarray as xr

from pipeline.results.cube import comparable
from pipeline.statistics.arrays import Floats, Mask, Places, Words
from pipeline.statistics.common_ground import rho_on
from pipeline.statistics.comparison import ground_of
from pipeline.statistics.correlation import MIN_MODELS
from pipeline.statistics.evidence import Evidence
from pipeline.statistics.fidelity import fidelity
from pipeline.statistics.fisher_z import rho_limit, z_of
from pipeline.statistics.panel import clusters_of
from pipeline.statistics.predictions import Predictions, mean_of_known
from pipeline.statistics.rank_correlation import rho_of
from pipeline.statistics.resampling import resampled_correlations
from pipeline.statistics.table import blank, blank_words, fill, tabled, withheld
from pipeline.statistics.trained import left_out
from pipeline.statistics.written import p_is
from pipeline.study.protocol_list import protocol_label

MIN_TARGETS = 3
"""Clusters of targets from which on the interval covers."""

HALVINGS = 20
ALPHA = 0.05
_EQUAL = 1e-9
"""Of two ρ that differ by rounding alone."""

MIN_HALF = 8
"""Models of a half, from which on a neighbour is looked for."""


def predicted(z: Floats, confidence: float) -> tuple[float, float, float]:
    """Mean of atanh ρ over targets, and the ends for one more; NaN below `MIN_TARGETS`."""
    known = z[np.isfinite(z)]
    count = len(known)
    if count < MIN_TARGETS:
        return np.nan, np.nan, np.nan
    mean, spread = float(known.mean()), float(known.std(ddof=1))
    quantile = float(scipy.stats.t.ppf(0.5 + confidence / 2, count - 1))
    half = quantile * spread * np.sqrt(1 + 1 / count)
    return mean, mean - half, mean + half


def new_target(evidence: Evidence) -> xr.Dataset:
    """For each compared predictor and protocol: the interval of ρ on a new data set.

    Returns
    -------
    Dataset
        Dimensions predictor and targets; variables rho (the middle), low, high, clusters and
        covered: the share of the study's own targets that the interval made from all others holds.
    """
    definition = (
        "Spearman's ρ to expect of a predictor on a new data set like those of the study, with the "
        "same models: t interval of one more atanh ρ over clusters of targets"
    )
    trusted = fidelity(evidence)
    if isinstance(trusted, str):
        return withheld(definition, trusted)
    found, confidence = trusted.found, evidence.settings.confidence
    sets = found.common_sets if len(found.protocols) > 1 else found.protocols
    labels = {"predictor": found.names, "targets": sets}
    table = blank(labels, ("rho", "low", "high", "clusters", "covered"))
    for s, name in enumerate(sets):
        ground = ground_of(trusted, name)
        if not ground.targets.any():
            continue
        rho = np.where(ground.targets, rho_on(found, ground.models), np.nan)
        z = z_of(rho, rho_limit(np.maximum(ground.n, 4))[np.newaxis])
        for p in map(int, np.flatnonzero(ground.compared)):
            of_clusters = _by_cluster(z[p], found.clusters, _own_cluster(evidence, found, p))
            middle, low, high = predicted(of_clusters, confidence)
            held = [
                ends[1] <= of_clusters[t] <= ends[2]
                for t in range(len(of_clusters))
                for ends in [predicted(np.delete(of_clusters, t), confidence)]
                if np.isfinite(ends[1])
            ]
            values = {
                "rho": np.tanh(middle), "low": np.tanh(low), "high": np.tanh(high),
                "clusters": len(of_clusters), "covered": np.mean(held) if held else np.nan,
            }  # fmt: skip
            fill(table, (p, s), values)
    if np.isnan(table["low"]).all():
        return withheld(definition, f"fewer than {MIN_TARGETS} clusters of data sets are targets")
    return tabled(
        labels,
        table,
        found.words,
        definition=definition,
        interval=f"{confidence:.0%} for one new data set; offered from {MIN_TARGETS} "
        "clusters of targets, coverage in docs/statistics.md",
    )


def _own_cluster(evidence: Evidence, found: Predictions, predictor: int) -> str:
    """The cluster of the data set that a predictor is on: its other ones are nothing new."""
    home = found.predictors[predictor].dataset
    if home not in evidence.datasets():  # on each target itself
        return ""
    return str(clusters_of(evidence.cube, [home])[0])


def _by_cluster(z: Floats, clusters: Words, without: str) -> Floats:
    """Means of the clusters that have a value."""
    known = np.isfinite(z) & (clusters != without)
    return np.array([z[known & (clusters == c)].mean() for c in dict.fromkeys(clusters[known])])


def behaves_like(evidence: Evidence) -> xr.Dataset:
    """For each data set the one that orders models most like it, and whether that predicts.

    Returns
    -------
    Dataset
        Dimensions protocol and dataset; variables nearest, rho_nearest and rho_all: over models
        that had no part in choosing the nearest, ρ with it and with the mean rank on all other data
        sets; difference; models. Data sets of its own cluster are no neighbours. Attribute
        `predicts`: by protocol, whether the nearest is better (t test over data sets, 5%).
    """
    definition = (
        f"the data set that orders half of the models most like this one ({HALVINGS} random "
        "halves; named is the most frequent), judged on the other half against the mean rank on "
        "all other data sets"
    )
    scores = comparable(evidence.cube, evidence.settings.metric)
    kept = ~left_out(evidence).mask
    datasets = evidence.datasets()
    clusters = clusters_of(evidence.cube, datasets)
    labels = {"protocol": evidence.headline, "dataset": datasets}
    nearest = blank_words(labels, ["nearest"])["nearest"]
    table = blank(labels, ("rho_nearest", "rho_all", "difference", "models"))
    said = []
    for p, (protocol, variant) in enumerate(evidence.headline.items()):
        values = scores.sel(variant=variant).transpose("model", "dataset").values[kept]
        for d in range(len(datasets)):
            others = np.flatnonzero(clusters != clusters[d])
            found = _neighbour(values, d, others)
            if found is None:
                continue
            place, near, every, models = found
            nearest[p, d] = datasets[place]
            rho = {"rho_nearest": near, "rho_all": every, "difference": near - every}
            fill(table, (p, d), {**rho, "models": models})
        differences = table["difference"][p][np.isfinite(table["difference"][p])]
        if len(differences) >= MIN_TARGETS and np.ptp(differences) > 0:
            test = scipy.stats.ttest_1samp(differences, 0, alternative="greater")
            verdict = "predicts better" if test.pvalue < ALPHA else "does not predict better"
            said.append(f"{protocol_label(protocol)}: it {verdict} ({p_is(float(test.pvalue))})")
    if np.isnan(table["models"]).all():
        return withheld(
            definition, f"it takes {2 * MIN_HALF} models on {MIN_TARGETS} data sets in common"
        )
    return tabled(
        labels,
        {"nearest": nearest.astype(np.str_), **table},
        definition=definition,
        predicts="; ".join(said),
    )


def _neighbour(values: Floats, target: int, others: Places) -> tuple[int, float, float, int] | None:
    """The nearest data set, ρ with it and with the mean rank elsewhere on held-out models."""
    has = np.isfinite(values)
    rows = np.flatnonzero(has[:, target])
    others = others[[np.count_nonzero(has[rows, o]) >= 2 * MIN_HALF for o in others]]
    if len(others) < MIN_TARGETS - 1 or len(rows) < 2 * MIN_HALF:
        return None
    ranks = _percentiles(values[np.ix_(rows, others)])
    truth = values[rows, target]
    elsewhere = mean_of_known(ranks)
    rng = np.random.default_rng(target)
    halves = np.stack([rng.permutation(len(rows)) < len(rows) // 2 for _ in range(HALVINGS)])
    chosen, near, every = [], [], []
    for first, best in zip(halves, _most_alike(ranks, truth, halves), strict=True):
        if best is None:
            continue
        both = ~first & np.isfinite(ranks[:, best])
        rho = rho_of(ranks[both, best], truth[both]), rho_of(elsewhere[both], truth[both])
        if np.isfinite(rho).all():
            chosen.append(int(others[best]))
            near.append(rho[0])
            every.append(rho[1])
    if not chosen:
        return None
    return (
        max(dict.fromkeys(chosen), key=chosen.count), float(np.mean(near)), float(np.mean(every)),
        len(rows),
    )  # fmt: skip


def _most_alike(ranks: Floats, truth: Floats, halves: Mask) -> Iterator[int | None]:
    """Of each half, the column that orders its models most like the truth; None without any ρ.

    All ρ at once differ from those one by one in their last digit, which must not choose.
    """
    drawn = halves.astype(np.float64)
    few = drawn @ np.isfinite(ranks) < MIN_MODELS
    for block, rho in resampled_correlations(ranks, truth[:, np.newaxis], drawn, "spearman"):
        known = np.where(few[block], np.nan, rho[..., 0])
        for first, row in zip(halves[block], known, strict=True):
            if np.isnan(row).all():
                yield None
                continue
            highest = np.flatnonzero(row > np.nanmax(row) - _EQUAL)
            yield max(map(int, highest), key=lambda o: rho_of(ranks[first, o], truth[first]))


def _percentiles(values: Floats) -> Floats:
    """Percentile ranks within each column; NaN stays."""
    found = np.full(values.shape, np.nan)
    for column in range(values.shape[1]):
        has = np.isfinite(values[:, column])
        found[has, column] = scipy.stats.rankdata(values[has, column]) / max(has.sum(), 1)
    return found
