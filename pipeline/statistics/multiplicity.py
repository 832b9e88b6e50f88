"""p values of a family of tests, corrected for their number."""

from __future__ import annotations

import numpy as np
import scipy

from pipeline.statistics.arrays import Floats


def holm(p: Floats) -> Floats:
    """Holm's step-down correction: holds whatever the dependence of the tests.

    Parameters
    ----------
    p : ndarray of shape (n_tests,)
        NaN for a test that was not made; it is not counted.

    Returns
    -------
    ndarray of shape (n_tests,)

    References
    ----------
    Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    corrected = np.full(p.shape, np.nan)
    made = np.flatnonzero(np.isfinite(p))
    order = made[np.argsort(p[made], kind="stable")]
    still_there = len(made) - np.arange(len(made))
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * still_there), 1)
    return corrected


def benjamini_hochberg(p: Floats) -> Floats:
    """Benjamini and Hochberg's step-up correction of the false discovery rate, for exploration.

    Parameters and result as in `holm`.

    References
    ----------
    Benjamini & Hochberg 1995, "Controlling the false discovery rate".
    """
    corrected = np.full(p.shape, np.nan)
    made = np.isfinite(p)
    corrected[made] = scipy.stats.false_discovery_control(p[made])
    return corrected


def max_t(observed: Floats, maxima: Floats) -> Floats:
    """Single-step max-T: p values from the joint distribution of all statistics.

    Parameters
    ----------
    observed : ndarray of shape (n_tests,)
        Absolute studentised statistics; NaN for a test that was not made.
    maxima : ndarray of shape (n_draws,)
        Largest statistic of all tests in each draw under the null hypothesis.

    Returns
    -------
    ndarray of shape (n_tests,)
        (b + 1) / (B + 1) with b the draws whose maximum is at least as large.

    References
    ----------
    Westfall & Young 1993, "Resampling-based multiple testing"; Phipson & Smyth 2010 (the + 1).
    """
    beyond = len(maxima) - np.searchsorted(np.sort(maxima), observed, side="left")
    return np.where(np.isnan(observed), np.nan, (beyond + 1) / (len(maxima) + 1))
