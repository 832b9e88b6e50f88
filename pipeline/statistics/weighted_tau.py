"""Weighted Kendall τ: agreement on which models are best counts more than on which are worst."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_ELEMENTS = 4_000_000
"""Numbers in one block of ranks: 32 MB."""


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
    Σ_i w_i Σ_j sgn(x_i - x_j) sgn(y_i - y_j), n matrix products.

    References
    ----------
    Vigna 2015, "A weighted correlation index for rankings with ties".
    """
    models, columns = scores.shape
    one_sided = np.empty((columns, columns))
    step = max(1, _ELEMENTS // max(models * columns, 1))
    for start in range(0, columns, step):
        block = slice(start, start + step)
        one_sided[block] = _ranked_by_first(scores, block)
    return np.clip((one_sided + one_sided.T) / 2, -1, 1)


def _ranked_by_first(scores: Floats, block: slice) -> Floats:
    """Weighted τ with ranks by the columns of a block, shape (n_block, n_columns)."""
    weights = _weights(scores[:, block], scores)
    shape = weights.shape[1:]
    concordance, untied_first, untied_second = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for model, weight in enumerate(weights):
        signs = np.sign(scores[model] - scores)
        both = np.isfinite(signs).astype(np.float64)
        signs = np.nan_to_num(signs)
        untied = np.square(signs)
        concordance += weight * (signs[:, block].T @ signs)
        untied_first += weight * (untied[:, block].T @ both)
        untied_second += weight * (both[:, block].T @ untied)
    with np.errstate(invalid="ignore", divide="ignore"):
        return concordance / np.sqrt(untied_first * untied_second)


def _weights(first: Floats, second: Floats) -> Floats:
    """1/(rank + 1) by `first`, then by `second`, among models with both; missing ones come last.

    Returns
    -------
    ndarray of shape (n_models, n_first, n_second)
    """
    a, b = np.broadcast_arrays(first[:, :, np.newaxis], second[:, np.newaxis, :])
    missing = ~(np.isfinite(a) & np.isfinite(b))
    order = np.lexsort((-b, np.where(missing, np.inf, -a)), axis=0)
    ranks = np.empty(order.shape)
    places = np.arange(1.0, len(first) + 1)[:, np.newaxis, np.newaxis]
    np.put_along_axis(ranks, order, np.broadcast_to(places, order.shape), axis=0)
    return 1 / ranks
