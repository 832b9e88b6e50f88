"""Candidates for nearest neighbours, and what rounding leaves open about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]
Indices = NDArray[np.int32]
Mask = NDArray[np.bool_]

ROUNDINGS = 4
"""Error of a squared distance in units of rounding x (|a| + |b|)². The largest seen is below 1;
the error grows with the number of features far more slowly than its worst case (Higham & Mary,
SIAM J. Sci. Comput. 41, 2019). Every distance that is taken again tests this bound."""

LOOSE = 1e-5
"""Relative uncertainty of a squared distance above which it is taken again."""

_HUGE = 1e37
"""Squared length near the end of float32's range."""


@dataclass(frozen=True)
class Candidates:
    """The best rows of a bank for each query, nearest first.

    Attributes
    ----------
    squared : ndarray of shape (n_queries, n_candidates), float64
        Squared distances with rounding errors; infinite where there is no candidate.
    rows : ndarray of shape (n_queries, n_candidates), int32
        Of the bank.
    beyond : ndarray of shape (n_queries,), float64
        No other row is nearer than this, but for rounding errors; infinite where there is none.
    bound : ndarray of shape (n_queries,), float64
        How far `squared` and `beyond` may be off.
    """

    squared: Matrix
    rows: Indices
    beyond: Vector
    bound: Vector

    @classmethod
    def of(
        cls,
        squared: Matrix,
        rows: Indices,
        beyond: Vector,
        lengths: Vector,
        dtype: type[np.floating],
    ) -> Self:
        """Bound the candidates' errors.

        Parameters
        ----------
        squared : ndarray of shape (n_queries, n_candidates), float64
            Of float32 or float64 products, ascending.
        rows : ndarray of shape (n_queries, n_candidates), int32
        beyond : ndarray of shape (n_queries,), float64
        lengths : ndarray of shape (n_queries,)
            Squared length of each query's point.
        dtype : type
            Of the product.
        """
        reach = np.where(np.isfinite(squared), squared, 0).max(axis=1)
        reach = np.where(np.isfinite(beyond), np.maximum(beyond, reach), reach)
        # A bank row no farther than `reach` is no longer than the query's length + √reach.
        scale = (2 * np.sqrt(lengths) + np.sqrt(np.maximum(reach, 0))) ** 2
        bound = ROUNDINGS * np.finfo(dtype).eps / 2 * scale
        if dtype == np.float32:
            bound[lengths > _HUGE] = np.inf
        return cls(squared, rows, beyond, bound)

    def doubtful(self, k: int) -> Mask:
        """Where the order, or a distance's digits, can't be told: shape of `squared`.

        Candidates that are certainly not among the k nearest do not matter.
        """
        bound = self.bound[:, np.newaxis]
        with np.errstate(invalid="ignore"):
            close = np.diff(self.squared, axis=1) <= 2 * bound
            doubtful = bound > LOOSE * self.squared
            doubtful[:, 1:] |= close
            doubtful[:, :-1] |= close
            doubtful &= ~(self.squared > self.squared[:, k - 1 : k] + 2 * bound)
        return doubtful & np.isfinite(self.squared)

    def best(self, doubtful: Mask, exact: Vector, k: int) -> tuple[Matrix, Indices, Mask]:
        """Put exact squared distances in, and choose.

        Parameters
        ----------
        doubtful : ndarray of shape (n_queries, n_candidates), bool
        exact : ndarray of shape (n_doubtful,)
            In the order of `numpy.nonzero` of `doubtful`.
        k : int

        Returns
        -------
        squared, rows : ndarray of shape (n_queries, k)
        sure : ndarray of shape (n_queries,), bool
            False where a nearer row may be missing.
        """
        squared = self.squared.copy()
        squared[doubtful] = exact
        off = np.zeros_like(squared)
        off[doubtful] = np.abs(exact - self.squared[doubtful])
        order = _by_value_then_row(squared, self.rows)[:, :k]
        squared = np.take_along_axis(squared, order, axis=1)
        with np.errstate(invalid="ignore"):
            sure = self.beyond - self.bound >= squared[:, -1]
        sure &= np.isfinite(squared[:, -1]) & (off.max(axis=1) <= self.bound)
        return squared, np.take_along_axis(self.rows, order, axis=1), sure


def _by_value_then_row(values: Matrix, rows: Indices) -> NDArray[np.intp]:
    """As `numpy.lexsort((rows, values), axis=1)`, which takes five times as long."""
    order = np.argsort(values, axis=1, kind="stable")  # fast on what is nearly sorted
    ordered = np.take_along_axis(values, order, axis=1)
    tied = np.flatnonzero((ordered[:, 1:] == ordered[:, :-1]).any(axis=1))
    if len(tied):
        order[tied] = np.lexsort((rows[tied], values[tied]), axis=1)
    return order
