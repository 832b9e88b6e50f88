"""Where a difference that depends on the number of labels changes its sign.

Between the numbers that were tried, values and interval ends are joined by straight lines over the
logarithm of the number of labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pipeline.statistics.arrays import Floats, Mask
from pipeline.statistics.image_draws import normal_draws


@dataclass(frozen=True)
class Undecided:
    """The label counts at which an interval contains 0.

    Attributes
    ----------
    low, high : float
        Ends of the set (of its outermost pieces); NaN where it is empty.
    below, above : bool
        Whether it goes on beyond the counts that were tried: shown as "< 1", "> max".
    pieces : int
    """

    low: float
    high: float
    below: bool
    above: bool
    pieces: int


def crossings(labels: Floats, difference: Floats) -> list[float]:
    """Label counts at which the difference changes its sign.

    Parameters
    ----------
    labels : ndarray of shape (n_counts,)
        Ascending.
    difference : ndarray of shape (n_counts,)
    """
    x, found = np.log(labels), []
    signs = np.sign(difference)
    for last, place in pairwise(np.flatnonzero(signs).tolist()):
        if signs[last] != signs[place]:
            if place - last > 1:  # zeros between two signs: the middle of them
                at = float(x[last + 1 : place].mean())
            else:
                at = _root(x[last : place + 1], difference[last : place + 1])
            found.append(float(np.exp(at)))
    return found


def undecided(labels: Floats, low: Floats, high: Floats) -> Undecided:
    """Where the interval [low, high] of the difference contains 0.

    Parameters
    ----------
    labels : ndarray of shape (n_counts,)
        Ascending.
    low, high : ndarray of shape (n_counts,)
    """
    x = np.log(labels)
    ends = set(x.tolist())
    for bound in (low, high):
        for place in np.flatnonzero(bound[:-1] * bound[1:] < 0):
            ends.add(_root(x[place : place + 2], bound[place : place + 2]))
    places = np.array(sorted(ends))
    middles = (places[:-1] + places[1:]) / 2

    def inside(at: Floats) -> Mask:
        contains: Mask = (np.interp(at, x, low) <= 1e-12) & (np.interp(at, x, high) >= -1e-12)
        return contains

    points, spans = inside(places), inside(middles)
    if not points.any():
        return Undecided(np.nan, np.nan, False, False, 0)
    held = np.flatnonzero(points)
    # Two neighbouring points belong together where what lies between them does.
    pieces = len(held) - int(spans[held[:-1][np.diff(held) == 1]].sum())
    return Undecided(
        float(np.exp(places[held[0]])),
        float(np.exp(places[held[-1]])),
        bool(points[0]),
        bool(points[-1]),
        pieces,
    )


def probability_of_none(
    difference: Floats, covariance: Floats, draws: int, rng: np.random.Generator
) -> float:
    """Probability that the sign is the same at all label counts.

    The difference is drawn from a normal distribution about what was found.

    Parameters
    ----------
    difference : ndarray of shape (n_counts,)
    covariance : ndarray of shape (n_counts, n_counts)
    draws : int
    rng : Generator
    """
    drawn = normal_draws(difference, covariance, draws, rng)
    return float(((drawn > 0).all(axis=1) | (drawn < 0).all(axis=1)).mean())


def _root(x: Floats, y: Floats) -> float:
    """Where the line through two points is 0."""
    return float(x[0] - y[0] * (x[1] - x[0]) / (y[1] - y[0]))
