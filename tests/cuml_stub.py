"""Stand-ins for cuML and CuPy: the signatures of cuML's 26.10 wheel, scikit-learn's mathematics.

What is on the device can't be read by NumPy; what goes there is counted in `UPLOADED`. Linear
models keep the precision that they are given, as the real ones do; neighbours are float32's.
"""

from __future__ import annotations

import importlib.machinery
import sys
import types
from typing import Any

import numpy as np
from sklearn import linear_model

UPLOADED: list[int] = []
"""Bytes of each matrix of features that went to the device."""


class DeviceArray:
    """What `cupy.asarray` gives."""

    def __init__(self, values: np.ndarray) -> None:
        self.held = values
        self.shape, self.dtype = values.shape, values.dtype
        self.flags = values.flags

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def get(self) -> np.ndarray:
        return self.held


def asarray(values: Any, dtype: Any = None, order: str | None = None) -> DeviceArray:
    """`cupy.asarray`, as far as it is used."""
    if values.ndim == 2:
        UPLOADED.append(values.nbytes)
    return DeviceArray(np.array(values, dtype=dtype, order=order or "K"))


def _there(values: Any) -> np.ndarray:
    return values.held if isinstance(values, DeviceArray) else asarray(values).held


class LogisticRegression:
    """`cuml.linear_model.LogisticRegression`."""

    iterations: int | None = None
    """After which it stops by itself, and says nothing."""

    def __init__(
        self,
        *,
        penalty: Any = "l2",
        tol: Any = 1e-4,
        C: Any = 1.0,  # noqa: N803
        fit_intercept: Any = True,
        class_weight: Any = None,
        max_iter: Any = 1000,
        linesearch_max_iter: Any = 50,
        l1_ratio: Any = None,
        solver: Any = "qn",
        lbfgs_memory: Any = 5,
        penalty_normalized: Any = True,
        verbose: Any = False,
        output_type: Any = None,
    ) -> None:
        self.C, self.tol, self.max_iter, self.output_type = C, tol, max_iter, output_type
        assert (penalty, fit_intercept, class_weight, solver) == ("l2", True, None, "qn")
        assert penalty_normalized

    def set_params(self, **params: Any) -> LogisticRegression:
        for name, value in params.items():
            assert hasattr(self, name)
            setattr(self, name, value)
        return self

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> LogisticRegression:  # noqa: N803
        features = _there(X)
        labels = y.held if isinstance(y, DeviceArray) else np.asarray(y)
        steps = self.max_iter if self.iterations is None else self.iterations
        fit = linear_model.LogisticRegression(C=self.C, tol=self.tol, max_iter=steps)
        fit.fit(features, labels)
        # As its solver, in the features' own precision.
        self.coef_ = fit.coef_.astype(features.dtype)
        self.intercept_ = fit.intercept_.astype(features.dtype)
        self.n_iter_ = np.asarray(fit.n_iter_)
        return self


class Ridge:
    """`cuml.linear_model.Ridge`."""

    def __init__(
        self,
        alpha: Any = 1.0,
        *,
        fit_intercept: Any = True,
        solver: Any = "auto",
        tol: Any = 1e-4,
        max_iter: Any = None,
        copy_X: Any = True,  # noqa: N803
        output_type: Any = None,
        verbose: Any = False,
    ) -> None:
        assert solver == "svd"  # 'eig' takes one target only
        self.alpha, self.output_type = alpha, output_type

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Ridge:  # noqa: N803
        features, targets = _there(X), _there(y)
        assert features.dtype == targets.dtype
        fit = linear_model.Ridge(self.alpha, solver="svd").fit(features, targets)
        self.coef_, self.intercept_ = fit.coef_, fit.intercept_
        return self


class NearestNeighbors:
    """`cuml.neighbors.NearestNeighbors`."""

    room: int | None = None
    """Queries at once, beyond which the device is out of memory."""

    def __init__(
        self,
        *,
        n_neighbors: Any = 5,
        algorithm: Any = "auto",
        metric: Any = "euclidean",
        p: Any = 2,
        algo_params: Any = None,
        metric_params: Any = None,
        n_jobs: Any = None,
        verbose: Any = False,
        output_type: Any = None,
    ) -> None:
        assert (algorithm, metric) == ("brute", "euclidean")
        self.n_neighbors = n_neighbors

    def fit(self, X: Any, y: Any = None) -> NearestNeighbors:  # noqa: N803
        self._bank = _there(X).astype(np.float32)
        return self

    def kneighbors(
        self,
        X: Any = None,  # noqa: N803
        n_neighbors: Any = None,
        return_distance: Any = True,
        *,
        two_pass_precision: Any = False,
    ) -> Any:
        asked = _there(X).astype(np.float32)
        if self.room is not None and len(asked) > self.room:
            raise MemoryError("std::bad_alloc: out_of_memory: CUDA error (simulated)")
        # By squared lengths and a product, all in float32: near rows come in any order.
        table = (asked**2).sum(1)[:, None] - 2 * asked @ self._bank.T + (self._bank**2).sum(1)
        found = np.argsort(table, axis=1, kind="stable")[:, : n_neighbors or self.n_neighbors]
        return (np.sqrt(np.take_along_axis(table, found, 1)), found) if return_distance else found


def install(monkeypatch: Any) -> None:
    """Let them be imported until the test ends, on a machine with a simulated GPU."""
    UPLOADED.clear()
    modules = {
        "cuml": {},
        "cuml.linear_model": {"LogisticRegression": LogisticRegression, "Ridge": Ridge},
        "cuml.neighbors": {"NearestNeighbors": NearestNeighbors},
        "cupy": {"asarray": asarray},
    }
    for name, content in modules.items():
        module = types.ModuleType(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
        for key, value in content.items():
            setattr(module, key, value)
        monkeypatch.setitem(sys.modules, name, module)
