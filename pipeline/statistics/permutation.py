"""Whether scores go together at all, beyond what backbones explain."""

from __future__ import annotations

import math

import numpy as np
import scipy
from numpy.typing import NDArray

from pipeline.statistics.arrays import Floats, Places, Words
from pipeline.statistics.correlation import by_pattern

PERMUTATIONS = 9_999

MANY = 200
"""Beyond so many models the statistic under all permutations is normal for all that matters."""

_ELEMENTS = 4_000_000
"""Numbers in one block of permuted columns: 32 MB."""

_COLUMNS = 32
"""Columns that are multiplied at once: of a square, little more than half is needed."""


def permutation_p(
    scores: Floats, backbones: Words, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """P values of "no rank correlation within backbones", by permuting models within them.

    The statistic is the pooled product of ranks less their backbone's mean: what permutations
    within backbones can change. Two-sided. It is not claimed to hold where models within a
    backbone are of one family: they are not exchangeable then. Of more than `MANY` models p is
    that of the normal distribution with the permutations' variance (Hoeffding 1951): thousands of
    models with gaps would be permuted anew for each pair of columns.

    Parameters
    ----------
    scores : ndarray of shape (n_models, n_columns)
        NaN where missing; a pair of columns uses the models that have both.
    backbones : ndarray of shape (n_models,)
    rng : Generator

    Returns
    -------
    p : ndarray of shape (n_columns, n_columns)
        (b + 1) / (B + 1) with B = `PERMUTATIONS`; NaN where no permutation changes anything.
    smallest : ndarray of shape (n_columns, n_columns)
        No p can be smaller: with few models a backbone there are few permutations.

    References
    ----------
    Phipson & Smyth 2010, "Permutation p-values should never be zero".
    """
    columns = scores.shape[1]
    p, smallest = np.full((columns, columns), np.nan), np.full((columns, columns), np.nan)
    patterns = by_pattern(scores)
    for i, (pattern, mine) in enumerate(patterns):
        for other, theirs in patterns[i:]:
            rows = pattern & other
            if rows.sum() < 2:
                continue
            groups = np.unique(backbones[rows], return_inverse=True)[1]
            x = _within(scores[np.ix_(rows, mine)], groups)
            y = x if mine is theirs else _within(scores[np.ix_(rows, theirs)], groups)
            many = len(groups) > MANY
            found = _normal_p(x, y, groups) if many else _share_beyond(x, y, groups, rng)
            p[np.ix_(mine, theirs)], p[np.ix_(theirs, mine)] = found, found.T
            arrangements = math.prod(math.factorial(int(n)) for n in np.bincount(groups))
            least = 0.0 if many else max(1 / (PERMUTATIONS + 1), 1 / arrangements)
            bound = np.where(np.isnan(found), np.nan, least)
            smallest[np.ix_(mine, theirs)], smallest[np.ix_(theirs, mine)] = bound, bound.T
    upper = np.triu_indices(columns, 1)  # of two draws for the same pair, one
    p[upper[::-1]] = p[upper]
    return p, smallest


def _share_beyond(x: Floats, y: Floats, groups: Places, rng: np.random.Generator) -> Floats:
    """P values of each column of `x` with each of `y`.

    Of columns with themselves (`x is y`) only those on and below the diagonal are asked for.
    """
    fewer = x.shape[1] < y.shape[1]  # the fewer columns are moved
    still, moved = (_exact(values) for values in ((y, x) if fewer else (x, y)))
    observed = np.abs(still.T @ moved)
    step = max(1, _ELEMENTS // max(observed.size, moved.size, 1))
    beyond = np.zeros(observed.shape, dtype=np.int64)
    for start in range(0, PERMUTATIONS, step):
        places = _permutations_within(groups, min(step, PERMUTATIONS - start), rng)
        permuted = moved[_inverse(places) if fewer else places]
        for first in range(0, observed.shape[0], _COLUMNS):
            rows = slice(first, first + _COLUMNS)
            asked = slice(0, rows.stop if x is y else None)
            products = still[:, rows].T @ permuted[..., asked]
            np.abs(products, out=products)
            beyond[rows, asked] += (products >= observed[rows, asked] - 1e-9).sum(axis=0)
    if fewer:
        beyond = beyond.T
    movable = np.outer(np.square(x).sum(axis=0) > 1e-9, np.square(y).sum(axis=0) > 1e-9)
    return np.where(movable, (beyond + 1) / (PERMUTATIONS + 1), np.nan)


def _exact(values: Floats) -> NDArray[np.floating]:
    """Halves of whole numbers as whole ones, in float32: sums of `MANY` products stay exact."""
    twice = 2 * values
    return twice.astype(np.float32) if (twice == np.rint(twice)).all() else values


def _inverse(permutations: Places) -> Places:
    """Σ x_i y_π(i) is Σ x_π⁻¹(i) y_i."""
    back = np.empty_like(permutations)
    np.put_along_axis(back, permutations, np.arange(back.shape[1])[np.newaxis], axis=1)
    return back


def _normal_p(x: Floats, y: Floats, groups: Places) -> Floats:
    """Within a group of n, Var Σ x_i y_π(i) = Σ x² Σ y² / (n - 1) for centred x and y."""
    member = (groups == np.arange(groups.max() + 1)[:, np.newaxis]).astype(np.float64)
    freedom = np.maximum(member.sum(axis=1) - 1, 1)[:, np.newaxis]  # a group of one is all zeros
    squares = [member @ np.square(values) for values in (x, y)]
    deviation = np.sqrt((squares[0] / freedom).T @ squares[1])
    with np.errstate(invalid="ignore", divide="ignore"):
        p: Floats = 2 * scipy.stats.norm.sf(np.abs(x.T @ y) / deviation)
    return np.where(deviation > 1e-9, p, np.nan)


def _within(values: Floats, groups: Places) -> Floats:
    """Ranks less their group's mean, by column; groups of one model become 0."""
    ranks = scipy.stats.rankdata(values, axis=0)
    means = np.stack([ranks[groups == g].mean(axis=0) for g in range(groups.max() + 1)])
    deviations: Floats = ranks - means[groups]
    return deviations


def _permutations_within(groups: Places, count: int, rng: np.random.Generator) -> Places:
    """Random permutations that keep every model in its group, shape (count, n_models)."""
    places = np.argsort(groups, kind="stable")
    # Sorting random numbers offset by the group shuffles each group in its own places.
    shuffled = np.argsort(rng.random((count, len(groups))) + groups[places], axis=1)
    permutations = np.empty_like(shuffled)
    permutations[:, places] = places[shuffled]
    return permutations
