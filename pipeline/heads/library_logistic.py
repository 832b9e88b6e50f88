"""Logistic regression by scikit-learn or cuML, judged by our own measure of how far it got.

Both are asked for the objective of `pipeline.heads.logistic`. A library says that it has converged
by a tolerance of its own, of a gradient that is scaled in its own way; cuML's solver also stops,
and says nothing, where its line search finds no step. So no word of theirs is taken: the gradient
is computed here, in float64, and a fit has converged where it is small.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.heads.logistic import Fit, classes_to_fit, for_all_classes
from pipeline.heads.newton import GRADIENT, Stopped
from pipeline.heads.slabs import Rows, slabs, whole
from pipeline.machine.backends import require_cuml_size

Float64 = NDArray[np.float64]
Labels = NDArray[np.int64]

LIBRARY_TOLERANCE = 1e-6
"""Of the largest entry of the objective's gradient per image, for scikit-learn and cuML."""


class LibraryPath:
    """Fits of one train set by a library, one C after the other.

    Parameters
    ----------
    backend : {"sklearn", "cuml"}
    features : Rows of shape (n_samples, n_features)
        Held as a whole: by cuML on the device, uploaded once for all C.
    labels : ndarray of shape (n_samples,)
        0 to n_classes − 1.
    n_classes : int
    max_iterations : int
        For each C.

    Raises
    ------
    ProbelineError
        When cuML can't count the elements of what it makes: features, what each sample has of
        each class, or coefficients.
    """

    def __init__(
        self, backend: str, features: Rows, labels: Labels, n_classes: int, max_iterations: int
    ) -> None:
        n, d = features.shape
        if backend == "cuml":
            present = len(np.unique(labels))
            require_cuml_size("logistic regression", n, d)
            require_cuml_size("logistic regression: its scores", n, present)
            require_cuml_size("logistic regression: its weights", d + 1, present)
        self._present = classes_to_fit(features, labels, n_classes)
        self._ranks = np.searchsorted(self._present, labels)
        self._features, self._n_classes = features, n_classes
        self._mean = np.zeros(d)
        for rows in slabs(n, d):
            self._mean += features[rows].astype(np.float64).sum(0)
        self._mean /= n
        start = np.zeros((len(self._present), d)), np.log(np.bincount(self._ranks) / n)
        first = float(np.linalg.norm(self._loss(*start)[1]))
        # Nothing but rounding (constant features): W = 0 is the optimum for every C.
        self._first = first if first > n * np.finfo(np.float64).eps else math.inf
        self._estimator = _estimator(backend, max_iterations)
        place = _uploaded if backend == "cuml" else _as_they_are
        self._given = place(whole(features), self._ranks)

    def fit(self, c: float) -> Fit:
        """Fit one C."""
        estimator = self._estimator.set_params(C=c)
        with warnings.catch_warnings():  # whether it converged is a result
            warnings.filterwarnings("ignore", "(?s).*converge")
            estimator.fit(*self._given)
        rows = np.asarray(estimator.coef_, np.float64).reshape(-1, len(self._mean))
        offsets = np.asarray(estimator.intercept_, np.float64).reshape(-1)
        strength = 1.0
        if len(rows) == 1:  # one row for two classes, whose penalty is that of both
            strength = 2.0
            rows, offsets = np.vstack([-rows, rows]) / 2, np.hstack([-offsets, offsets]) / 2
        loss, slope = self._loss(rows, offsets)
        slope *= c
        slope[:, 1:] += strength * rows
        slope -= slope.mean(0)
        norm = float(np.linalg.norm(slope)) / (c * self._first)
        objective = strength * float(np.square(rows).sum()) / 2 + c * loss
        iterations = int(np.max(np.asarray(estimator.n_iter_)))
        stopped: Stopped = "converged" if norm <= GRADIENT else "library"
        if iterations >= estimator.max_iter:
            stopped = "iterations"
        return Fit(
            *for_all_classes(rows, offsets, self._present, self._n_classes),
            c,
            objective=objective,
            # By the penalty alone the objective bends by `strength` along every weight: with the
            # intercept at its best, this is no less than the true gap.
            gap=float(np.square(slope[:, 1:]).sum()) / (2 * strength * objective),
            gradient_norm=norm,
            iterations=iterations,
            stopped=stopped,
        )

    def _loss(self, rows: Float64, offsets: Float64) -> tuple[float, Float64]:
        """Loss, and its gradient by the intercept and by the weights of centred features."""
        (n, d), (n_present, _) = self._features.shape, rows.shape
        loss, slope = 0.0, np.zeros((n_present, 1 + d))
        for some in slabs(n, max(d, n_present)):
            wide = self._features[some].astype(np.float64)
            scores = wide @ rows.T + offsets
            scores -= scores.max(1, keepdims=True)
            scores -= np.log(np.exp(scores).sum(1, keepdims=True))
            own = np.arange(len(wide)), self._ranks[some]
            loss -= float(scores[own].sum())
            residual = np.exp(scores)
            residual[own] -= 1
            slope[:, 0] += residual.sum(0)
            slope[:, 1:] += residual.T @ (wide - self._mean)
        return loss, slope


def _estimator(backend: str, max_iterations: int) -> Any:
    if backend == "cuml":
        from cuml.linear_model import LogisticRegression

        return LogisticRegression(
            max_iter=max_iterations, tol=LIBRARY_TOLERANCE, output_type="numpy"
        )
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(
        solver="lbfgs", max_iter=max_iterations, tol=LIBRARY_TOLERANCE, warm_start=True
    )


def _as_they_are(features: NDArray[np.floating], labels: Labels) -> tuple[Any, Any]:
    return features, labels


def _uploaded(features: NDArray[np.floating], labels: Labels) -> tuple[Any, Any]:
    """On the device, by columns, as cuML's solver reads them: it copies nothing of these."""
    import cupy

    return cupy.asarray(features, order="F"), cupy.asarray(labels)
