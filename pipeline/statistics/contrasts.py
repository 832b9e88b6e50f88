"""Differences between two sides of models, within strata, with permutation tests.

With one stratum this is the difference of two means; with several it is the coefficient of the side
in a least-squares fit of side and stratum: the mean of the strata's differences, weighted by
ab / (a + b) for a and b models on the two sides of a stratum.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import scipy

from pipeline.statistics.arrays import Counts, Floats, Mask, Words

EXACT = 20_000
"""Up to so many assignments are all gone through."""

DRAWS = 1_999
"""Random assignments where there are more."""

MANY = 200
"""Beyond so many models the difference under all assignments is normal for all that matters."""


@dataclass(frozen=True)
class Contrast:
    """Two sides of models to compare.

    Attributes
    ----------
    name : str
        ``left - right``, and within what.
    left, right : ndarray of shape (n_models,), bool
    strata : ndarray of shape (n_models,), optional
        Models are compared within these; None: all with all.
    tested : bool
        Whether models could have been on the other side, so that a permutation makes sense.
    """

    name: str
    left: Mask
    right: Mask
    strata: Words | None = None
    tested: bool = True


def difference(contrast: Contrast, scores: Floats, kept: Mask) -> tuple[Floats, Counts]:
    """Left minus right.

    Parameters
    ----------
    contrast : Contrast
    scores : ndarray of shape (n_models, n_columns)
        NaN where missing.
    kept : ndarray of shape (n_models,), bool
        Models to use.

    Returns
    -------
    value : ndarray of shape (n_columns,)
        NaN where no stratum has models on both sides.
    n : ndarray of shape (n_columns,)
        Models in strata that have both.
    """
    gaps, weights, counts = _strata(contrast, scores, kept)
    with np.errstate(invalid="ignore", divide="ignore"):
        value: Floats = (gaps * weights).sum(axis=0) / weights.sum(axis=0)
    return value, counts


def side_counts(contrast: Contrast, scores: Floats) -> tuple[Counts, Counts]:
    """Models with a score on the left and on the right side, of each column."""
    present = np.isfinite(scores)
    left = (contrast.left[:, np.newaxis] & present).sum(axis=0)
    right = (contrast.right[:, np.newaxis] & present).sum(axis=0)
    return left, right


def permutation_p(
    contrast: Contrast, scores: Floats, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Two-sided p of no difference, and the smallest that the design can give.

    Without strata models change sides in every way; with them the two sides of a stratum change
    places (the sign test's assignments). All ways are gone through up to `EXACT`; else p is
    (b + 1) / (B + 1) of random ones (Phipson & Smyth 2010), and beyond `MANY` models that of the
    normal distribution with the assignments' variance (Hoeffding 1951).

    Parameters
    ----------
    contrast : Contrast
    scores : ndarray of shape (n_models, n_columns)
    rng : Generator

    Returns
    -------
    p, smallest : ndarray of shape (n_columns,)
        NaN where there is nothing to compare.
    """
    p, smallest = np.full(scores.shape[1], np.nan), np.full(scores.shape[1], np.nan)
    for column in range(scores.shape[1]):
        y = scores[:, column]
        if contrast.strata is None:
            found = _by_sides(contrast, y, rng)
        else:
            found = _by_signs(contrast, y, rng)
        p[column], smallest[column] = found
    return p, smallest


def _by_sides(contrast: Contrast, y: Floats, rng: np.random.Generator) -> tuple[float, float]:
    used = np.isfinite(y) & (contrast.left | contrast.right)
    values, n, k = y[used], int(used.sum()), int((used & contrast.left).sum())
    if not 0 < k < n:
        return math.nan, math.nan
    observed = float(values[contrast.left[used]].mean() - values[contrast.right[used]].mean())
    if n > MANY:
        error = math.sqrt(float(values.var(ddof=1)) * n / (k * (n - k)))
        return float(2 * scipy.stats.norm.sf(abs(observed) / error)) if error else 1.0, 0.0
    ways = math.comb(n, k)
    # With equal sides an assignment and its mirror image differ by the same amount.
    smallest = (2 if 2 * k == n else 1) / ways
    if ways <= EXACT:
        chosen = np.array(list(itertools.combinations(range(n), k)))
    else:
        chosen = np.argsort(rng.random((DRAWS, n)), axis=1)[:, :k]
        smallest = 1 / (DRAWS + 1)
    sums = values[chosen].sum(axis=1)
    differences = sums / k - (values.sum() - sums) / (n - k)
    return _p(differences, observed, exact=ways <= EXACT), smallest


def _by_signs(contrast: Contrast, y: Floats, rng: np.random.Generator) -> tuple[float, float]:
    gaps, weights, _ = _strata(contrast, y[:, np.newaxis], np.ones(len(y), bool))
    parts = (gaps * weights)[weights > 0] / max(weights.sum(), 1e-300)
    m = len(parts)
    if not m:
        return math.nan, math.nan
    exact = 2**m <= EXACT
    if exact:
        signs = np.array(list(itertools.product((-1.0, 1.0), repeat=m)))
    else:
        signs = rng.choice([-1.0, 1.0], (DRAWS, m))
    smallest = 2 / 2**m if exact else 1 / (DRAWS + 1)
    return _p(signs @ parts, float(parts.sum()), exact=exact), smallest


def _p(differences: Floats, observed: float, *, exact: bool) -> float:
    """Share of assignments that differ at least as much; rounding does not part equal ones."""
    noise = 1e-9 * max(float(np.abs(differences).max()), abs(observed))
    as_far = int((np.abs(differences) >= abs(observed) - noise).sum())
    return as_far / len(differences) if exact else (as_far + 1) / (len(differences) + 1)


def _strata(contrast: Contrast, scores: Floats, kept: Mask) -> tuple[Floats, Floats, Counts]:
    """Gap and weight of each stratum and column, and models per column."""
    used = kept & (contrast.left | contrast.right)
    scores = scores[used]
    strata = np.zeros(len(scores), str) if contrast.strata is None else contrast.strata[used]
    names, place = np.unique(strata, return_inverse=True)
    member = (place == np.arange(len(names))[:, np.newaxis]).astype(np.float64)
    present = np.isfinite(scores)
    values, held = np.where(present, scores, 0.0), present.astype(np.float64)
    sides = [member * side[used] for side in (contrast.left, contrast.right)]
    (a, b), (left, right) = [s @ held for s in sides], [s @ values for s in sides]
    both = (a > 0) & (b > 0)
    gaps = np.where(both, left / np.maximum(a, 1) - right / np.maximum(b, 1), 0.0)
    weights = np.where(both, a * b / np.maximum(a + b, 1), 0.0)
    counts = np.where(both, a + b, 0.0).sum(axis=0).astype(np.int64)
    return gaps, weights, counts
