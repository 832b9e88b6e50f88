"""The largest studentised differences of two models, of many draws of test images.

Nothing of size pairs x draws is ever whole in memory.
"""

from __future__ import annotations

import numpy as np

from pipeline.statistics.arrays import Floats, Places

_ELEMENTS = 2_000_000
"""Numbers of one block of pairs x draws: 8 MB."""


class PairMaxima:
    """Maxima over ordered pairs of models, by draw.

    Parameters
    ----------
    noise : ndarray of shape (n_draws, n_models)
        Scores on redrawn images less those that were observed.
    inverse : ndarray of shape (n_models, n_models)
        1 / standard error of each pair's difference; 0 of pairs that are not counted.
    scores : ndarray of shape (n_models,)

    Attributes
    ----------
    of_column : ndarray of shape (n_models, n_draws)
        Largest t by which any model seems better than the column's, by chance alone.
    of_all : ndarray of shape (n_draws,)
        The same of all ordered pairs, so of |t| over pairs.
    """

    def __init__(self, noise: Floats, inverse: Floats, scores: Floats) -> None:
        order = np.argsort(-scores, kind="stable")
        self._place = np.argsort(order)  # models are kept by their scores, the best first
        self._noise = np.ascontiguousarray(noise.T[order], np.float32)
        self._inverse = inverse[np.ix_(order, order)].astype(np.float32)
        columns = np.empty(self._noise.shape, np.float32)
        self._reverse = np.zeros(self._noise.shape[1], np.float32)
        for j in range(len(order)):
            moved = self._noise - self._noise[j]
            moved *= self._inverse[:, [j]]
            behind = moved[j:].max(axis=0)  # these t are observed not to be above 0
            np.maximum(self._reverse, behind, out=self._reverse)
            columns[j] = np.maximum(behind, moved[:j].max(axis=0)) if j else behind
        self.of_column = columns[self._place]
        self.of_all = columns.max(axis=0)

    def step_down_p(self, ahead: Places, behind: Places, t: Floats) -> Floats:
        """P of some pairs corrected for all ordered pairs, by step-down max-t.

        The p of the largest t is that of the maximum over all ordered pairs; the next is without
        that pair, and so on; no p is below an earlier one's.

        Parameters
        ----------
        ahead, behind : ndarray of shape (n_pairs,)
            Models, once a pair, the one with the higher score ahead.
        t : ndarray of shape (n_pairs,)

        Returns
        -------
        ndarray of shape (n_pairs,)
            (b + 1) / (B + 1) with b the draws whose maximum is at least as large.

        References
        ----------
        Romano & Wolf 2005, "Exact and approximate stepdown methods", Algorithm 4.1.
        """
        order = np.argsort(t, kind="stable")  # the smallest first: each maximum adds one pair
        largest, draws = self._reverse, self._noise.shape[1]
        beyond = np.zeros(len(t))
        some = np.searchsorted(t[order], self.of_all.max(), side="right")  # none beyond the others
        step = max(1, _ELEMENTS // draws)
        for start in range(0, some, step):
            chosen = order[start : min(start + step, some)]
            one, other = self._place[ahead[chosen]], self._place[behind[chosen]]
            moved = self._noise[one] - self._noise[other]
            moved *= self._inverse[one, other][:, np.newaxis]
            np.maximum(moved[0], largest, out=moved[0])
            np.maximum.accumulate(moved, axis=0, out=moved)
            largest = moved[-1].copy()
            beyond[chosen] = (moved >= t[chosen, np.newaxis]).sum(axis=1)
        p = np.empty(len(t))
        p[order[::-1]] = np.maximum.accumulate((beyond[order[::-1]] + 1) / (draws + 1))
        return p
