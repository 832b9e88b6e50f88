"""Ridge regression to ±1 targets, every penalty from one eigendecomposition.

Minimises ‖Y − XW − 1bᵀ‖² + λ‖W‖² with b not penalised, as scikit-learn's RidgeClassifier: a column
of targets per class, +1 for its images and −1 for all others. λ is chosen by the exact
leave-one-out error: an image's residual without itself in train is e / (1 − h), where h is its
leverage, 1/n of it from the intercept [1]_. Where images have groups, those of a group are left out
together: their residuals are (1 − H)⁻¹ e, with their block H of the hat matrix. All in float64.

References
----------
.. [1] Golub, Heath & Wahba, Generalized cross-validation as a method for choosing a good ridge
   parameter, Technometrics 21 (1979).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cache.errors import ProbelineError

Float64 = NDArray[np.float64]
Labels = NDArray[np.int64]

CERTAIN = 1e-10
"""Room for error left by the other images, 1 − h, below which leaving one out is undefined."""


@dataclass(frozen=True)
class Ridge:
    """A fitted classifier.

    Attributes
    ----------
    coefficients : ndarray of shape (n_classes, n_features), float64
        A class absent from train has 0, and a score of −1 everywhere.
    intercept : ndarray of shape (n_classes,), float64
    penalty : float
        λ.
    """

    coefficients: Float64
    intercept: Float64
    penalty: float


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


def fit_ridge(
    features: NDArray[np.floating],
    labels: Labels,
    n_classes: int,
    penalties: Sequence[float],
    groups: NDArray[np.str_] | None = None,
) -> tuple[list[Ridge], list[LeaveOneOut]]:
    """Fit every λ and judge each by leave-one-out.

    Parameters
    ----------
    features : ndarray of shape (n_samples, n_features)
    labels : ndarray of shape (n_samples,)
        0 to n_classes − 1.
    n_classes : int
    penalties : sequence of float
        Each above 0.
    groups : ndarray of shape (n_samples,) of str, optional
        Whose images are left out together; "" is an image without one. A single group is none.

    Returns
    -------
    list of Ridge, list of LeaveOneOut
        In the order of `penalties`.

    Raises
    ------
    ProbelineError
        NaN or infinity in the features, a penalty that is not positive, or a single class.
    """
    _check(features, labels, penalties)
    wide = features.astype(np.float64)
    mean = wide.mean(0)
    wide -= mean
    targets = np.where(labels[:, None] == np.arange(n_classes), 1.0, -1.0)
    target_mean = targets.mean(0)
    problem = _Decomposition(wide, targets - target_mean)
    together = [] if groups is None else _together(groups)
    fits, judged = [], []
    for penalty in penalties:
        weights = problem.weights(penalty)
        fits.append(Ridge(weights.T, target_mean - mean @ weights, float(penalty)))
        left_out = problem.left_out(penalty, together)
        hits = (targets - left_out).argmax(1) == labels
        judged.append(
            LeaveOneOut(float(penalty), float(np.square(left_out).mean()), float(hits.mean()))
        )
    return fits, judged


def choose(judged: Sequence[LeaveOneOut]) -> int:
    """Position of the λ with the least squared error; the largest of equally good ones.

    The squared error decides, as in RidgeClassifierCV: it is what ridge minimises, and a smooth
    function of λ. Accuracy steps by 1/n, and on small train sets many λ share its maximum.
    """
    return min(range(len(judged)), key=lambda i: (judged[i].squared_error, -judged[i].penalty))


def scores(fit: Ridge, features: NDArray[np.floating]) -> Float64:
    """Of shape (n_samples, n_classes), near 1 for the own class and −1 for others."""
    return np.asarray(features.astype(np.float64) @ fit.coefficients.T + fit.intercept)


class _Decomposition:
    """X = U S Vᵀ of centred features, by the smaller of XᵀX and XXᵀ, and all that λ rescales.

    Small singular values lose digits by squaring. Where n > d the predictions X V are formed from
    X itself and those directions weigh s²/(s² + λ): what is lost is of the order ε s₁²/λ.
    """

    def __init__(self, features: Float64, targets: Float64) -> None:
        n, d = features.shape
        self._features, self._targets = features, targets
        self._tall = n > d
        gram = features.T @ features if self._tall else features @ features.T
        if not self._tall:
            # Part the constant, an axis of square 0 that the intercept takes, from all others.
            gram += (np.trace(gram) + 1) / n
        squares, self._axes = np.linalg.eigh(gram)
        self._squares = np.clip(squares, 0.0, None)
        self._turned = self._axes.T @ (features.T @ targets if self._tall else targets)
        self._projected = features @ self._axes if self._tall else self._axes

    def weights(self, penalty: float) -> Float64:
        """Of shape (n_features, n_classes)."""
        product = self._axes @ (self._turned / (self._squares + penalty)[:, None])
        return np.asarray(product if self._tall else self._features.T @ product)

    def left_out(self, penalty: float, together: Sequence[NDArray[np.intp]] = ()) -> Float64:
        """Residuals of every image under the fit without it; (n_samples, n_classes).

        Of the rows in one of `together`, under the fit without all of them.
        """
        n = len(self._targets)
        if self._tall:
            # e = Y − Z (S² + λ)⁻¹ Zᵀ Y with Z = X V, and 1 − h from the same Z.
            shrink = 1 / (self._squares + penalty)
            residual = self._targets - self._projected @ (self._turned * shrink[:, None])
            room = 1 - 1 / n - np.square(self._projected) @ shrink
        else:
            # λ (XXᵀ + λ)⁻¹ is the residual's operator itself: no difference of near equals.
            shrink = penalty / (self._squares + penalty)
            shrink[-1] = 0  # the constant
            residual = self._projected @ (self._turned * shrink[:, None])
            room = np.square(self._projected) @ shrink
        # Without such an image nothing is known of its direction: the others' mean predicts it.
        alone = room <= CERTAIN
        divided = residual / np.where(alone, 1.0, room)[:, None]
        left_out = np.where(alone[:, None], self._targets * n / (n - 1), divided)
        for rows in together:
            left_out[rows] = self._solved(rows, residual[rows], shrink)
        return left_out

    def _solved(self, rows: NDArray[np.intp], residual: Float64, shrink: Float64) -> Float64:
        """(1 − H)⁻¹ times the residuals of some rows."""
        factor = self._projected[rows] * np.sqrt(shrink)
        if not self._tall:
            return np.asarray(np.linalg.solve(factor @ factor.T, residual), np.float64)
        # 1 − A Aᵀ, or by its d + 1 columns, (1 − A Aᵀ)⁻¹ = 1 + A (1 − Aᵀ A)⁻¹ Aᵀ.
        factor = np.column_stack([np.full(len(rows), len(self._targets) ** -0.5), factor])
        if len(rows) <= factor.shape[1]:
            return np.asarray(np.linalg.solve(_room(factor @ factor.T), residual), np.float64)
        inner = np.linalg.solve(_room(factor.T @ factor), factor.T @ residual)
        return np.asarray(residual + factor @ inner, np.float64)


def _room(hat: Float64) -> Float64:
    """1 − H, kept off 0."""
    return np.eye(len(hat)) * (1 + CERTAIN) - hat


def _together(groups: NDArray[np.str_]) -> list[NDArray[np.intp]]:
    """Rows of each group of two images or more; none where all images are of one."""
    rows = [np.flatnonzero(groups == name) for name in np.unique(groups) if name]
    return [r for r in rows if 1 < len(r) < len(groups)]


def _check(features: NDArray[np.floating], labels: Labels, penalties: Sequence[float]) -> None:
    if not np.isfinite(features).all():
        raise ProbelineError(
            "ridge",
            "the features hold NaN or infinity",
            expected="finite values",
            remedy="extract the cell again, or leave the model out",
        )
    if not all(0 < penalty < np.inf for penalty in penalties):
        raise ProbelineError(
            "ridge", "a penalty is not positive", expected="λ above 0", found=str(list(penalties))
        )
    if len(np.unique(labels)) < 2:
        raise ProbelineError(
            "ridge",
            "there is nothing to tell apart",
            expected="train images of two classes or more",
            found=f"{len(labels)} images of {len(np.unique(labels))} class(es)",
            remedy="add images of another class, or leave the data set out",
        )
