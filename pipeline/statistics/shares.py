"""Intervals of shares."""

from __future__ import annotations

import numpy as np
import scipy
from numpy.typing import ArrayLike

from pipeline.statistics.arrays import Floats


def wilson(right: ArrayLike, total: ArrayLike, confidence: float) -> tuple[Floats, Floats]:
    """Wilson's score interval of a share; NaN where there is nothing to share.

    Parameters
    ----------
    right, total : array of equal shape
    confidence : float

    References
    ----------
    Wilson 1927, "Probable inference, the law of succession, and statistical inference"; recommended
    for few images by Brown, Cai & DasGupta 2001.
    """
    k, n = np.asarray(right, np.float64), np.asarray(total, np.float64)
    z = float(scipy.stats.norm.ppf(0.5 + confidence / 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        share = k / n
        middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    low = np.where(k == 0, 0.0 * share, middle - half)
    high = np.where(k == n, share, middle + half)
    return low, high
