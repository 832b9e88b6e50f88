"""The libraries that can fit a linear head, behind one interface: one objective, four solvers.

Logistic regression: ½‖W‖² + C Σ loss (`pipeline.heads.logistic`). Ridge: ‖Y − XW − 1bᵀ‖² +
λ‖W‖², Y = ±1 (`pipeline.heads.ridge`). The intercept b is not penalised. Libraries are
imported when they are asked for.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.heads.columns import Samples, principal_axes
from pipeline.heads.logistic import Fit, LogisticPath, log_probabilities
from pipeline.heads.ridge import Ridge
from pipeline.heads.slabs import Rows, slabs, whole
from pipeline.machine.backends import require_cuml_size

Matrix = NDArray[np.floating]
Labels = NDArray[np.int64]

OFFERED = ("numpy", "torch", "sklearn", "cuml")
"""For `pipeline.machine.backends.choose_backend`; numpy and torch run the same code of ours."""

LIBRARY_TOLERANCE = 1e-6
"""Of the largest entry of the objective's gradient per image, for scikit-learn and cuML."""


class LogisticSolver:
    """Logistic regression on one train split and on parts of it, by any backend.

    Parameters
    ----------
    backend : {"numpy", "torch", "sklearn", "cuml"}
    train : Rows of shape (n_samples, n_features)
        The train split, normalised. Our own solvers take all fits along its principal axes, which
        are found once. It changes no optimum, whatever is held out of a part.
    n_classes : int
    max_iterations : int
        For each C.
    """

    def __init__(
        self, backend: str, train: Rows, n_classes: int, max_iterations: int = 1000
    ) -> None:
        self._backend = backend
        self._train = train
        self._n_classes, self._max_iterations = n_classes, max_iterations

    def open_path(
        self, features: Rows, labels: Labels, *, tolerance: float
    ) -> Callable[[float], Fit]:
        """A function that fits one C after the other, fastest where C rises slowly.

        Parameters
        ----------
        features : Rows of shape (n_samples, n_features)
        labels : ndarray of shape (n_samples,)
        tolerance : float
            As in `LogisticPath`; libraries have no use for it. Their fits come without a bound on
            the gap, and without a gradient: NaN.

        Raises
        ------
        ProbelineError
            Of `LogisticPath`, or when the features are too many for cuML.
        """
        if self._backend == "cuml":
            require_cuml_size("logistic regression", *features.shape)
        if self._backend not in ("numpy", "torch"):
            estimator = _estimator(self._backend, self._max_iterations)
            return partial(_library_fit, estimator, whole(features), labels, self._n_classes)
        return LogisticPath(
            features,
            _tensor(labels) if self._backend == "torch" else labels,
            self._n_classes,
            tolerance=tolerance,
            max_iterations=self._max_iterations,
            axes=self._axes,
        ).fit

    @cached_property
    def _axes(self) -> Any:
        pieces = slabs(*self._train.shape)
        if not all(np.isfinite(self._train[rows]).all() for rows in pieces):
            return None  # the path explains it
        like = np.empty(0)
        return principal_axes(self._train, _tensor(like) if self._backend == "torch" else like)


def fit_ridge_by(backend: str, features: Rows, labels: Labels, own: Ridge) -> Ridge:
    """Fit by another backend the penalty of `own`, which our own solver fitted and chose."""
    if backend == "numpy":
        return own
    if backend == "torch":
        return _ridge_by_torch(features, labels, own)
    targets = np.where(labels[:, None] == np.arange(len(own.intercept)), 1.0, -1.0)
    if backend == "cuml":
        require_cuml_size("ridge", *features.shape)
        from cuml.linear_model import Ridge as Estimator

        fit = Estimator(own.penalty, solver="svd", output_type="numpy").fit(
            whole(features).astype(np.float64), targets
        )
    else:
        from sklearn.linear_model import Ridge as Estimator

        fit = Estimator(own.penalty, solver="svd").fit(whole(features).astype(np.float64), targets)
    return Ridge(fit.coef_, fit.intercept_, own.penalty)


def _ridge_by_torch(features: Rows, labels: Labels, own: Ridge) -> Ridge:
    """Normal equations of the smaller side, in float64."""
    import torch

    device = _tensor(np.empty(0)).device
    n, d = features.shape
    classes = torch.arange(len(own.intercept), device=device)
    samples = Samples(features, torch.empty(0, device=device))
    of_rows = _tensor(labels)
    offset = 2 * torch.bincount(of_rows, minlength=len(classes)).double() / n - 1
    pieces = list(slabs(n, max(d, len(classes)))) if d <= n else [slice(0, n)]
    gram = moments = torch.zeros((), dtype=torch.float64, device=device)
    for rows in pieces:
        wide = samples.centred(rows)
        wanted = 2 * (of_rows[rows, None] == classes).double() - 1 - offset
        gram = gram + (wide.T @ wide if d <= n else wide @ wide.T)
        moments = moments + (wide.T @ wanted if d <= n else wanted)
    gram += own.penalty * torch.eye(len(gram), dtype=gram.dtype, device=device)
    weights = torch.linalg.solve(gram, moments)
    if d > n:
        weights = wide.T @ weights
    intercept = offset - samples.mean @ weights
    return Ridge(weights.T.cpu().numpy(), intercept.cpu().numpy(), own.penalty)


def _tensor(values: NDArray[Any]) -> Any:
    """On the device that the environment asks for."""
    import torch

    from pipeline.machine.devices import this_machine

    use_our_share_of_threads()
    return torch.from_numpy(np.ascontiguousarray(values)).to(this_machine().devices[0])


def use_our_share_of_threads() -> None:
    """Give torch as many threads as NumPy's BLAS has here.

    The process pool limits the libraries that are loaded when a cell begins; torch comes later.
    """
    import threadpoolctl
    import torch

    pools = [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
    if pools:
        torch.set_num_threads(min(pool["num_threads"] for pool in pools))


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


def _library_fit(estimator: Any, features: Matrix, labels: Labels, n_classes: int, c: float) -> Fit:
    """One C by scikit-learn's interface; whether it converged is a result, not a warning."""
    present, ranks = np.unique(labels, return_inverse=True)
    estimator.set_params(C=c)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "(?s).*converge")
        estimator.fit(features, ranks)
    rows, offsets = np.asarray(estimator.coef_), np.asarray(estimator.intercept_)
    penalty = float(np.square(rows, dtype=np.float64).sum()) / 2
    if len(present) == 2:  # one row for two classes
        rows, offsets = np.vstack([-rows, rows]) / 2, np.concatenate([-offsets, offsets]) / 2
    coefficients = np.zeros((n_classes, features.shape[1]))
    coefficients[present] = rows
    intercept = np.full(n_classes, -np.inf)
    intercept[present] = offsets
    iterations = int(np.max(estimator.n_iter_))
    fit = Fit(
        coefficients,
        intercept,
        c,
        objective=math.nan,
        gap=math.nan,
        gradient_norm=math.nan,
        iterations=iterations,
        stopped="converged" if iterations < estimator.max_iter else "iterations",
    )
    own = sum(
        float(log_probabilities(fit, features[rows])[np.arange(len(of)), of].sum())
        for rows in slabs(len(labels), max(features.shape[1], n_classes))
        for of in [labels[rows]]
    )
    return replace(fit, objective=penalty - c * own)
