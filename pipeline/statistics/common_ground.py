"""Common ground: the targets, and on each the models, that all compared predictors have.

Means over other targets, or over other models, can't be compared: judged on linear targets kNN
looks better than linear probing judged on kNN targets, in most cases where it loses on the same
ones. So predictors are compared on what all of them have. Where that is too little, the one that
costs the most ground is taken out, with the reason, and so on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.statistics.arrays import Floats, Mask, Places, Words
from pipeline.statistics.correlation import MIN_MODELS
from pipeline.statistics.predictions import Predictions
from pipeline.statistics.rank_correlation import spearman

ENOUGH_MODELS, ENOUGH_TARGETS = 8, 3
"""A ground below these makes room for more; below so many models no predictor is the best."""


@dataclass(frozen=True)
class Ground:
    """What predictors are compared on.

    Attributes
    ----------
    compared : ndarray of bool, shape (n_predictors,)
    targets : ndarray of bool, shape (n_targets,)
    models : ndarray of bool, shape (n_models, n_targets)
        That all compared predictors have on each target, also on those that are not used.
    reasons : mapping of int to str
        Why each other predictor, by its place, is not compared.
    """

    compared: Mask
    targets: Mask
    models: Mask
    reasons: Mapping[int, str]

    @property
    def n(self) -> NDArray[np.int64]:
        """Models on each target, shape (n_targets,)."""
        counts: NDArray[np.int64] = np.count_nonzero(self.models, axis=0).astype(np.int64)
        return counts


def common_ground(found: Predictions, spearman_of: Floats, asked: Mask) -> Ground:
    """The ground of as many predictors as leave enough of it.

    Parameters
    ----------
    found : Predictions
    spearman_of : ndarray of shape (n_predictors, n_targets)
        Of each predictor's own ground; NaN where it has none, or scores that do not vary.
    asked : ndarray of bool, shape (n_targets,)
        The targets that are spoken of.
    """
    has = has_both(found) & np.isfinite(spearman_of)[:, np.newaxis]
    own = np.count_nonzero(has, axis=1) * asked  # (n_predictors, n_targets)
    models, targets = _needed(own)
    compared = (own >= models).any(axis=1)
    reasons = {
        int(p): _too_few(int(own[p].max(initial=0)), models) for p in np.flatnonzero(~compared)
    }
    while compared.sum() > 1:
        shared = np.count_nonzero(has[compared].all(axis=0), axis=0) * asked
        if np.count_nonzero(shared >= models) >= targets:
            break
        worst = _costliest(has, own, compared, asked, models)
        reasons[worst] = _costs(shared, models, targets)
        compared[worst] = False
    rows = has[compared].all(axis=0) if compared.any() else np.zeros(has.shape[1:], bool)
    used = asked & (np.count_nonzero(rows, axis=0) >= models)
    return Ground(compared, used & compared.any(), rows, reasons)


def rho_on(found: Predictions, rows: Mask, groups: Words | None = None) -> Floats:
    """Spearman's ρ of every predictor with every target, over given models of each target.

    Parameters
    ----------
    found : Predictions
    rows : ndarray of bool, shape (n_models, n_targets)
    groups : ndarray of shape (n_models,), optional
        The partial correlation given the group, see `spearman`.

    Returns
    -------
    ndarray of shape (n_predictors, n_targets)
        NaN below four models, and for a predictor that lacks one of the models.
    """
    values = np.full(found.pick.shape, np.nan)
    for kept, targets in _by_rows(rows):
        columns, place = np.unique(found.pick[:, targets], return_inverse=True)
        x = found.scores[np.ix_(kept, columns)]
        y = found.scores[np.ix_(kept, found.target_columns[targets])]
        complete = np.isfinite(x).all(axis=0)
        every = np.full((len(columns), len(targets)), np.nan)
        every[complete], _ = spearman(x[:, complete], y, None if groups is None else groups[kept])
        place = place.reshape(len(found.pick), len(targets))
        values[:, targets] = every[place, np.arange(len(targets))]
    return values


def _by_rows(rows: Mask) -> list[tuple[Places, Places]]:
    """Targets with the same models: these models, and the targets' places."""
    if not rows.size:
        return []
    patterns, group = np.unique(rows, axis=1, return_inverse=True)
    group = group.ravel()
    return [
        (np.flatnonzero(patterns[:, g]), np.flatnonzero(group == g))
        for g in range(patterns.shape[1])
        if np.count_nonzero(patterns[:, g]) >= MIN_MODELS
    ]


def has_both(found: Predictions) -> Mask:
    """Which models have predictor and target, shape (n_predictors, n_models, n_targets)."""
    present = np.isfinite(found.scores)
    both = present[:, found.pick] & present[:, found.target_columns][:, np.newaxis]
    return both.swapaxes(0, 1)


def _needed(own: NDArray[np.int64]) -> tuple[int, int]:
    """Models and targets that the ground must have: no more than any predictor has alone."""
    models = ENOUGH_MODELS if (own >= ENOUGH_MODELS).any() else MIN_MODELS
    most = np.count_nonzero(own >= models, axis=1).max(initial=0)
    return models, min(ENOUGH_TARGETS, int(most))


def _costliest(has: Mask, own: NDArray[np.int64], compared: Mask, asked: Mask, models: int) -> int:
    """Whose leaving gives the most ground; of equals, who has the least of its own."""

    def order(place: int) -> tuple[int, int, int]:
        others = compared.copy()
        others[place] = False
        shared = np.count_nonzero(has[others].all(axis=0), axis=0) * asked
        return int(shared[shared >= models].sum()), -int(own[place].sum()), place

    return max((int(p) for p in np.flatnonzero(compared)), key=order)


def _too_few(most: int, models: int) -> str:
    if not most:
        return f"no target shares {MIN_MODELS} models with it, or its scores do not vary"
    return f"it has {most} models on a target at most; at least {models} are needed"


def _costs(shared: NDArray[np.int64], models: int, targets: int) -> str:
    """From what all that are compared would share with it."""
    enough = int(np.count_nonzero(shared >= models))
    most = int(shared.max(initial=0))
    return (
        f"with it, all compared share {models} models on {enough} target{'s' * (enough != 1)} "
        f"(at most {most} models on one); {models} models on {targets} "
        f"target{'s' * (targets != 1)} are needed"
    )
