"""Delete-one-group jackknife of any statistic over models.

Models of one group (family, method) are not independent, so whole groups are left out. With
θ(g) the statistic without group g and θ(·) their mean, its variance is (G-1)/G Σ (θ(g) - θ(·))²
(Efron & Stein 1981), and the interval θ ± t(G-1) times its root; for correlations on the atanh
scale, with |r| kept below 1 - 1e-6.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Mask = NDArray[np.bool_]

MIN_GROUPS = 5
"""Below this, intervals are withheld."""

MAX_GROUPS = 50
"""More groups than these are joined by chance: a thousand would be left out one by one for an
interval that hardly depends on it (delete-a-group jackknife, Kott 2001)."""

_LIMIT = 1 - 1e-6


@dataclass(frozen=True)
class Estimate:
    """A statistic with its interval over models; all arrays have the statistic's shape.

    Attributes
    ----------
    value, low, high : ndarray
        NaN where withheld.
    n : ndarray of int
        Models that entered.
    groups : ndarray of int
        Groups among them, as they were left out.
    """

    value: Floats
    low: Floats
    high: Floats
    n: Counts
    groups: Counts

    @classmethod
    def stacked(cls, parts: Sequence[Estimate]) -> Estimate:
        """Estimates of equal shape as one, along a new first axis."""
        return cls(*(np.stack(v) for v in zip(*(vars(p).values() for p in parts), strict=True)))


def deletions(
    statistic: Callable[[Mask], tuple[Floats, Counts]], groups: NDArray[np.str_]
) -> tuple[Floats, Counts, Floats, Mask]:
    """A statistic of all models, its n, its values without each group, and who uses the group.

    Returns
    -------
    value, n : ndarray
        Of the statistic's shape.
    without, used : ndarray
        With an axis of groups before it.
    """
    value, n = statistic(np.ones(len(groups), bool))
    blocks = _blocks(groups)
    found = [statistic(blocks != block) for block in np.unique(blocks)]
    # Without any model there is no group: axes of length 0, and no interval from them.
    without = np.array([part for part, _ in found]).reshape(len(found), *value.shape)
    used = np.array([left < n for _, left in found], bool).reshape(len(found), *n.shape)
    return value, n, without, used


def jackknifed(
    statistic: Callable[[Mask], tuple[Floats, Counts]],
    groups: NDArray[np.str_],
    confidence: float,
    *,
    correlation: bool = False,
) -> Estimate:
    """A statistic of all models with its delete-one-group interval.

    Parameters
    ----------
    statistic : callable
        From a mask of models to values and the numbers of models that entered each.
    groups : ndarray of shape (n_models,)
    confidence : float
    correlation : bool
        Whether values lie in [-1, 1]: the interval is then made on the atanh scale.

    Returns
    -------
    Estimate
        Without an interval below `MIN_GROUPS` groups, where the statistic can't be computed
        without one of them, and where it is the same without any.
    """
    value, n, without, used = deletions(statistic, groups)
    count = np.sum(used, axis=0).astype(np.int64)
    low, high = _interval(value, without, used, confidence, correlation)
    few = count < MIN_GROUPS
    return Estimate(value, np.where(few, np.nan, low), np.where(few, np.nan, high), n, count)


def _blocks(groups: NDArray[np.str_]) -> Counts:
    """Which models are left out together."""
    names, place = np.unique(groups, return_inverse=True)
    blocks = np.arange(len(names))
    if len(names) > MAX_GROUPS:
        blocks = np.random.default_rng(0).permutation(blocks) % MAX_GROUPS
    return blocks[place]


def _interval(
    value: Floats, without: Floats, used: Mask, confidence: float, correlation: bool
) -> tuple[Floats, Floats]:
    if correlation:
        value, without = (np.arctanh(np.clip(v, -_LIMIT, _LIMIT)) for v in (value, without))
    count = np.maximum(used.sum(axis=0), 2)  # fewer are withheld by the caller
    centre = np.where(used, without, 0.0).sum(axis=0) / count
    squares = np.square(np.where(used, without - centre, 0.0)).sum(axis=0)
    error = np.sqrt((count - 1) / count * squares)
    error[error < 1e-12] = np.nan  # nothing varies: the formula has no width to give
    half = stats.t.ppf(0.5 + confidence / 2, count - 1) * error
    if correlation:
        return np.tanh(value - half), np.tanh(value + half)
    return value - half, value + half
