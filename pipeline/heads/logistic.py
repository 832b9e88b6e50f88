"""Multinomial logistic regression along a path of C, on scikit-learn's exact objective.

    ½‖W‖² + C Σ_i −log softmax(W x_i + b)[y_i],    b not penalised

and for two classes scikit-learn's binary one, ½‖w‖² + C Σ loss, which is the above with W = ±w/2
and ‖W‖² in place of ½‖W‖².

Newton's method with conjugate gradients (`newton`), in the features' principal axes (`softmax`). A
fit starts where the quadratic through the last three optima, as functions of log C, expects the
next: from there a few matrix products are left.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cache.errors import ProbelineError
from pipeline.heads.columns import Array, in_numpy, namespace
from pipeline.heads.newton import Minimiser, Optimum, Stopped
from pipeline.heads.refusing import refuse_not_finite, refuse_one_class
from pipeline.heads.slabs import Rows
from pipeline.heads.softmax import Point, SoftmaxLoss
from pipeline.heads.tuning import PLAIN

Float64 = NDArray[np.float64]

REACH = 3
"""Optima from which the next is extrapolated."""


@dataclass(frozen=True)
class Fit:
    """A fitted classifier and how well it was fitted.

    Attributes
    ----------
    coefficients : ndarray of shape (n_classes, n_features), float64
        0 for a class that is absent from train. For two classes, ±½ of scikit-learn's one row.
    intercept : ndarray of shape (n_classes,), float64
        −∞ for a class that is absent from train.
    c : float
    objective : float
    gap : float
        Estimate of (objective − optimum) / optimum, from the gradient and the Hessian. It is of
        the right order, not a bound: a curvature that no iteration has met escapes it.
    gradient_norm : float
        Euclidean, of the objective by W and b of the centred features, divided by that at W = 0.
    iterations : int
        Conjugate gradients of this fit; each costs two matrix products.
    stopped : {'converged', 'iterations', 'precision', 'library'}
        Gap within tolerance and gradient norm below 1e-3; too many iterations; steps that gain
        nothing in the precision of the features; or a library's own reason, with a larger gradient.
        All but the first say nothing of the distance from the optimum: read `gap`.
    """

    coefficients: Float64
    intercept: Float64
    c: float
    objective: float
    gap: float
    gradient_norm: float
    iterations: int
    stopped: Stopped

    @property
    def converged(self) -> bool:
        """Whether it stopped because it was near the optimum, as far as `gap` can tell."""
        return self.stopped == "converged"


class LogisticPath:
    """Fits of one train set, each from where the last ones ended; fast where C changes little.

    Parameters
    ----------
    features : Rows of shape (n_samples, n_features), float32 or float64
        Gradients are computed in its precision; a copy is made in that precision, unless they are
        streamed.
    labels : array of shape (n_samples,), integer
        0 to n_classes − 1; NumPy or torch, which computes on their device.
    n_classes : int
    tolerance : float
        Of the objective's relative distance from the optimum.
    max_iterations : int
        For each C.
    axes : array of shape (n_features, n_axes), float64, optional
        `pipeline.heads.columns.principal_axes` of a train set that this one is a part of: it
        saves an eigendecomposition and changes no optimum.

    Raises
    ------
    ProbelineError
        NaN or infinity in the features, or labels of fewer than two classes.
    """

    def __init__(
        self,
        features: Rows,
        labels: Array,
        n_classes: int,
        *,
        tolerance: float = PLAIN,
        max_iterations: int = 1000,
        axes: Array | None = None,
    ) -> None:
        self._present = classes_to_fit(features, labels, n_classes)
        ranks = _ranks(labels, self._present, n_classes)
        self._loss = SoftmaxLoss(features, ranks, len(self._present), axes)
        self._minimiser = Minimiser(self._loss)
        self._n_classes = n_classes
        self._tolerance, self._max_iterations = tolerance, max_iterations
        self._past: list[tuple[float, Array]] = []
        self._last: Optimum | None = None

    def fit(self, c: float) -> Fit:
        """Fit one C; the first from W = 0 and the log class frequencies."""
        c = float(c)  # a NumPy scalar would widen every float32 array that it meets
        start = self._start(c)
        optimum = self._minimiser.minimise(start, c, self._tolerance, self._max_iterations)
        self._past = [*self._past[1 - REACH :], (c, optimum.weights)]
        self._last = optimum
        self._loss.forget()
        return _fit(optimum, c, self._loss, self._present, self._n_classes)

    def _start(self, c: float) -> Point:
        """The polynomial in log C through the last optima, or the last of them if it is better."""
        minimiser, last = self._minimiser, self._last
        if last is None:
            return minimiser.first
        known = {math.log(at): weights for at, weights in self._past}
        here = math.log(c)
        if len(known) > 1 and here not in known:
            weights = sum(
                math.prod((here - other) / (at - other) for other in known if other != at) * optimum
                for at, optimum in known.items()
            )
            point = self._loss.at(weights)
            if minimiser.objective(weights, point.loss, c) < minimiser.objective(
                last.weights, last.loss, c
            ):
                return point
        return self._loss.at(last.weights)


def decision(fit: Fit, features: Array) -> Array:
    """Scores of shape (n_samples, n_classes) in the features' precision; −∞ for absent classes."""
    coefficients, intercept = (
        namespace(features).asarray(values, dtype=features.dtype, device=features.device)
        for values in (fit.coefficients, fit.intercept)
    )
    return features @ coefficients.T + intercept


def log_probabilities(fit: Fit, features: Array) -> Float64:
    """Log class probabilities of shape (n_samples, n_classes), float64."""
    found: Float64 = in_numpy(_log_softmax(decision(fit, features)))
    return found


def judge(
    fit: Fit, features: Array, labels: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], Float64]:
    """Hits, and log probabilities of the own class, each of shape (n_samples,).

    From a device only these come back, and not what each sample has of every class.
    """
    xp, scores = namespace(features), _log_softmax(decision(fit, features))
    own = xp.asarray(labels, device=features.device)
    hits = scores.argmax(1) == own
    return in_numpy(hits), in_numpy(scores[xp.arange(len(own), device=features.device), own])


def _log_softmax(scores: Array) -> Array:
    """In float64."""
    xp = namespace(scores)
    scores = xp.asarray(scores, dtype=xp.float64)
    scores = scores - xp.amax(scores, 1)[:, None]
    return scores - xp.log(xp.exp(scores).sum(1))[:, None]


def classes_to_fit(features: Rows, labels: Array, n_classes: int) -> NDArray[np.int64]:
    """Refuse what cannot be fitted; return the classes that have samples.

    Raises
    ------
    ProbelineError
        NaN or infinity in the features, or labels of fewer than two classes.
    """
    xp = namespace(labels)
    refuse_not_finite("logistic regression", features, labels)
    if int(labels.min()) < 0 or int(labels.max()) >= n_classes:
        raise ProbelineError(
            "logistic regression",
            "a label is outside the label space",
            expected=f"0 to {n_classes - 1}",
            found=f"{int(labels.min())} to {int(labels.max())}",
        )
    counts = xp.bincount(labels, minlength=n_classes)
    present = np.array([i for i, count in enumerate(counts.tolist()) if count])
    refuse_one_class("logistic regression", len(labels), len(present))
    return present


def _ranks(labels: Array, present: NDArray[np.int64], n_classes: int) -> Array:
    """Labels renumbered among the classes that are present."""
    table = np.zeros(n_classes, dtype=np.int64)
    table[present] = np.arange(len(present))
    return namespace(labels).asarray(table, device=labels.device)[labels]


def for_all_classes(
    rows: Float64, offsets: Float64, present: NDArray[np.int64], n_classes: int
) -> tuple[Float64, Float64]:
    """Coefficients and intercept, also of classes without a train image, which are never said."""
    coefficients = np.zeros((n_classes, rows.shape[1]))
    coefficients[present] = rows
    intercept = np.full(n_classes, -np.inf)
    intercept[present] = offsets
    return coefficients, intercept


def _fit(
    optimum: Optimum, c: float, loss: SoftmaxLoss, present: NDArray[np.int64], n_classes: int
) -> Fit:
    """The optimum in NumPy, for features as they came and for all classes."""
    rows, offsets = map(in_numpy, loss.from_axes(optimum.weights))
    return Fit(
        *for_all_classes(rows, offsets, present, n_classes),
        c,
        objective=optimum.objective,
        gap=optimum.gap,
        gradient_norm=optimum.gradient_norm,
        iterations=optimum.iterations,
        stopped=optimum.stopped,
    )
