"""Which data sets a mean can be over when scores are missing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FEWEST = 2
"""Models that a comparison takes."""


def largest_block(scored: NDArray[np.bool_]) -> list[int]:
    """Data sets that leave the most scores once the models that lack one of them are left out.

    All of them where at least `FEWEST` models have all, and where nothing leaves so many. Else
    data sets join one by one, always the one that loses the fewest models, and the largest table
    on the way is taken: not always the largest of all, which would take trying every combination.

    Parameters
    ----------
    scored : ndarray of bool, shape (n_datasets, n_models)

    Returns
    -------
    list of int
        Places of data sets, in order.
    """
    everything = list(range(len(scored)))
    if scored.all(axis=0).sum() >= FEWEST:
        return everything
    kept = np.ones(scored.shape[1], np.bool_)
    joined: list[int] = []
    left, size, block = everything, 0, everything
    while left:
        added = max(left, key=lambda place: int((scored[place] & kept).sum()))
        kept = kept & scored[added]
        left = [place for place in left if place != added]
        joined = sorted([*joined, added])
        if kept.sum() >= FEWEST and kept.sum() * len(joined) >= size:
            size, block = int(kept.sum()) * len(joined), joined
    return block
