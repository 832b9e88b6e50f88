"""Intervals that hold for all compared predictors at once, so that they hold for the leader, too.

Who leads was chosen by its number, which is too high for that reason: of 12 equal predictors the
highest has an interval of its own that covers 83%. One that covers all 12 together covers the one
that was chosen, whichever it is.
"""

from __future__ import annotations

import numpy as np
import scipy

from pipeline.statistics.arrays import Floats

SIMULATED = 20_000
"""Draws behind a quantile: its standard error is about 0.02."""


def joint_quantile(deviations: Floats, confidence: float) -> float:
    """Quantile of the largest |t| of several statistics, from a multivariate t distribution.

    Parameters
    ----------
    deviations : ndarray of shape (n_groups, n_statistics)
        What each statistic becomes without each group, less the mean of these: their correlation
        over groups is that of the statistics (jackknife).
    confidence : float

    Returns
    -------
    float
        With G - 1 degrees of freedom; not below Student's t, which is that of one statistic.

    Notes
    -----
    Normal weights of the groups give draws with exactly the jackknife's correlation, without taking
    a root of it, which has none where there are more statistics than groups.
    """
    groups, count = deviations.shape
    freedom = groups - 1
    alone = float(scipy.stats.t.ppf(0.5 + confidence / 2, freedom))
    if count < 2:
        return alone
    rng = np.random.default_rng(0)
    length = np.linalg.norm(deviations, axis=0)
    still = length < 1e-12  # a statistic that nothing moves: independent of the others
    directions = np.where(still, 0.0, deviations / np.where(still, 1.0, length))
    normal = rng.standard_normal((SIMULATED, groups)) @ directions
    normal[:, still] = rng.standard_normal((SIMULATED, int(still.sum())))
    scale = np.sqrt(rng.chisquare(freedom, SIMULATED) / freedom)
    return max(alone, float(np.quantile(np.abs(normal).max(axis=1) / scale, confidence)))


def joint_interval(
    middle: Floats, half: Floats, low: Floats, high: Floats
) -> tuple[Floats, Floats]:
    """The simultaneous interval of correlations, and no narrower than each one's own.

    A jackknife's own error is multiplied by the joint quantile. The least error of a correlation is
    that of independent models, not one that was chosen for being small: it bounds as it does alone.

    Parameters
    ----------
    middle : ndarray of shape (n_statistics,)
        On the atanh scale.
    half : ndarray of the same shape
        Joint quantile times the jackknife's error.
    low, high : ndarray of the same shape
        Own intervals, with the least error.
    """
    return (
        np.minimum(low, np.tanh(middle - half)),
        np.maximum(high, np.tanh(middle + half)),
    )
