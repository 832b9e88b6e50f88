"""Ridge regression to ±1 targets, every penalty from one eigendecomposition.

Minimises ‖Y − XW − 1bᵀ‖² + λ‖W‖² with b not penalised, as scikit-learn's RidgeClassifier: a column
of targets per class, +1 for its images and −1 for all others. λ is chosen by the exact
leave-one-out error: an image's residual without itself in train is e / (1 − h), where h is its
leverage, 1/n of it from the intercept [1]_. Where images have groups, those of a group are left out
together: their residuals are (1 − H)⁻¹ e, with their block H of the hat matrix. All in float64,
written in the words that NumPy and torch share (`pipeline.heads.columns`).

References
----------
.. [1] Golub, Heath & Wahba, Generalized cross-validation as a method for choosing a good ridge
   parameter, Technometrics 21 (1979).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.heads.columns import Array
from pipeline.heads.refusing import refuse_not_finite, refuse_one_class
from pipeline.heads.ridge_solvers import Float64, Labels, Ridge, Samples, Tall, Wide, grouped
from pipeline.heads.slabs import Rows


@dataclass(frozen=True)
class LeaveOneOut:
    """What one λ would have done on images that it had not seen.

    Attributes
    ----------
    penalty : float
    squared_error : float
        Mean over images and classes.
    accuracy : float
        Top-1; of equal scores the first class.
    """

    penalty: float
    squared_error: float
    accuracy: float


class RidgePath(Sequence[Ridge]):
    """The fits of all λ, each made when it is asked for: one is d x K values."""

    def __init__(self, fit: Callable[[float], Ridge], penalties: Sequence[float]) -> None:
        self._fit, self._penalties = fit, penalties

    def __len__(self) -> int:
        return len(self._penalties)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self._fit(penalty) for penalty in self._penalties[place]]
        return self._fit(self._penalties[place])


def fit_ridge(
    features: Rows,
    labels: Labels,
    n_classes: int,
    penalties: Sequence[float],
    groups: NDArray[np.str_] | None = None,
    like: Array | None = None,
) -> tuple[RidgePath, list[LeaveOneOut]]:
    """Fit every λ and judge each by leave-one-out.

    Parameters
    ----------
    features : array of shape (n_samples, n_features)
        In memory, or read in slabs.
    labels : ndarray of shape (n_samples,)
        0 to n_classes − 1.
    n_classes : int
    penalties : sequence of float
        Each above 0.
    groups : ndarray of shape (n_samples,) of str, optional
        Whose images are left out together; "" is an image without one. A single group is none.
    like : array, optional
        Of the library and on the device that compute; NumPy by default.

    Returns
    -------
    RidgePath, list of LeaveOneOut
        In the order of `penalties`.

    Raises
    ------
    ProbelineError
        NaN or infinity in the features, or a single class.
    """
    like = np.empty(0) if like is None else like
    refuse_not_finite("ridge", features, like)
    refuse_one_class("ridge", len(labels), len(np.unique(labels)))
    n, d = features.shape
    together = [] if groups is None else grouped(groups)
    problem = (Tall if n > d else Wide)(Samples(features, labels, n_classes, like))
    judged = [
        LeaveOneOut(float(penalty), found.squared / (n * n_classes), found.hits / n)
        for penalty, found in zip(penalties, problem.left_out(penalties, together), strict=True)
    ]
    return RidgePath(problem.fit, [float(penalty) for penalty in penalties]), judged


def choose(judged: Sequence[LeaveOneOut]) -> int:
    """Position of the λ with the least squared error; the largest of equally good ones.

    The squared error decides, as in RidgeClassifierCV: it is what ridge minimises, and a smooth
    function of λ. Accuracy steps by 1/n, and on small train sets many λ share its maximum.
    """
    return min(range(len(judged)), key=lambda i: (judged[i].squared_error, -judged[i].penalty))


def scores(fit: Ridge, features: NDArray[np.floating]) -> Float64:
    """Of shape (n_samples, n_classes), near 1 for the own class and −1 for others."""
    return np.asarray(features.astype(np.float64) @ fit.coefficients.T + fit.intercept)
