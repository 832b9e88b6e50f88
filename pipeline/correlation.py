"""Correlation over models between any two score columns, with intervals over model families.

Columns are (variant, data set) pairs. Everything is vectorised over all pairs of columns, and
each pair uses the models that have both scores: missing cells are never imputed, and every
coefficient comes with its own n.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

MIN_MODELS = 4
"""Below this, coefficients are withheld."""

MIN_FAMILIES = 5
"""Below this, intervals are withheld."""

Floats = NDArray[np.float64]
COEFFICIENTS = ("pearson", "pearson_logit", "spearman", "kendall")


@dataclass(frozen=True)
class Correlations:
    """Coefficients of all pairs of columns.

    Attributes
    ----------
    value, low, high : ndarray of shape (n_coefficients, n_columns, n_columns)
        In the order of `COEFFICIENTS`; NaN where withheld.
    n : ndarray of shape (n_columns, n_columns), int
        Models with both scores.
    families : ndarray of shape (n_columns, n_columns), int
        Families among them.
    """

    value: Floats
    low: Floats
    high: Floats
    n: NDArray[np.int64]
    families: NDArray[np.int64]


def correlate(
    scores: Floats, families: NDArray[np.str_], n_test: Floats, confidence: float
) -> Correlations:
    """All coefficients between all columns, with delete-one-family jackknife intervals.

    Parameters
    ----------
    scores : ndarray of shape (n_models, n_columns)
        Accuracies in [0, 1]; NaN where missing.
    families : ndarray of shape (n_models,)
        Models of one family are not independent: the jackknife leaves out whole families.
    n_test : ndarray of shape (n_columns,)
        Test images behind each column, for the empirical logit.
    confidence : float
        E.g. 0.95.
    """
    present = np.isfinite(scores)
    n = present.T.astype(np.int64) @ present
    value = _withhold(coefficients(scores, n_test), n < MIN_MODELS)
    names = sorted(set(families.tolist()))
    in_family = np.array([[f == name for f in families] for name in names])
    pairs_with = np.stack([present[m].T.astype(int) @ present[m] > 0 for m in in_family])
    counts = pairs_with.sum(axis=0)
    low, high = np.full_like(value, np.nan), np.full_like(value, np.nan)
    if (counts >= MIN_FAMILIES).any():
        without = np.stack([coefficients(scores[~m], n_test) for m in in_family])
        low, high = jackknife_interval(value, without, pairs_with, confidence)
        low, high = (_withhold(v, counts < MIN_FAMILIES) for v in (low, high))
    return Correlations(value, low, high, n, counts)


def coefficients(scores: Floats, n_test: Floats) -> Floats:
    """Pearson r on raw and on logit accuracy, Spearman ρ (average ranks), Kendall τ-b.

    Equal to `scipy.stats` on the models that both columns have.

    Returns
    -------
    ndarray of shape (4, n_columns, n_columns)
        In the order of `COEFFICIENTS`; NaN for a constant column or fewer than two models.
    """
    hits = scores * n_test
    logit = np.log((hits + 0.5) / (n_test - hits + 0.5))
    return np.stack(
        [
            _pearson(scores, scores),
            _pearson(logit, logit),
            _spearman(scores),
            _kendall(scores),
        ]
    )


def jackknife_interval(
    value: Floats, without: Floats, used: NDArray[np.bool_], confidence: float
) -> tuple[Floats, Floats]:
    """Delete-one-group jackknife on the atanh scale, Student's t with G - 1 degrees of freedom.

    Parameters
    ----------
    value : ndarray of shape (...)
        Coefficients over all groups.
    without : ndarray of shape (n_groups, ...)
        The same without each group.
    used : ndarray of bool, shape (n_groups, ...) or its tail
        Groups that take part in each coefficient; the others are not counted.
    confidence : float

    References
    ----------
    Efron & Stein 1981, "The jackknife estimate of variance"; the coverage of this interval under
    family dependence was simulated for this project (docs/statistics.md).
    """
    limit = 1 - 1e-6
    z = np.arctanh(np.clip(value, -limit, limit))
    z_without = np.arctanh(np.clip(without, -limit, limit))
    used = np.broadcast_to(used[:, np.newaxis] if used.ndim < without.ndim else used, without.shape)
    groups = used.sum(axis=0)
    weights = np.where(used, 1.0, 0.0)
    usable = np.where(used, z_without, 0.0)  # NaN in a used group stays NaN, rightly
    with np.errstate(invalid="ignore", divide="ignore"):
        centre = (weights * usable).sum(axis=0) / groups
        deviations = np.where(used, usable - centre, 0.0)
        variance = (groups - 1) / groups * np.square(deviations).sum(axis=0)
        half = stats.t.ppf(0.5 + confidence / 2, np.maximum(groups - 1, 1)) * np.sqrt(variance)
        return np.tanh(z - half), np.tanh(z + half)


def _withhold(values: Floats, where: NDArray[np.bool_]) -> Floats:
    return np.where(where, np.nan, values)


def _pearson(a: Floats, b: Floats) -> Floats:
    """Pearson r of every column of `a` with every column of `b`, over rows that both have."""
    result = np.full((a.shape[1], b.shape[1]), np.nan)
    for pattern, columns in _by_pattern(a):
        for other, partners in _by_pattern(b):
            rows = pattern & other
            if rows.sum() < 2:
                continue
            x, y = (_standardise(v[np.ix_(rows, c)]) for v, c in ((a, columns), (b, partners)))
            result[np.ix_(columns, partners)] = np.clip(x.T @ y, -1, 1)
    return result


def _spearman(scores: Floats) -> Floats:
    """Spearman ρ: ranks are taken anew among the models that both columns have."""
    result = np.full((scores.shape[1],) * 2, np.nan)
    for pattern, columns in _by_pattern(scores):
        for other, partners in _by_pattern(scores):
            rows = pattern & other
            if rows.sum() < 2:
                continue
            x, y = (
                _standardise(stats.rankdata(scores[np.ix_(rows, c)], axis=0))
                for c in (columns, partners)
            )
            result[np.ix_(columns, partners)] = np.clip(x.T @ y, -1, 1)
    return result


def _kendall(scores: Floats) -> Floats:
    """Kendall τ-b from the signs of all pairs of models; a missing score counts in no pair."""
    first, second = np.triu_indices(len(scores), 1)
    signs = np.sign(scores[first] - scores[second])
    both = np.isfinite(signs).astype(np.float64)
    signs = np.nan_to_num(signs)
    untied = np.square(signs)
    concordance = signs.T @ signs
    with np.errstate(invalid="ignore", divide="ignore"):
        tau = concordance / np.sqrt((untied.T @ both) * (both.T @ untied))
    return np.clip(tau, -1, 1)


def _by_pattern(values: Floats) -> list[tuple[NDArray[np.bool_], NDArray[np.int64]]]:
    """Columns grouped by which rows they have: complete cubes are one group."""
    patterns, group = np.unique(np.isfinite(values), axis=1, return_inverse=True)
    return [(patterns[:, g], np.flatnonzero(group.ravel() == g)) for g in range(patterns.shape[1])]


def _standardise(values: Floats) -> Floats:
    """Columns with mean 0 and length 1; NaN for constant ones."""
    centred = values - values.mean(axis=0)
    length = np.linalg.norm(centred, axis=0)
    noise = 1e-13 * np.linalg.norm(values, axis=0)
    length = np.where(length <= noise, np.nan, length)
    standardised: Floats = centred / length
    return standardised
