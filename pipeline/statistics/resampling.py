"""Bootstrap over models or whole families: correlations of all resamples at once.

A resample is a row of weights: how often each model was drawn. Weighted mid-ranks and weighted
products then equal those of the resample written out, without writing it out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.statistics.correlation import by_pattern

Floats = NDArray[np.float64]

REPLICATES = 10_000

_FEW_MODELS = 100
"""Up to these, ranks are a matrix product; beyond, sorting is quicker."""

_ELEMENTS = 4_000_000
"""Numbers in one block of standardised columns: 32 MB."""


def model_weights(models: int, replicates: int, rng: np.random.Generator) -> Floats:
    """How often each model comes in each resample of models, shape (replicates, models)."""
    counts: Floats = rng.multinomial(models, np.full(models, 1 / models), replicates).astype(float)
    return counts


def family_weights(families: NDArray[np.str_], replicates: int, rng: np.random.Generator) -> Floats:
    """The same where whole families are drawn; resamples then differ in their number of models."""
    of_model = np.unique(families, return_inverse=True)[1]
    groups = int(of_model.max()) + 1
    drawn = rng.multinomial(groups, np.full(groups, 1 / groups), replicates)
    counts: Floats = drawn[:, of_model].astype(float)
    return counts


def blocks(weights: Floats, columns: int) -> Iterator[slice]:
    """Ranges of resamples whose standardised columns fit into 32 MB."""
    step = max(1, _ELEMENTS // max(weights.shape[1] * columns, columns**2, 1))
    for start in range(0, len(weights), step):
        yield slice(start, start + step)


def resampled_correlations(
    x: Floats, y: Floats, weights: Floats, kind: Literal["pearson", "spearman"]
) -> Floats:
    """Correlation of every column of `x` with every column of `y` in every resample.

    Parameters
    ----------
    x, y : ndarray of shape (n_models, n_x) and (n_models, n_y)
        NaN where missing; a pair of columns uses the models that have both.
    weights : ndarray of shape (n_resamples, n_models)
        See `model_weights`.
    kind : str
        Of ``spearman``, ranks are taken anew in each resample, ties averaged.

    Returns
    -------
    ndarray of shape (n_resamples, n_x, n_y)
        NaN where a resample makes a column constant.
    """
    result = np.full((len(weights), x.shape[1], y.shape[1]), np.nan)
    for pattern, mine in by_pattern(x):
        for other, theirs in by_pattern(y):
            rows = pattern & other
            if rows.sum() < 2:
                continue
            drawn = weights[:, rows]
            a, b = (
                _centred(v[np.ix_(rows, chosen)], drawn, kind)
                for v, chosen in ((x, mine), (y, theirs))
            )
            lengths = [np.sqrt(np.einsum("bnc,bnc->bc", v, v)) for v in (a, b)]
            for length in lengths:
                length[length == 0] = np.nan
            product = np.swapaxes(a, 1, 2) @ b
            product /= lengths[0][:, :, np.newaxis]
            product /= lengths[1][:, np.newaxis]
            result[np.ix_(np.arange(len(weights)), mine, theirs)] = np.clip(product, -1, 1)
    return result


def resampled_tau(scores: Floats, weights: Floats) -> Floats:
    """Kendall's τ-b between all columns in every resample, shape (n_resamples, n, n).

    Parameters
    ----------
    scores : ndarray of shape (n_models, n)
    weights : ndarray of shape (n_resamples, n_models)
        Whole numbers; copies of a model are tied with each other.
    """
    first, second = np.triu_indices(len(scores), 1)
    # float32 holds these whole numbers exactly, and is twice as fast.
    signs = np.sign(scores[first] - scores[second]).astype(np.float32)
    both = np.isfinite(signs).astype(np.float32)
    signs = np.nan_to_num(signs)
    untied = np.square(signs)
    result = np.empty((len(weights), scores.shape[1], scores.shape[1]))
    for resample, drawn in enumerate(weights.astype(np.float32)):
        times = (drawn[first] * drawn[second])[:, np.newaxis]
        concordance = (times * signs).T @ signs
        pairs = (times * untied).T @ both
        with np.errstate(invalid="ignore", divide="ignore"):
            result[resample] = concordance / np.sqrt(pairs.astype(np.float64) * pairs.T)
    return np.clip(result, -1, 1)


def weighted_ranks(values: Floats, weights: Floats) -> Floats:
    """Mid-ranks of every column in every resample.

    Parameters
    ----------
    values : ndarray of shape (n_models, n_columns)
    weights : ndarray of shape (n_resamples, n_models)

    Returns
    -------
    ndarray of shape (n_resamples, n_models, n_columns)
        Of a model that a resample lacks, a rank that nobody asks for.
    """
    models, columns = values.shape
    if models <= _FEW_MODELS:
        # 1/2 + Σ_j w_j ([x_j < x_i] + [x_j = x_i]/2): one matrix product for all columns
        below = np.sign(values - values[:, np.newaxis]) / 2 + 0.5  # of [j, i, column]
        product = weights @ below.reshape(models, -1)
        return product.reshape(-1, models, columns) + 0.5
    ranks = np.empty((len(weights), models, columns))
    for c, column in enumerate(values.T):
        order = np.argsort(column, kind="stable")
        _, starts, place = np.unique(column[order], return_index=True, return_inverse=True)
        together = np.add.reduceat(weights[:, order], starts, axis=1)
        middle = np.cumsum(together, axis=1) - together / 2 + 0.5
        ranks[:, order, c] = middle[:, place]
    return ranks


def _centred(values: Floats, weights: Floats, kind: Literal["pearson", "spearman"]) -> Floats:
    """Columns less their mean, times √weight, in every resample; 0 where it makes them constant.

    Returns
    -------
    ndarray of shape (n_resamples, n_models, n_columns)
    """
    total = weights.sum(axis=1)[:, np.newaxis]
    root = np.sqrt(weights)[:, :, np.newaxis]
    if kind == "spearman":
        ranks = weighted_ranks(values, weights)
        ranks -= (total / 2 + 0.5)[:, :, np.newaxis]  # the mean of ranks, whatever their ties
        ranks *= root
        return ranks
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (weights @ values) / total
    centred: Floats = (values - mean[:, np.newaxis]) * root
    noise = 1e-13 * np.sqrt(weights @ np.square(values))
    length = np.sqrt(np.einsum("bnc,bnc->bc", centred, centred))
    centred *= (length > noise)[:, np.newaxis]
    return centred


def percentile_interval(draws: Floats, confidence: float) -> tuple[Floats, Floats]:
    """Percentile interval over the first axis; resamples without a value are left out.

    Returns
    -------
    low, high : ndarray of shape draws.shape[1:]
        NaN where fewer than half of the resamples have a value.
    """
    ordered = np.sort(draws, axis=0)  # NaN last
    found = np.isfinite(ordered).sum(axis=0)
    ends = []
    for share in ((1 - confidence) / 2, (1 + confidence) / 2):
        place = share * np.maximum(found - 1, 0)
        below = np.floor(place).astype(np.intp)
        above = np.minimum(below + 1, np.maximum(found - 1, 0))
        low, high = (np.take_along_axis(ordered, i[np.newaxis], axis=0)[0] for i in (below, above))
        value = low + (high - low) * (place - below)
        ends.append(np.where(2 * found < len(draws), np.nan, value))
    return ends[0], ends[1]
