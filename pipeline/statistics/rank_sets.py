"""Ranks with their uncertainty over test images: intervals, best models, simultaneous sets.

All three take the models' scores and draws of them (of redrawn test images), so that they know how
scores move together. None is transitive: A and B may be alike, and B and C, but not A and C.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Mask = NDArray[np.bool_]


def ranks_of(scores: Floats) -> Floats:
    """Rank of each model along the last axis: 1 is best, equal ones share their mean rank."""
    ranks: Floats = stats.rankdata(-scores, axis=-1)
    return ranks


def rank_intervals(draws: Floats, confidence: float) -> tuple[Floats, Floats]:
    """Percentile interval of each model's rank, for that model alone ("marginal").

    Parameters
    ----------
    draws : ndarray of shape (n_draws, n_models)
    confidence : float
    """
    tail = (1 - confidence) / 2
    low, high = np.quantile(ranks_of(draws), [tail, 1 - tail], axis=0, method="inverted_cdf")
    return low, high


def confidence_set(scores: Floats, draws: Floats) -> Floats:
    """The p of each model in the model confidence set (Hansen, Lunde & Nason 2011).

    The models that can't be told from the best at level α are those with p > α. The model with
    the largest t of its distance from the mean of those left is taken out, again and again; p is
    that of the hypothesis that all left are equal (T_max), and never below an earlier one's.

    Parameters
    ----------
    scores : ndarray of shape (n_models,)
    draws : ndarray of shape (n_draws, n_models)

    Returns
    -------
    ndarray of shape (n_models,)
    """
    noise = draws - scores
    left = list(range(len(scores)))
    p, highest = np.ones(len(scores)), 0.0
    while len(left) > 1:
        behind = scores[left].mean() - scores[left]
        moved = noise[:, left].mean(axis=1, keepdims=True) - noise[:, left]
        error = _error(moved)
        t, t_moved = _ratio(behind, error), _ratio(moved, error)
        worst = int(np.argmax(t))
        exceeding = int((t_moved.max(axis=1) >= t[worst]).sum())
        highest = max(highest, (exceeding + 1) / (len(draws) + 1))
        p[left[worst]] = highest
        del left[worst]
    p[left] = 1.0
    return p


def simultaneous_sets(
    scores: Floats, draws: Floats, confidence: float
) -> tuple[Counts, Counts, Mask]:
    """Ranks that hold for all models at once (Mogstad, Romano, Shaikh & Wilhelm 2024).

    All ordered pairs are tested by step-down max-t (Romano & Wolf 2005): the critical value is
    the quantile of the largest t over the pairs that are not yet told apart. A model's best
    possible rank is 1 + the number of models that are better, its worst is the number of all less
    those that are worse.

    Parameters
    ----------
    scores : ndarray of shape (n_models,)
    draws : ndarray of shape (n_draws, n_models)
    confidence : float
        That all sets hold the true ranks.

    Returns
    -------
    best, worst : ndarray of shape (n_models,), int
    better : ndarray of shape (n_models, n_models), bool
        Whether the row's model is better than the column's.

    Notes
    -----
    Memory is that of the draws, whatever the number of pairs.
    """
    noise, m = draws - scores, len(scores)
    error = np.stack([_error(noise[:, [j]] - noise) for j in range(m)])
    t = _ratio(scores[:, np.newaxis] - scores, error)
    open_pairs = ~np.eye(m, dtype=bool)
    better = np.zeros((m, m), bool)
    while open_pairs.any():
        critical = np.quantile(_largest(noise, error, open_pairs), confidence)
        found = open_pairs & (t > critical)
        if not found.any():
            break
        better |= found
        open_pairs &= ~found
    return 1 + better.sum(axis=0), m - better.sum(axis=1), better


def _largest(noise: Floats, error: Floats, pairs: Mask) -> Floats:
    """Per draw, the largest t of a row's model against a column's, over some pairs."""
    largest = np.full(len(noise), -np.inf)
    for j in np.flatnonzero(pairs.any(axis=1)):
        others = np.flatnonzero(pairs[j])
        moved = _ratio(noise[:, [j]] - noise[:, others], error[j, others])
        np.maximum(largest, moved.max(axis=1), out=largest)
    return largest


def _error(moved: Floats) -> Floats:
    """Standard deviation over draws; 0 where only rounding moves."""
    error = np.std(moved, axis=0)
    error[error < 1e-12] = 0.0
    return np.asarray(error, np.float64)


def _ratio(difference: Floats, error: Floats) -> Floats:
    """t; 0 for models that agree on every image, where there is nothing to tell apart."""
    t: Floats = np.where(error > 0, difference / np.where(error > 0, error, 1.0), 0.0)
    return t
