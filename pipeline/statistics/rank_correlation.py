"""Spearman's ρ between columns of two tables, over all models or within groups of them."""

from __future__ import annotations

import numpy as np
import scipy

from pipeline.statistics.arrays import Counts, Floats, Mask, Words
from pipeline.statistics.correlation import MIN_MODELS, by_pattern


def spearman(x: Floats, y: Floats, groups: Words | None = None) -> tuple[Floats, Counts]:
    """ρ of every column of `x` with every column of `y`, over the models that have both.

    Parameters
    ----------
    x : ndarray of shape (n_models, n_x)
    y : ndarray of shape (n_models, n_y)
        NaN where missing; average ranks for ties, taken anew for every pair.
    groups : ndarray of shape (n_models,), optional
        The partial correlation given the group: ranks among all models, less the mean of each
        group. A group of one model says nothing and is not counted.

    Returns
    -------
    rho : ndarray of shape (n_x, n_y)
        NaN for fewer than four models, for fewer than two degrees of freedom given the groups, or
        without spread.
    n : ndarray of shape (n_x, n_y)
        Models that entered.
    """
    rho = np.full((x.shape[1], y.shape[1]), np.nan)
    n = np.zeros(rho.shape, np.int64)
    for in_x, x_columns in by_pattern(x):
        for in_y, y_columns in by_pattern(y):
            rows = np.flatnonzero(in_x & in_y)
            places = np.ix_(x_columns, y_columns)
            if groups is not None:
                rows = rows[_in_company(groups[rows])]
            n[places] = len(rows)
            levels = 1 if groups is None else len(np.unique(groups[rows]))
            if len(rows) < MIN_MODELS or len(rows) - levels < 2:
                continue
            of_rows = None if groups is None else groups[rows]
            a = _standardised(x[np.ix_(rows, x_columns)], of_rows)
            b = _standardised(y[np.ix_(rows, y_columns)], of_rows)
            rho[places] = np.clip(a.T @ b, -1, 1)
    return rho, n


def rho_of(x: Floats, y: Floats) -> float:
    """ρ of two scores, each of shape (n_models,); NaN below four models, or without spread."""
    both = np.isfinite(x) & np.isfinite(y)
    if np.count_nonzero(both) < MIN_MODELS or not np.ptp(x[both]) or not np.ptp(y[both]):
        return np.nan
    return float(np.corrcoef(scipy.stats.rankdata(x[both]), scipy.stats.rankdata(y[both]))[0, 1])


def _standardised(values: Floats, groups: Words | None) -> Floats:
    """Ranks of each column, less their mean (of each group), with length 1; NaN without spread."""
    ranks = scipy.stats.rankdata(values, axis=0)
    if groups is None:
        centred = ranks - ranks.mean(axis=0)
    else:
        names, place = np.unique(groups, return_inverse=True)
        sums = np.zeros((len(names), ranks.shape[1]))
        np.add.at(sums, place, ranks)
        centred = ranks - (sums / np.bincount(place)[:, np.newaxis])[place]
    length = np.linalg.norm(centred, axis=0)
    # Ranks are halves of whole numbers: what is smaller than this is rounding of group means.
    length[length < 1e-9] = np.nan
    standardised: Floats = centred / length
    return standardised


def _in_company(groups: Words) -> Mask:
    """Whether each model's group has another model."""
    if not len(groups):
        return np.zeros(0, bool)
    _, place, size = np.unique(groups, return_inverse=True, return_counts=True)
    alone: Mask = size[place] > 1
    return alone
