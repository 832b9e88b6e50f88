"""Ranks, and the ranks that are possible: simultaneous sets from which model is better than which.

A model is *within chance of the best* if its best possible rank is 1: nobody is known to be better.
The sets are not transitive: A and B may be within chance, and B and C, but not A and C.
"""

from __future__ import annotations

import numpy as np
import scipy

from pipeline.statistics.arrays import Counts, Floats, Mask


def ranks_of(scores: Floats) -> Floats:
    """Rank of each model along the last axis: 1 is best, equal ones share their mean rank."""
    ranks: Floats = scipy.stats.rankdata(-scores, axis=-1)
    return ranks


def rank_sets(better: Mask) -> tuple[Counts, Counts]:
    """Ranks that hold for all models at once (Mogstad, Romano, Shaikh & Wilhelm 2024).

    A model's best possible rank is 1 + the number of models that are better, its worst is the
    number of all less those that are worse.

    Parameters
    ----------
    better : ndarray of shape (n_models, n_models), bool
        Whether the row's model is better than the column's.

    Returns
    -------
    best, worst : ndarray of shape (n_models,), int
    """
    return 1 + better.sum(axis=0), len(better) - better.sum(axis=1)


def implied(better: Mask) -> Mask:
    """What follows from what was found: of A better than B, and B than C, A better than C.

    No further error is made by it: where all that was found is true, so is what follows.

    Parameters
    ----------
    better : ndarray of shape (n_models, n_models), bool
        Without circles.
    """
    while True:
        steps = better.astype(np.float32)  # of bool, NumPy's product has no BLAS
        further = better | (steps @ steps > 0)
        if (further == better).all():
            return better
        better = further
