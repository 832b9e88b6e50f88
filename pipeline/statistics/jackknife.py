"""Delete-one-group jackknife of any statistic over models.

Models of one group (family, method) are not independent, so whole groups are left out. With
θ(g) the statistic without group g and θ(·) their mean, its variance is (G-1)/G Σ (θ(g) - θ(·))²
(Efron & Stein 1981), and the interval θ ± t(G-1) times its root; for correlations on the atanh
scale, by the rules of `pipeline.statistics.fisher_z`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from pipeline.statistics.arrays import Counts, Floats, Mask, Words
from pipeline.statistics.fisher_z import ALMOST_ONE, least_rho_error, rho_limit, z_of

MIN_GROUPS = 5
"""Below this, intervals are withheld."""

MOST_GROUPS = 50
"""More groups than these are joined by chance: a thousand would be left out one by one for an
interval that hardly depends on it (Kott 2001, "The delete-a-group jackknife")."""


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


def members_of(groups: Words) -> Mask:
    """Which models belong to each group, groups in alphabetical order.

    Returns
    -------
    ndarray of bool, shape (n_groups, n_models)
    """
    names, place = np.unique(groups, return_inverse=True)
    members: Mask = place.ravel() == np.arange(len(names))[:, np.newaxis]
    return members


def deletion_groups(groups: Words) -> Mask:
    """Which models are left out together: a group, or of many groups a share of `MOST_GROUPS`.

    Returns
    -------
    ndarray of bool, shape (n_deletions, n_models)
    """
    members = members_of(groups)
    if len(members) <= MOST_GROUPS:
        return members
    order = np.random.default_rng(0).permutation(len(members))  # names may tell of likeness
    return np.stack([members[order[g::MOST_GROUPS]].any(axis=0) for g in range(MOST_GROUPS)])


class Jackknife:
    """Delete-one-group jackknife on the atanh scale, Student's t with G - 1 degrees of freedom.

    Keeps two sums, not the groups' values: memory does not grow with the number of groups.

    Parameters
    ----------
    value : ndarray of shape (...)
        Correlations over all groups.
    confidence : float
    limit : ndarray, broadcast against `value`
        Where correlations are clipped.

    References
    ----------
    Efron & Stein 1981, "The jackknife estimate of variance"; the coverage of this interval under
    family dependence was simulated for this project (docs/statistics.md).
    """

    def __init__(
        self, value: Floats, confidence: float, limit: Floats | float = ALMOST_ONE
    ) -> None:
        self._z = z_of(value, limit)
        self._confidence = confidence
        self._groups = np.zeros(value.shape, dtype=np.int64)
        self._sum = np.zeros(value.shape)
        self._squares = np.zeros(value.shape)

    def leave_out(
        self, without: Floats, used: Mask | bool = True, limit: Floats | float = ALMOST_ONE
    ) -> None:
        """Count one more group.

        Parameters
        ----------
        without : ndarray of shape (...)
            The same correlations without this group.
        used : ndarray of bool, broadcast against `without`
            Where the group took part at all; elsewhere it is not counted.
        limit : ndarray, broadcast against `without`
            Where these are clipped: of fewer models, further from 1.
        """
        # Differences from the whole are small, so that sums of squares lose no digits; a NaN of a
        # group that counts stays one, rightly.
        step = np.where(used, z_of(without, limit) - self._z, 0.0)
        self._groups += used
        self._sum += step
        self._squares += np.square(step)

    def error(self) -> Floats:
        """Standard errors on the atanh scale; NaN below `MIN_GROUPS` groups."""
        with np.errstate(invalid="ignore", divide="ignore"):
            spread = np.maximum(self._squares - np.square(self._sum) / self._groups, 0)
            error = np.sqrt((self._groups - 1) / self._groups * spread)
        return np.where(self._groups < MIN_GROUPS, np.nan, error)

    def interval(self, least: Floats | float = 0.0) -> tuple[Floats, Floats]:
        """Lower and upper ends; NaN below `MIN_GROUPS` groups.

        Parameters
        ----------
        least : ndarray, broadcast against the values
            Standard errors are not taken to be smaller than this.
        """
        quantile = scipy.stats.t.ppf(0.5 + self._confidence / 2, np.maximum(self._groups - 1, 1))
        half = quantile * np.maximum(self.error(), least)
        return np.tanh(self._z - half), np.tanh(self._z + half)


def without_each(
    statistic: Callable[[Mask], tuple[Floats, Counts]], groups: Words
) -> tuple[Floats, Counts, Floats, Counts]:
    """A statistic of all models, and without each group in turn.

    Parameters
    ----------
    statistic : callable
        From a mask of models to values and the numbers of models that entered each.
    groups : ndarray of shape (n_models,)

    Returns
    -------
    value, n : ndarray
        Of the statistic's shape.
    without, left : ndarray
        The same with an axis of groups before it. A group takes part where `left` is below `n`.
    """
    value, n = statistic(np.ones(len(groups), bool))
    found = [statistic(~members) for members in deletion_groups(groups)]
    # Without any model there is no group: axes of length 0, and no interval from them.
    without = np.array([part for part, _ in found]).reshape(len(found), *value.shape)
    left = np.array([rest for _, rest in found], n.dtype).reshape(len(found), *n.shape)
    return value, n, without, left


def jackknifed(
    statistic: Callable[[Mask], tuple[Floats, Counts]],
    groups: Words,
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
        Whether values are Spearman's ρ: the interval is then made on the atanh scale.

    Returns
    -------
    Estimate
        Without an interval below `MIN_GROUPS` groups, where the statistic can't be computed
        without one of them, and where it is no correlation and the same without any.
    """
    value, n, without, left = without_each(statistic, groups)
    used = left < n
    count = np.sum(used, axis=0).astype(np.int64)
    if correlation:
        at = rho_limit(n)
        jackknife = Jackknife(value, confidence, at)
        for part, taken, rest in zip(without, used, left, strict=True):
            jackknife.leave_out(part, taken, rho_limit(rest))
        low, high = jackknife.interval(least_rho_error(np.clip(value, -at, at), n))
    else:
        low, high = _plain_interval(value, without, used, confidence)
    few = count < MIN_GROUPS
    return Estimate(value, np.where(few, np.nan, low), np.where(few, np.nan, high), n, count)


def _plain_interval(
    value: Floats, without: Floats, used: Mask, confidence: float
) -> tuple[Floats, Floats]:
    count = np.maximum(used.sum(axis=0), 2)  # fewer are withheld by the caller
    centre = np.where(used, without, 0.0).sum(axis=0) / count
    squares = np.square(np.where(used, without - centre, 0.0)).sum(axis=0)
    error = np.sqrt((count - 1) / count * squares)
    error[error < 1e-12] = np.nan  # nothing varies: the formula has no width to give
    half = scipy.stats.t.ppf(0.5 + confidence / 2, count - 1) * error
    return value - half, value + half
