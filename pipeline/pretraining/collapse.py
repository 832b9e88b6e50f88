"""When features have collapsed: one rule, by their effective rank, without any label."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

SMALLEST_RANK = 0.03
"""Share of the possible rank below which a training has collapsed. All that learnt something on
digits had 4 % and more. Untrained networks may have less: it is no sign of collapse in them."""


def has_collapsed(rankme: ArrayLike, possible: ArrayLike) -> NDArray[np.bool_]:
    """Whether features use next to nothing of their width; a rank that is NaN is none.

    Parameters
    ----------
    rankme : array_like
        Effective rank; 1 when all images look the same.
    possible : array_like
        The largest rank that is possible: features per image, or images if these are fewer.
    """
    collapsed: NDArray[np.bool_] = ~(
        np.asarray(rankme) >= np.maximum(1.5, SMALLEST_RANK * np.asarray(possible, np.float64))
    )
    return collapsed
