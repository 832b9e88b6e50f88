"""Several ways of averaging over data sets side by side, and whether one data set decides.

A mean of raw scores is ruled by data sets on which models spread most, a mean of ranks by none, a
mean of logits by those near 0 and 1. Where they name different models, or one data set's absence
does, there is no best model that does not hang on how one counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import scipy
import xarray as xr

from pipeline.results.cube import comparable, same_metric
from pipeline.statistics.arrays import Floats, Mask
from pipeline.statistics.evidence import Evidence
from pipeline.statistics.panel import clusters_of, logit, weights_of
from pipeline.statistics.rank_sets import ranks_of
from pipeline.statistics.table import blank, blank_words, fill, tabled, withheld

WAYS = ("raw", "rank", "logit")

_EQUAL = 1e-12
"""Of two means that differ by rounding alone."""

_DEFINITION = (
    "over the data sets of each protocol's headline, clusters alike: mean of raw scores, of ranks, "
    "and of logits, of models that have all of them; raw scores and logits over data sets of one "
    "metric, ranks over all"
)
_NO_BLOCK = "no two models have a score on two data sets in common"


class _Block:
    """The scores of one protocol: models that have all of its data sets."""

    def __init__(self, evidence: Evidence, variant: str) -> None:
        scores = comparable(evidence.cube, evidence.settings.metric).sel(variant=variant)
        values = scores.transpose("model", "dataset").values
        used = np.isfinite(values).any(axis=0)
        kept = np.flatnonzero(np.isfinite(values[:, used]).all(axis=1))
        if len(kept) < 2:  # of many gaps, the data sets that half of the models have
            models = int(np.isfinite(values).any(axis=1).sum())
            used = np.isfinite(values).sum(axis=0) * 2 >= max(models, 4)
            kept = np.flatnonzero(np.isfinite(values[:, used]).all(axis=1))
        self.models = kept
        self.datasets = [d for d, use in zip(evidence.datasets(), used, strict=True) if use]
        self.scores = values[np.ix_(kept, np.flatnonzero(used))]
        self.ranks = ranks_of(self.scores.T).T if len(kept) else self.scores
        self.logits = logit(self.scores, evidence.cube["n_test"].values[used])
        of_one = same_metric(evidence.cube, evidence.settings.metric, variant)
        self.same = np.isin(self.datasets, of_one)
        self._clusters = clusters_of(evidence.cube, self.datasets)

    @property
    def usable(self) -> bool:
        return len(self.models) > 1 and len(self.datasets) > 1

    def means(self, kept: Mask) -> Floats:
        """Of each way, shape (3, n_models): more is better; NaN where no data set is left."""
        found = np.full((len(WAYS), len(self.models)), np.nan)
        for row, (table, mask) in enumerate(
            ((self.scores, kept & self.same), (-self.ranks, kept), (self.logits, kept & self.same))
        ):
            if mask.any():
                found[row] = table[:, mask] @ weights_of(self._clusters[mask])
        return found


def _blocks(evidence: Evidence) -> Iterator[tuple[int, _Block]]:
    for place, variant in enumerate(evidence.headline.values()):
        block = _Block(evidence, variant)
        if block.usable:
            yield place, block


def averages(evidence: Evidence) -> xr.Dataset:
    """Each model's means by the three ways, and its place by each.

    Returns
    -------
    Dataset
        Dimensions protocol and model; variables raw, rank, logit (told as an accuracy), place_raw,
        place_rank, place_logit and datasets.
    """
    labels = {"protocol": evidence.headline, "model": evidence.models}
    table = blank(labels, (*WAYS, *(f"place_{way}" for way in WAYS), "datasets"))
    for p, block in _blocks(evidence):
        means = block.means(np.ones(len(block.datasets), bool))
        for way, of in zip(WAYS, means, strict=True):
            told = {"raw": of, "rank": -of, "logit": scipy.special.expit(of)}[way]
            table[way][p, block.models] = told
            if np.isfinite(of).all():
                table[f"place_{way}"][p, block.models] = ranks_of(of)
        table["datasets"][p, block.models] = len(block.datasets)
    if np.isnan(table["datasets"]).all():
        return withheld(_DEFINITION, _NO_BLOCK)
    return tabled(labels, table, definition=_DEFINITION)


def leaders_without(evidence: Evidence) -> xr.Dataset:
    """Who leads by each way of averaging, over all data sets and without each in turn.

    Returns
    -------
    Dataset
        Dimensions protocol, way and dataset (the one left out); variables leader, leader_of_all,
        changes (1: another model leads without it) and data sets left.
    """
    definition = f"the first model by each way of averaging without one data set; {_DEFINITION}"
    datasets = evidence.datasets()
    labels = {"protocol": evidence.headline, "way": WAYS, "dataset": datasets}
    table = blank(labels, ("changes", "datasets_left"))
    texts = blank_words(labels, ("leader", "leader_of_all"))
    for p, block in _blocks(evidence):
        everything = np.ones(len(block.datasets), bool)
        whole = _leaders(evidence, block, everything)
        for d, dataset in enumerate(block.datasets):
            rest = everything.copy()
            rest[d] = False
            at = datasets.index(dataset)
            for w, (name, first) in enumerate(
                zip(_leaders(evidence, block, rest, whole), whole, strict=True)
            ):
                if not name or not first:
                    continue
                fill(texts, (p, w, at), {"leader": name, "leader_of_all": first})
                changed = {"changes": float(name != first), "datasets_left": rest.sum()}
                fill(table, (p, w, at), changed)
    if np.isnan(table["changes"]).all():
        return withheld(definition, _NO_BLOCK)
    words = {name: values.astype(np.str_) for name, values in texts.items()}
    return tabled(labels, {**words, **table}, definition=definition)


def _leaders(
    evidence: Evidence, block: _Block, kept: Mask, before: Sequence[str] = ("",) * 3
) -> Sequence[str]:
    """The first model by each way; of equal ones that which was first before."""
    if not kept.any():
        return [""] * len(WAYS)
    names = [evidence.models[place] for place in block.models]
    found = []
    for of, former in zip(block.means(kept), before, strict=True):
        if not np.isfinite(of).all():
            found.append("")
            continue
        first = [names[i] for i in np.flatnonzero(of >= of.max() - _EQUAL)]
        found.append(former if former in first else first[0])
    return found


def concordance(evidence: Evidence) -> xr.Dataset:
    """Kendall's W of each protocol: how far the data sets agree on the order of the models.

    Returns
    -------
    Dataset
        Dimension protocol; variables w (1: one order, 0: none in common; corrected for ties), p
        (Friedman's test that there is none), mean_rho (mean ρ between two data sets), models and
        datasets.
    """
    definition = "Kendall's W over data sets, of models that have all of them"
    labels = {"protocol": evidence.headline}
    table = blank(labels, ("w", "p", "mean_rho", "models", "datasets"))
    for p, block in _blocks(evidence):
        found = (*kendall_w(block.scores), *block.scores.shape)
        fill(table, p, dict(zip(table, found, strict=True)))
    if np.isnan(table["models"]).all():
        return withheld(definition, _NO_BLOCK)
    return tabled(
        labels,
        table,
        definition=definition,
        source="Kendall & Babington Smith 1939; Friedman 1937",
    )


def kendall_w(scores: Floats) -> tuple[float, float, float]:
    """W with the correction for ties, p of Friedman's test, and the mean ρ that W stands for.

    Parameters
    ----------
    scores : ndarray of shape (n_models, n_datasets)
        Complete.
    """
    n, m = scores.shape
    ranks = scipy.stats.rankdata(scores, axis=0)
    deviations = ranks.sum(axis=1) - m * (n + 1) / 2
    ties = sum(
        float((counts**3 - counts).sum())
        for column in ranks.T
        for counts in [np.unique(column, return_counts=True)[1]]
    )
    most = m * m * (n**3 - n) - m * ties
    if most <= 0:
        return np.nan, np.nan, np.nan
    w = float(12 * np.square(deviations).sum() / most)
    return w, float(scipy.stats.chi2.sf(m * (n - 1) * w, n - 1)), (m * w - 1) / (m - 1)
