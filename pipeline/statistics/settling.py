"""What it would take to settle a question that a study leaves open."""

from __future__ import annotations

import math

import numpy as np

from pipeline.statistics.fisher_z import z_of


def groups_needed(mean: float, low: float, groups: int) -> float:
    """Families (or models) with which an interval of a mean ρ would leave out 0.

    The standard error of atanh ρ goes with 1/√(G - 3) (Bonett & Wright 2000), so the half width
    that was found shrinks alike; the mean is taken to stay what it is.

    Parameters
    ----------
    mean, low : float
        Of ρ; NaN where there is none.
    groups : int
        Now.

    Returns
    -------
    float
        Infinite where more would not help: the mean is not above 0, or there is no interval.
    """
    if not (math.isfinite(mean) and math.isfinite(low) and mean > 0 and groups > 3):
        return math.inf
    middle, end = z_of(np.array([mean, low])).tolist()
    return float(math.ceil(3 + (groups - 3) * ((middle - end) / middle) ** 2))
