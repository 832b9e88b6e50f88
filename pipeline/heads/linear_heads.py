"""Heads fitted on one train split, ready to score features of any other data set.

No split but train is an argument of anything here, so none can reach a choice.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.heads.inner_splits import Groups
from pipeline.heads.linear_solvers import LogisticSolver, computed_like, fit_ridge_by
from pipeline.heads.logistic import Fit, log_probabilities
from pipeline.heads.normalization import BLOCK, Features, Normalizer
from pipeline.heads.ridge import choose, fit_ridge
from pipeline.heads.ridge import scores as ridge_scores
from pipeline.heads.ridge_solvers import Ridge
from pipeline.heads.selection import Choice, choose_c, working_precision
from pipeline.heads.slabs import Rows, part, placed, slabs
from pipeline.heads.tuning import CS, FINE, PENALTIES, PLAIN, ROUGH
from pipeline.study.linear import Linear, closed_form
from pipeline.study.variant import Variant

Labels = NDArray[np.int64]
Scores = NDArray[np.float64]
HeadName = Literal["logistic", "ridge"]
_Score = Callable[[NDArray[np.float64]], Scores]


@dataclass(frozen=True)
class FittedHead:
    """A head and how it normalises what it scores.

    Attributes
    ----------
    variant : Variant
        Of the linear protocol.
    normalizer : callable
        Features as cached -> what the head scores, by statistics of the head's own train split.
    score : callable
        Normalised features -> scores.
    n_classes : int
    log_probabilities : bool
        Whether scores are natural logarithms of probabilities.
    seconds : float
        That fitting took, selection included.
    backend : str
    seed : int or None
    details : dict
        What was selected, and whether it converged.
    fit : Fit or Ridge, optional
        Coefficients and intercept behind `score`, for normalised features; None of heads that are
        trained by gradient descent.
    """

    variant: Variant
    normalizer: Callable[[Features], Features]
    score: _Score
    n_classes: int
    log_probabilities: bool
    seconds: float
    backend: str
    seed: int | None
    details: dict[str, Any]
    fit: Fit | Ridge | None = None

    def slabs(self, features: Rows) -> Iterator[Scores]:
        """Scores of raw features, in float64, a slab of rows at a time.

        Parameters
        ----------
        features : Rows of shape (n, n_features)
            Of the same model, of any data set.

        Yields
        ------
        ndarray of shape (n_rows, n_classes)
            Larger is likelier; −inf for a class that the train split lacks.
        """
        for rows in slabs(len(features), max(features.shape[1], self.n_classes), BLOCK):
            yield self.score(self.normalizer(features[rows]).astype(np.float64))

    def scores(self, features: Rows) -> Scores:
        """All of `slabs` together, shape (n, n_classes)."""
        return np.concatenate([np.empty((0, self.n_classes)), *self.slabs(features)])


def fit_head(
    name: HeadName,
    normalization: str,
    train: Rows,
    labels: Labels,
    n_classes: int,
    settings: Linear,
    backend: str = "numpy",
    groups: Groups | None = None,
) -> FittedHead:
    """Choose a head's regularisation within train, and fit it to all of train.

    Parameters
    ----------
    name : {"logistic", "ridge"}
    normalization : {"none", "zscore", "l2"}
    train : Rows of shape (n_train, n_features)
        Not normalised.
    labels : ndarray of shape (n_train,)
        0 to n_classes − 1.
    n_classes : int
    settings : Linear
    backend : {"numpy", "torch", "sklearn", "cuml"}
    groups : ndarray of shape (n_train,) of str, optional
        The group (site, camera, patient) of each image, "" for none. None is on both sides where
        something is held out to choose by.

    Raises
    ------
    ProbelineError
        Fewer than two classes, features that are not finite, or too many for the backend.
    """
    start = time.perf_counter()
    normalizer = Normalizer.fit(normalization, train)
    score: _Score
    fit: Fit | Ridge
    if name == "logistic":
        bank = working_precision(part(train, normalize=normalizer))
        solver = LogisticSolver(backend, bank, n_classes, settings.max_iterations)
        choice = _choose_c(normalization, train, labels, settings, solver, groups)
        tolerance = FINE if np.dtype(bank.dtype) == np.float64 else PLAIN
        fit = solver.open_path(solver.train, labels, tolerance=tolerance)(choice.c)
        score, details = partial(log_probabilities, fit), _logistic_details(choice, fit)
    else:
        bank = part(train, normalize=normalizer)
        fit, details = _ridge(bank, labels, n_classes, backend, groups)
        score = partial(ridge_scores, fit)
    return FittedHead(
        closed_form(name, normalization),
        normalizer,
        score,
        n_classes,
        log_probabilities=name == "logistic",
        seconds=time.perf_counter() - start,
        backend=backend,
        seed=settings.seed if name == "logistic" else None,  # of the hold-out
        details=details,
        fit=fit,
    )


def _choose_c(
    normalization: str,
    train: Rows,
    labels: Labels,
    settings: Linear,
    solver: LogisticSolver,
    groups: Groups | None,
) -> Choice:
    def normalize(fitting: Rows, judging: Rows) -> tuple[Rows, Rows]:
        normalizer = Normalizer.fit(normalization, fitting)
        return part(fitting, normalize=normalizer), part(judging, normalize=normalizer)

    return choose_c(
        train,
        labels,
        settings.c or CS,
        normalize,
        partial(solver.open_path, tolerance=ROUGH),
        groups=groups,
        seed=settings.seed,
        place=solver.place,
    )


def _logistic_details(choice: Choice, fit: Fit) -> dict[str, Any]:
    """The choice, the fit, and the path that led to the choice, a list for each of its columns."""
    return {
        "C": choice.c,
        "C_at_edge_of_grid": choice.at_edge,
        "C_scheme": choice.scheme,
        "C_by_group": choice.by_group,
        "holdout_top1": _number(choice.accuracy),
        "converged": fit.converged,
        "stopped": fit.stopped,
        "iterations": fit.iterations,
        "gradient_norm": _number(fit.gradient_norm),
        "gap": _number(fit.gap),
        "path": {
            "C": [_number(r.c) for r in choice.records],
            "top1": [_number(r.accuracy) for r in choice.records],
            "log_loss": [_number(r.log_loss) for r in choice.records],
            "iterations": [r.iterations for r in choice.records],
            "gradient_norm": [_number(r.gradient_norm, 2) for r in choice.records],
            "converged": [r.converged for r in choice.records],
        },
    }


def _ridge(
    bank: Rows, labels: Labels, n_classes: int, backend: str, groups: Groups | None
) -> tuple[Ridge, dict[str, Any]]:
    """λ by the exact leave-one-out of `pipeline.heads.ridge`, on the device of the backend.

    A class that is absent from train has an intercept of minus infinity: nothing is predicted so.
    """
    like = computed_like(backend)
    fits, judged = fit_ridge(placed(bank, like), labels, n_classes, PENALTIES, groups, like)
    place = choose(judged)
    fit = fit_ridge_by(backend, bank, labels, fits[place])
    absent = np.setdiff1d(np.arange(n_classes), labels)
    details = {
        "lambda": fit.penalty,
        "lambda_at_edge_of_grid": place in (0, len(judged) - 1),
        "leave_one_out_top1": judged[place].accuracy,
        "leave_one_out_squared_error": _number(judged[place].squared_error),
        "path": {
            "lambda": [_number(j.penalty) for j in judged],
            "top1": [_number(j.accuracy) for j in judged],
            "squared_error": [_number(j.squared_error) for j in judged],
        },
    }
    intercept = fit.intercept.copy()
    intercept[absent] = -np.inf
    return replace(fit, intercept=intercept), details


def _number(value: float, digits: int = 6) -> float | None:
    """In significant digits; JSON has no NaN and no infinity."""
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None
