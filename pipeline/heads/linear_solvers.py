"""The libraries that can fit a linear head, behind one interface: one objective, four solvers.

Logistic regression: ½‖W‖² + C Σ loss (`pipeline.heads.logistic`). Ridge: ‖Y − XW − 1bᵀ‖² +
λ‖W‖², Y = ±1 (`pipeline.heads.ridge`). The intercept b is not penalised. Libraries are
imported when they are asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.heads.columns import namespace, principal_axes
from pipeline.heads.library_logistic import LibraryPath
from pipeline.heads.logistic import Fit, LogisticPath
from pipeline.heads.refusing import is_finite
from pipeline.heads.ridge_solvers import Ridge
from pipeline.heads.slabs import Rows, placed, whole
from pipeline.machine.backends import require_cuml_size

Labels = NDArray[np.int64]


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

    Attributes
    ----------
    train : Rows
        The same, where the backend computes: on a device, uploaded once for all fits of it.
    """

    def __init__(
        self, backend: str, train: Rows, n_classes: int, max_iterations: int = 1000
    ) -> None:
        self._backend = backend
        self._like = computed_like(backend)
        self.train = self.place(train)
        self._n_classes, self._max_iterations = n_classes, max_iterations

    def place(self, features: Rows) -> Rows:
        """Rows where they are computed with."""
        return placed(features, self._like)

    def open_path(
        self, features: Rows, labels: Labels, *, tolerance: float
    ) -> Callable[[float], Fit]:
        """A function that fits one C after the other, fastest where C rises slowly.

        Parameters
        ----------
        features : Rows of shape (n_samples, n_features)
        labels : ndarray of shape (n_samples,)
        tolerance : float
            As in `LogisticPath`; libraries have no use for it.

        Raises
        ------
        ProbelineError
            Of `LogisticPath`, or when the features are too many for cuML.
        """
        if self._backend not in ("numpy", "torch"):
            return LibraryPath(
                self._backend, features, labels, self._n_classes, self._max_iterations
            ).fit
        return LogisticPath(
            self.place(features),
            namespace(self._like).asarray(labels, device=self._like.device),
            self._n_classes,
            tolerance=tolerance,
            max_iterations=self._max_iterations,
            axes=self._axes,
        ).fit

    @cached_property
    def _axes(self) -> Any:
        if not is_finite(self.train, self._like):
            return None  # the path explains it
        return principal_axes(self.train, self._like)


def fit_ridge_by(backend: str, features: Rows, labels: Labels, own: Ridge) -> Ridge:
    """Fit by a library the penalty of `own`, which our own solver fitted and chose."""
    if backend in ("numpy", "torch"):
        return own
    n, d, n_classes = *features.shape, len(own.intercept)
    if backend == "cuml":
        require_cuml_size("ridge", n, d)
        require_cuml_size("ridge: its targets", n, n_classes)
        from cuml.linear_model import Ridge as Estimator

        fit = Estimator(own.penalty, solver="svd", output_type="numpy")
    else:
        from sklearn.linear_model import Ridge as Estimator

        fit = Estimator(own.penalty, solver="svd")
    targets = np.where(labels[:, None] == np.arange(n_classes), 1.0, -1.0)
    fit.fit(whole(features).astype(np.float64), targets)
    coefficients = np.asarray(fit.coef_).reshape(n_classes, d)
    return Ridge(coefficients, np.asarray(fit.intercept_).reshape(n_classes), own.penalty)


def computed_like(backend: str) -> Any:
    """An empty array of the library, and on the device, that a backend of ours computes with."""
    nothing = np.empty(0)
    if backend != "torch":
        return nothing
    import torch

    from pipeline.machine.devices import this_machine

    use_our_share_of_threads()
    return torch.from_numpy(nothing).to(this_machine().devices[0])


def use_our_share_of_threads() -> None:
    """Give torch as many threads as NumPy's BLAS has here.

    The process pool limits the libraries that are loaded when a cell begins; torch comes later.
    """
    import threadpoolctl
    import torch

    pools = [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
    if pools:
        torch.set_num_threads(min(pool["num_threads"] for pool in pools))
