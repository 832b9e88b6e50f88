"""Power of a two-sided t test, and how many values reach it (noncentral t)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy

from pipeline.statistics.tie_cost import POWER

MOST = 1_000_000

NUMBERS = ("now", "needed", "needed_low", "needed_high", "difference", "power_now")


def power_of(difference: float, spread: float, n: float, alpha: float) -> float:
    """Power of a two-sided t test of a mean of n values with a standard deviation.

    Parameters
    ----------
    difference : float
        The true mean.
    spread : float
        Standard deviation of one value.
    n : float
    alpha : float
    """
    if n < 2:
        return np.nan
    if spread <= 0:
        return 1.0
    shift = difference / spread * math.sqrt(n)
    critical = scipy.stats.t.isf(alpha / 2, n - 1)
    beyond = scipy.stats.nct(n - 1, shift)
    found = float(beyond.sf(critical) + beyond.cdf(-critical))
    # Far out SciPy's noncentral t is NaN; there it is normal to many digits.
    return found if math.isfinite(found) else float(scipy.stats.norm.cdf(abs(shift) - critical))


def needed(difference: float, spread: float, alpha: float, power: float = POWER) -> float:
    """The smallest n at which `power_of` reaches a power; inf beyond `MOST`."""
    low, high = 2, 4
    while power_of(difference, spread, high, alpha) < power:
        low, high = high, 2 * high
        if high > MOST:
            return np.inf
    while high - low > 1:
        middle = (low + high) // 2
        if power_of(difference, spread, middle, alpha) < power:
            low = middle
        else:
            high = middle
    return float(high)


@dataclass(frozen=True)
class Question:
    """One question with what a pilot knows about it.

    Attributes
    ----------
    name : str
        ``models``, ``data sets/PROTOCOL`` or ``test images/PROTOCOL``.
    first, second : str
        What is to be told apart.
    now : float
        How many the pilot has.
    difference : float
        To be found.
    spread, spread_low, spread_high : float
        Standard deviation of one value, with its 95% interval; NaN of test images.
    images : float
        Of test images alone: how many are needed.
    targets : float
        Of models alone: the pilot's targets.
    effect : float
        What is tested where that is not `difference` itself: of models on the atanh scale.
    lost : int
        Of models as many as Fisher's variance 1 / (N - 3) takes away.
    """

    name: str
    first: str
    second: str
    now: float
    difference: float
    spread: float = np.nan
    spread_low: float = np.nan
    spread_high: float = np.nan
    images: float = np.nan
    targets: float = np.nan
    effect: float = np.nan
    lost: int = 0

    @property
    def _effect(self) -> float:
        return self.effect if np.isfinite(self.effect) else self.difference

    def power_at(self, n: float, alpha: float) -> float:
        """Power with so many."""
        return power_of(self._effect, self.spread, n - self.lost, alpha)

    def needed(self, alpha: float, power: float = POWER, spread: float | None = None) -> float:
        """How many have a power; of another standard deviation if given."""
        sd = self.spread if spread is None else spread
        if not np.isfinite(sd):
            return np.nan
        return needed(self._effect, sd, alpha, power) + self.lost

    def row(self, alpha: float, power: float = POWER) -> dict[str, float]:
        """The variables of `NUMBERS`."""
        if np.isfinite(self.images):
            takes, now = [self.images, np.nan, np.nan], np.nan
        else:
            takes = [
                self.needed(alpha, power, spread)
                for spread in (self.spread, self.spread_low, self.spread_high)
            ]
            now = self.power_at(self.now, alpha)
        return dict(zip(NUMBERS, (self.now, *takes, self.difference, now), strict=True))
