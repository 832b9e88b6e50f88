"""Scores on one data set expected from those on another, by a line that never saw the model judged.

For each model, logit(acc_B) = α + β logit(acc_A) is fitted by least squares to the baseline models
without it, and the model stands against the prediction band of a new observation:

    s √(1 + 1/n + (x - x̄)² / Sxx),  t with n - 2 degrees of freedom

Taori et al. 2020 (arXiv 2007.00644) call the distance from the line effective robustness where the
same classifier is tested on both data sets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from pipeline.statistics.arrays import Floats, Mask

MIN_BASELINE = 5
"""Baseline models, without the one judged, below which no line is fitted."""


@dataclass(frozen=True)
class Judged:
    """Models against the line; arrays of shape (n_models,), NaN where withheld.

    Attributes
    ----------
    expected : ndarray
        y on the line.
    half : ndarray
        Half the width of the prediction band there.
    slope : ndarray
        β.
    beyond : ndarray
        How far x lies outside of the baseline's range: 0 within.
    n : ndarray of int
        Baseline models behind the line.
    """

    expected: Floats
    half: Floats
    slope: Floats
    beyond: Floats
    n: NDArray[np.int64]


def judge(x: Floats, y: Floats, baseline: Mask, confidence: float) -> Judged:
    """Fit each model's line to the baseline models other than itself.

    Parameters
    ----------
    x, y : ndarray of shape (n_models,)
        NaN where missing.
    baseline : ndarray of shape (n_models,), bool
    confidence : float
        Of the band.
    """
    both = np.isfinite(x) & np.isfinite(y)
    chosen = both & baseline
    n = np.where(both, chosen.sum() - chosen, 0).astype(np.int64)
    blank = np.full(len(x), np.nan)
    if chosen.sum() < MIN_BASELINE:
        return Judged(blank, blank, blank, blank, n)
    # Sums over the baseline about its mean, less the model's own part: no fit is done twice.
    x0, y0 = x[chosen].mean(), y[chosen].mean()
    u, v = np.where(both, x - x0, 0.0), np.where(both, y - y0, 0.0)
    products = np.stack([u, v, u * u, u * v, v * v])
    sums = products[:, chosen].sum(axis=1)[:, np.newaxis] - products * chosen
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_u, mean_v = sums[0] / n, sums[1] / n
        sxx, sxy, syy = (
            sums[2] - n * mean_u**2,
            sums[3] - n * mean_u * mean_v,
            sums[4] - n * mean_v**2,
        )
        sxx[sxx <= 1e-12 * np.maximum(sums[2], 1e-300)] = np.nan  # a line needs a spread
        slope = sxy / sxx
        rest = np.maximum(syy - slope * sxy, 0) / (n - 2)
        spread = np.sqrt(rest * (1 + 1 / n + np.square(u - mean_u) / sxx))
    enough = both & (n >= MIN_BASELINE)
    half = scipy.stats.t.ppf(0.5 + confidence / 2, np.maximum(n - 2, 1)) * spread
    expected = y0 + mean_v + slope * (u - mean_u)
    beyond = _beyond(x, chosen)
    expected, half, slope, beyond = (
        np.where(enough, value, np.nan) for value in (expected, half, slope, beyond)
    )
    return Judged(expected, half, slope, beyond, n)


def _beyond(x: Floats, chosen: Mask) -> Floats:
    """Distance of each x from the range of the others that are chosen."""
    ordered = np.sort(x[chosen])
    lowest = np.where(chosen & (x == ordered[0]), ordered[1], ordered[0])
    highest = np.where(chosen & (x == ordered[-1]), ordered[-2], ordered[-1])
    beyond: Floats = np.maximum(np.maximum(lowest - x, x - highest), 0)
    return beyond


def bend(x: Floats, y: Floats, baseline: Mask) -> float:
    """Whether the baseline's line is one: p of a square beside it (t test).

    Parameters
    ----------
    x, y : ndarray of shape (n_models,)
    baseline : ndarray of shape (n_models,), bool

    Returns
    -------
    float
        NaN below eight models.
    """
    chosen = np.isfinite(x) & np.isfinite(y) & baseline
    if chosen.sum() < BEND_FROM:
        return np.nan
    u = x[chosen] - x[chosen].mean()
    design = np.stack([np.ones_like(u), u, u * u - np.mean(u * u)], axis=1)
    if np.linalg.matrix_rank(design) < design.shape[1]:
        return np.nan
    found, *_ = np.linalg.lstsq(design, y[chosen], rcond=None)
    rest = y[chosen] - design @ found
    freedom = len(u) - design.shape[1]
    variance = rest @ rest / freedom * np.linalg.inv(design.T @ design)[2, 2]
    if variance <= 0:
        return np.nan
    return float(2 * scipy.stats.t.sf(abs(found[2]) / np.sqrt(variance), freedom))


BEND_FROM = 8
"""Baseline models from which on a bend is looked for."""
