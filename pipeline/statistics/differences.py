"""Whether one predictor ranks models better than another, on the same models and targets.

Correlations that share models and targets depend on each other, so their difference is redrawn as
a whole: over models and over families, and the wider of both is quoted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

from pipeline.statistics.arrays import Floats
from pipeline.statistics.multiplicity import holm, max_t
from pipeline.statistics.resampling import percentile_interval

POWER = 0.8
"""Share of studies that would have found the smallest detectable difference."""


@dataclass(frozen=True)
class Differences:
    """A family of differences, tested together; all arrays have shape (n_tests,).

    Attributes
    ----------
    difference, low, high : ndarray
        The interval is of this one alone.
    joint_low, joint_high : ndarray
        An interval that holds for all that are tested together, as `p_max_t` does: it leaves out 0
        where that is small.
    p : ndarray
        Of no difference, this one alone.
    p_max_t, p_holm : ndarray
        Corrected for all that are tested together.
    detectable : ndarray
        The smallest true difference that four of five such studies would have found after the
        correction by max-T.
    """

    difference: Floats
    low: Floats
    high: Floats
    joint_low: Floats
    joint_high: Floats
    p: Floats
    p_max_t: Floats
    p_holm: Floats
    detectable: Floats


def untested(value: Floats) -> Differences:
    """Differences of which nothing else can be said."""
    nothing = np.full(len(value), np.nan)
    return Differences(value, *[nothing] * 8)


def judged_together(value: Floats, redraws: list[Floats], confidence: float) -> Differences:
    """Intervals and tests of differences; of several ways to redraw, the more careful one.

    Parameters
    ----------
    value : ndarray of shape (n_tests,)
        NaN for what can't be compared.
    redraws : list of ndarray of shape (n_redraws, n_tests)
        Differences in each redraw: of models, of families.
    confidence : float

    Returns
    -------
    Differences

    Notes
    -----
    Redraws less their own mean stand for the null hypothesis, divided by their standard deviation:
    p = (b + 1) / (B + 1). A difference without any spread (of a predictor with its equal) is 0 and
    has p = 1.
    """
    parts = [_judged(value, draws, confidence) for draws in redraws]
    widths = np.stack([part.high - part.low for part in parts])
    widest = np.argmax(np.where(np.isnan(widths), np.inf, widths), axis=0)
    every = np.arange(len(value))
    ends = {
        name: np.stack([getattr(part, name) for part in parts])[widest, every]
        for name in ("low", "high")
    } | {
        "joint_low": np.min([part.joint_low for part in parts], axis=0),
        "joint_high": np.max([part.joint_high for part in parts], axis=0),
    }
    worst = {
        name: np.max([getattr(part, name) for part in parts], axis=0)
        for name in ("p", "p_max_t", "p_holm", "detectable")
    }
    return Differences(difference=value, **ends, **worst)


def _judged(value: Floats, draws: Floats, confidence: float) -> Differences:
    """By one way to redraw."""
    draws = np.where(np.isnan(value), np.nan, draws)
    known = np.isfinite(draws)
    count = known.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(known, draws, 0.0).sum(axis=0) / count
        centred = draws - mean
        error = np.sqrt(np.where(known, np.square(centred), 0.0).sum(axis=0) / (count - 1))
        moves = error > 1e-12
        observed = np.where(moves, np.abs(value) / error, np.where(np.isnan(value), np.nan, 0.0))
        null = np.where(known & moves, np.abs(centred) / error, 0.0)
    beyond = (null >= np.where(moves, observed, 0.0)).sum(axis=0)
    p = np.where(np.isnan(value), np.nan, (beyond + 1) / (len(draws) + 1))
    p = np.where(~moves & ~np.isnan(value), 1.0, p)
    maxima = null.max(axis=1, initial=0.0)
    corrected = max_t(np.where(moves, observed, np.where(np.isnan(value), np.nan, 0.0)), maxima)
    critical = float(np.quantile(maxima, confidence))
    low, high = percentile_interval(draws, confidence)
    return Differences(
        difference=value,
        low=low,
        high=high,
        joint_low=value - critical * error,
        joint_high=value + critical * error,
        p=p,
        p_max_t=corrected,
        p_holm=holm(p),
        detectable=np.where(moves, (critical + float(scipy.stats.norm.ppf(POWER))) * error, np.nan),
    )
