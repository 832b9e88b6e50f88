"""Weighted Kendall τ: agreement on which models are best counts more than on which are worst."""

from __future__ import annotations

import numpy as np

from pipeline.statistics.arrays import Floats, Mask
from pipeline.statistics.kendall import counted_together


def weighted_tau(scores: Floats) -> Floats:
    """Weighted τ of every column with every other, over the models that both have.

    A pair of models weighs 1/(r + 1) + 1/(s + 1) for their ranks r and s, best first from 0. It
    is the mean of two values: ranks by the one column (ties broken by the other), and conversely.
    Equal to `scipy.stats.weightedtau` with its default arguments.

    Parameters
    ----------
    scores : ndarray of shape (n_models, n_columns)
        NaN where missing.

    Returns
    -------
    ndarray of shape (n_columns, n_columns)
        NaN for a constant column or fewer than two models.

    Notes
    -----
    The weights are sums over the pair's two models, so that the sum over pairs is one over models:
    Σ_i w_i Σ_j sgn(x_i - x_j) sgn(y_i - y_j), n matrix products. Their elements are counts.

    References
    ----------
    Vigna 2015, "A weighted correlation index for rankings with ties".
    """
    columns = scores.shape[1]
    present = np.isfinite(scores)
    concordance, untied_first, untied_second = np.zeros((3, columns, columns))
    for model, mine in enumerate(scores):
        above, ties = scores > mine, scores == mine
        both, untied = present & present[model], above | (scores < mine)
        signs = np.where(above, np.float32(-1), untied.astype(np.float32))
        weight = 1 / (1 + _better(model, above, ties, both))
        concordance += weight * (signs.T @ signs)
        pairs = counted_together(untied, both)
        untied_first += weight * pairs
        untied_second += weight * pairs.T
    with np.errstate(invalid="ignore", divide="ignore"):
        one_sided = concordance / np.sqrt(untied_first * untied_second)
    return np.clip((one_sided + one_sided.T) / 2, -1, 1)


def _better(model: int, above: Mask, ties: Mask, both: Mask) -> Floats:
    """Models before one, among those with both columns: by the row's column, then the other.

    Of models that are equal in both columns, the study's order counts.

    Parameters
    ----------
    model : int
    above, ties, both : ndarray of bool, shape (n_models, n_columns)
        Which models score higher than this one, which alike, and which have the column as it has.

    Returns
    -------
    ndarray of shape (n_columns, n_columns)
    """
    before = counted_together(above, both).astype(np.float64)
    others = ties.copy()
    others[model] = False
    tied = np.flatnonzero(others.any(axis=0))
    if tied.size:
        others[model:] = False
        first_of_equal = above | others
        ties = ties[:, tied]
        ties[model] = False
        before[tied] += counted_together(ties, first_of_equal)
    return before
