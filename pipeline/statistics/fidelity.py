"""How well each predictor ranks models on the targets: values, and their redraws over models.

The redraws answer what the jackknife can't: differences between predictors, which depend on the
same models and targets, and other targets than these.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.statistics.correlation import (
    COEFFICIENTS,
    MIN_FAMILIES,
    MIN_MODELS,
    coefficients,
    deletion_groups,
    family_members,
    leave_one_family_out,
)
from pipeline.statistics.evidence import Evidence
from pipeline.statistics.predictions import Predictions, predictions, trusted_predictors
from pipeline.statistics.remembered import remembered
from pipeline.statistics.resampling import (
    REPLICATES,
    family_weights,
    model_weights,
    resampled_correlations,
)

Floats = NDArray[np.float64]

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


def picked(values: Floats, found: Predictions) -> Floats:
    """Of a table of all columns (last two axes), each predictor's entry for each target."""
    return values[..., found.pick, found.target_columns]


def models_of(found: Predictions) -> NDArray[np.int64]:
    """Models with both scores, shape (n_predictors, n_targets)."""
    present = np.isfinite(found.scores)
    together = present.T.astype(np.int64) @ present
    return together[found.pick, found.target_columns]


def families_of(found: Predictions, families: NDArray[np.str_]) -> NDArray[np.int64]:
    """Families with both scores of any of a predictor's pairs, shape (n_predictors,)."""
    present = np.isfinite(found.scores)
    count = np.zeros(len(found.predictors), np.int64)
    for mine in family_members(families):
        together = present[mine].T.astype(np.int64) @ present[mine]
        count += (together[found.pick, found.target_columns] > 0).any(axis=1)
    return count


def without_families(
    found: Predictions, families: NDArray[np.str_]
) -> list[tuple[NDArray[np.bool_], Floats]]:
    """For each family (group, of many): the pairs it takes part in, and `observed` without it."""
    members = deletion_groups(families)
    present = np.isfinite(found.scores)
    result = []
    for mine, values in zip(
        members, leave_one_family_out(found.scores, members, found.n_test), strict=True
    ):
        together = present[mine].T.astype(np.int64) @ present[mine]
        result.append((together[found.pick, found.target_columns] > 0, picked(values, found)))
    return result


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


def redraw(found: Predictions, families: NDArray[np.str_], replicates: int = REPLICATES) -> Redraws:
    """Redraw models, families and clusters of targets.

    Parameters
    ----------
    found : Predictions
    families : ndarray of shape (n_models,)
    replicates : int

    Notes
    -----
    Families and clusters are drawn independently of each other (Owen 2007, "The pigeonhole
    bootstrap"), which is somewhat too wide rather than too narrow.
    """
    rng = np.random.default_rng(0)
    by_model = model_weights(len(families), replicates, rng)
    by_family = family_weights(families, replicates, rng)
    clusters = len(found.cluster_names)
    other = rng.multinomial(clusters, np.full(clusters, 1 / clusters), replicates).astype(float)
    of_clusters = [np.ones_like(other), *([other] if clusters >= MIN_CLUSTERS else [])]
    if len(set(families.tolist())) < MIN_FAMILIES:
        models, *new = _means(found, by_model, of_clusters)
        return Redraws(models, None, new[0] if new else None)
    with ThreadPoolExecutor(1) as pool:  # NumPy computes without Python's lock
        of_models = pool.submit(_means, found, by_model, of_clusters[:1])
        of_families, *new = _means(found, by_family, of_clusters)
        [models] = of_models.result()
    return Redraws(models, of_families, new[0] if new else None)


def _means(found: Predictions, weights: Floats, of_clusters: list[Floats]) -> list[Floats]:
    """Mean ρ by protocol in each redraw, for each way to weigh the clusters in it."""
    columns = np.unique(found.pick)
    place = np.searchsorted(columns, found.pick)
    x, y = found.scores[:, columns], found.scores[:, found.target_columns]
    withheld = models_of(found) < MIN_MODELS
    shape = (len(weights), len(found.predictors), len(found.protocols))
    results = [np.empty(shape) for _ in of_clusters]
    for block, every in resampled_correlations(x, y, weights, "spearman"):
        values = every[:, place, np.arange(y.shape[1])]
        means = found.by_cluster(np.where(withheld, np.nan, values))
        known, means = np.isfinite(means), np.nan_to_num(means)
        for result, drawn in zip(results, of_clusters, strict=True):
            times = np.where(known, drawn[block][:, np.newaxis, np.newaxis], 0.0)
            with np.errstate(invalid="ignore", divide="ignore"):
                result[block] = (means * times).sum(axis=-1) / times.sum(axis=-1)
    return results


@dataclass(frozen=True)
class Fidelity:
    """All that is asked of how well predictors rank models.

    Attributes
    ----------
    found : Predictions
    observed : ndarray of shape (n_coefficients, n_predictors, n_targets)
    redraws : Redraws
    families : ndarray of shape (n_models,)
    """

    found: Predictions
    observed: Floats
    redraws: Redraws
    families: NDArray[np.str_]

    @property
    def spearman(self) -> Floats:
        """Shape (n_predictors, n_targets)."""
        values: Floats = self.observed[COEFFICIENTS.index("spearman")]
        return values


@remembered
def fidelity(evidence: Evidence) -> Fidelity | str:
    """Of every protocol's headline and every cheap predictor, or why there is none."""
    found = predictions(evidence, trusted_predictors(evidence))
    return found if isinstance(found, str) else measure_fidelity(evidence, found)


def measure_fidelity(evidence: Evidence, found: Predictions) -> Fidelity | str:
    """The same of given predictions; the reason where no pair has a coefficient."""
    values = observed(found)
    if not np.isfinite(values).any():
        return f"no predictor shares {MIN_MODELS} models with a target, or their scores do not vary"
    families = evidence.cube["family"].values.astype(np.str_)
    return Fidelity(found, values, redraw(found, families), families)
