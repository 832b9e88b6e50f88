"""How well each predictor ranks models on the targets: values, and their redraws over models.

The redraws answer what the jackknife can't: differences between predictors, which depend on the
same models and targets, and other targets than these.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.statistics.arrays import Floats, Mask, Places, Words
from pipeline.statistics.correlation import (
    COEFFICIENTS,
    MIN_FAMILIES,
    MIN_MODELS,
    coefficients,
    families_together,
    leave_one_family_out,
    together,
)
from pipeline.statistics.evidence import Evidence
from pipeline.statistics.jackknife import deletion_groups
from pipeline.statistics.predictions import Predictions, predictions, trusted_predictors
from pipeline.statistics.rank_correlation import spearman
from pipeline.statistics.remembered import remembered_of_headlines
from pipeline.statistics.resampling import (
    REPLICATES,
    family_weights,
    model_weights,
    resampled_correlations,
    resampled_pairs,
)

Numbers = TypeVar("Numbers", Floats, NDArray[np.int64])

MIN_CLUSTERS = 6
"""Below this, nothing is said about new targets."""


def observed(found: Predictions) -> Floats:
    """Coefficients of each predictor with each target.

    Returns
    -------
    ndarray of shape (n_coefficients, n_predictors, n_targets)
        In the order of `COEFFICIENTS`; NaN below 4 models.
    """
    values = picked(coefficients(found.scores, found.n_test), found)
    return np.where(models_of(found) < MIN_MODELS, np.nan, values)


def observed_spearman(found: Predictions) -> Floats:
    """Spearman's ρ of every row of `pick` with every target; NaN below 4 models."""
    columns, place = np.unique(found.pick, return_inverse=True)
    rho, _ = spearman(found.scores[:, columns], found.scores[:, found.target_columns])
    values: Floats = rho[place.reshape(found.pick.shape), np.arange(found.pick.shape[1])]
    return values


def picked(values: Numbers, found: Predictions) -> Numbers:
    """Of a table of all columns (last two axes), each predictor's entry for each target."""
    return values[..., found.pick, found.target_columns]


def models_of(found: Predictions) -> NDArray[np.int64]:
    """Models with both scores, shape (n_predictors, n_targets)."""
    return picked(together(np.isfinite(found.scores)), found)


def families_of(found: Predictions, families: Words) -> NDArray[np.int64]:
    """Families with both scores, shape (n_predictors, n_targets)."""
    return picked(families_together(np.isfinite(found.scores), families), found)


@dataclass(frozen=True)
class Deletion:
    """What is left without one family (of many, a group of them), or without one model.

    Attributes
    ----------
    used : ndarray of bool, shape (n_predictors, n_targets)
        The pairs that it takes part in.
    values : ndarray of shape (n_coefficients, n_predictors, n_targets)
        `observed` without it.
    n : ndarray of shape (n_predictors, n_targets)
        Models that are left.
    """

    used: Mask
    values: Floats
    n: NDArray[np.int64]


def without_each(found: Predictions, units: Words) -> list[Deletion]:
    """What is left without each unit in turn."""
    groups = deletion_groups(units)
    present, n = np.isfinite(found.scores), models_of(found)
    result = []
    for members, values in zip(
        groups, leave_one_family_out(found.scores, groups, found.n_test), strict=True
    ):
        gone = picked(together(present[members]), found)
        result.append(Deletion(gone > 0, picked(values, found), n - gone))
    return result


MANY_MODELS = 300

REPLICATES_OF_MANY = 1_000
"""Redraws of more than `MANY_MODELS` models: no p can be below .001 then."""


@dataclass(frozen=True)
class Redraws:
    """Mean Spearman ρ by protocol of the targets, in each redraw.

    Attributes
    ----------
    models : ndarray of shape (n_redraws, n_predictors, n_protocols)
        Of models.
    families : ndarray of the same shape, or None
        Of whole families; None below 5.
    new_targets : ndarray of the same shape, or None
        Of whole families (or models, below 5) and of clusters of data sets; None below 6 clusters.
    """

    models: Floats
    families: Floats | None
    new_targets: Floats | None

    @property
    def over_models(self) -> list[Floats]:
        """Redraws for these targets: of models and, where there are enough, of families."""
        return [self.models] if self.families is None else [self.models, self.families]


def replicates_for(models: int) -> int:
    """How often models are redrawn: less often where there are many, as each redraw ranks all."""
    return REPLICATES if models <= MANY_MODELS else REPLICATES_OF_MANY


def redraw(found: Predictions, families: Words, *, new: bool = True) -> Redraws:
    """Redraw models, families and clusters of targets.

    Parameters
    ----------
    found : Predictions
    families : ndarray of shape (n_models,)
    new : bool
        Whether clusters of targets are redrawn, too, where there are enough.

    Notes
    -----
    Families and clusters are drawn independently of each other (Owen 2007, "The pigeonhole
    bootstrap"), which is somewhat too wide rather than too narrow.
    """
    replicates = replicates_for(len(families))
    rng = np.random.default_rng(0)
    by_model = model_weights(len(families), replicates, rng)
    by_family = family_weights(families, replicates, rng)
    clusters = len(found.cluster_names)
    other = rng.multinomial(clusters, np.full(clusters, 1 / clusters), replicates).astype(float)
    of_clusters = [None, *([other] if new and clusters >= MIN_CLUSTERS else [])]
    if len(set(families.tolist())) < MIN_FAMILIES:
        models, *of_new = _means(found, by_model, of_clusters)
        return Redraws(models, None, of_new[0] if of_new else None)
    with ThreadPoolExecutor(1) as pool:  # NumPy computes without Python's lock
        of_models = pool.submit(_means, found, by_model, of_clusters[:1])
        of_families, *of_new = _means(found, by_family, of_clusters)
        [models] = of_models.result()
    return Redraws(models, of_families, of_new[0] if of_new else None)


def _means(
    found: Predictions, weights: Floats, of_clusters: Sequence[Floats | None]
) -> list[Floats]:
    """Mean ρ by protocol in each redraw, for each way to weigh the clusters in it (None: alike)."""
    withheld = models_of(found) < MIN_MODELS
    # Few families can be drawn in few ways (seven in 1,716), which are ranked once.
    ways, way = np.unique(weights, axis=0, return_inverse=True)
    order = np.argsort(way.ravel(), kind="stable")
    ordered = way.ravel()[order]
    results = [np.empty((len(weights), len(found.pick), len(found.protocols))) for _ in of_clusters]
    for rows, block, values in _redrawn(found, ways):
        means = found.by_cluster(np.where(withheld[rows], np.nan, values))
        first, last = np.searchsorted(ordered, (block.start, block.start + len(values)))
        redraws, of = order[first:last], ordered[first:last] - block.start
        for result, drawn in zip(results, of_clusters, strict=True):
            found_means = (
                _over_clusters(means)[of]
                if drawn is None
                else _over_clusters(means[of], drawn[redraws])
            )
            result[redraws[:, np.newaxis], rows] = found_means
    return results


def _over_clusters(means: Floats, drawn: Floats | None = None) -> Floats:
    """Means of what is known, weighed by how often each cluster was drawn.

    Parameters
    ----------
    means : ndarray of shape (n_redraws, n_rows, n_protocols, n_clusters)
    drawn : ndarray of shape (n_redraws, n_clusters), optional

    Returns
    -------
    ndarray of shape (n_redraws, n_rows, n_protocols)
    """
    total, times = np.zeros(means.shape[:-1]), np.zeros(means.shape[:-1])
    for cluster in range(means.shape[-1]):  # sums over a short last axis are slow
        of_one = means[..., cluster]
        often = np.isfinite(of_one).astype(np.float64)
        if drawn is not None:
            often *= drawn[:, cluster, np.newaxis, np.newaxis]
        total += np.nan_to_num(of_one) * often
        times += often
    with np.errstate(invalid="ignore", divide="ignore"):
        result: Floats = total / times
    return result


def _redrawn(found: Predictions, weights: Floats) -> Iterator[tuple[Places, slice, Floats]]:
    """Some rows, some redraws, and their ρ, shape (n_some_redraws, n_some_rows, n_targets)."""
    y = found.scores[:, found.target_columns]
    varies = (found.pick != found.pick[:, :1]).any(axis=1)
    rows = np.flatnonzero(~varies)  # one column for all targets
    if rows.size:
        columns, place = np.unique(found.pick[rows, 0], return_inverse=True)
        x = found.scores[:, columns]
        for block, every in resampled_correlations(x, y, weights, "spearman"):
            yield rows, block, every[:, place.ravel()]
    rows = np.flatnonzero(varies)
    if rows.size:
        columns, place = np.unique(found.pick[rows], return_inverse=True)
        targets = np.broadcast_to(np.arange(y.shape[1]), (len(rows), y.shape[1]))
        every_pair = np.stack([place.ravel(), targets.ravel()], axis=1)
        pairs, of = np.unique(every_pair, axis=0, return_inverse=True)
        of = of.reshape(targets.shape)
        for block, values in resampled_pairs(found.scores[:, columns], y, pairs, weights):
            yield rows, block, values[:, of]


@dataclass(frozen=True)
class Fidelity:
    """All that is asked of how well predictors rank models.

    Attributes
    ----------
    found : Predictions
    observed : ndarray of shape (n_coefficients, n_predictors, n_targets)
    families : ndarray of shape (n_models,)
    """

    found: Predictions
    observed: Floats
    families: Words

    @cached_property
    def redraws(self) -> Redraws:
        """Made for who asks first: they cost more than all else."""
        return redraw(self.found, self.families)

    @property
    def spearman(self) -> Floats:
        """Shape (n_predictors, n_targets)."""
        values: Floats = self.observed[COEFFICIENTS.index("spearman")]
        return values


@remembered_of_headlines
def fidelity(evidence: Evidence) -> Fidelity | str:
    """Of every protocol's headline and every transferability metric, or why there is none."""
    found = predictions(evidence, trusted_predictors(evidence))
    return found if isinstance(found, str) else measure_fidelity(evidence, found)


def measure_fidelity(evidence: Evidence, found: Predictions) -> Fidelity | str:
    """The same of given predictions; the reason where no pair has a coefficient."""
    values = observed(found)
    if not np.isfinite(values).any():
        return f"no predictor shares {MIN_MODELS} models with a target, or their scores do not vary"
    return Fidelity(found, values, families_in(evidence, found))


def families_in(evidence: Evidence, found: Predictions) -> Words:
    """The family of each model, shape (n_models,)."""
    words = evidence.cube["family"].sel(model=list(found.models))
    return words.values.astype(np.str_)
