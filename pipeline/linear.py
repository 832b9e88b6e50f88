"""Linear probe: multinomial logistic regression whose C is chosen on a hold-out of train.

Objective (scikit-learn's): ½‖W‖² + C Σ loss, intercept not penalised. The path over C runs from
strong to weak regularisation, each fit starting from the one before. The val split is read once,
by the final fit on all of train.
"""

from __future__ import annotations

import math
import time
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from cache.errors import ProbelineError
from pipeline.normalization import Features, centre_and_scale, unit_length, zscore
from pipeline.samples import stratified_split
from pipeline.scoring import Outcome, make_outcome
from pipeline.study import Linear

Labels = NDArray[np.int64]


def variant_names(settings: Linear) -> list[str]:
    """All variants that the settings ask for; the first is the protocol's headline."""
    return [f"logistic_{normalization}" for normalization in settings.normalization]


def run_linear(
    settings: Linear,
    train: Features,
    train_labels: Labels,
    val: Features,
    val_labels: Labels,
    n_classes: int,
) -> list[Outcome]:
    """Judge every variant on the val split.

    Parameters
    ----------
    settings : Linear
    train, val : ndarray of shape (n_samples, n_features), float32
    train_labels, val_labels : ndarray of shape (n_samples,)
    n_classes : int
        Of the train split.
    """
    outcomes = []
    for normalization in settings.normalization:
        start = time.perf_counter()
        choice = choose_c(settings, normalization, train, train_labels)
        bank, queries = normalize(normalization, train, val)
        fit, converged = _fit(_estimator(settings, choice.c), bank, train_labels)
        probabilities = np.zeros((len(queries), n_classes))
        probabilities[:, fit.classes_] = fit.predict_proba(queries)
        details = {
            "C": choice.c,
            "C_at_edge_of_grid": choice.at_edge,
            "holdout_top1": None if math.isnan(choice.accuracy) else choice.accuracy,
            "iterations": int(fit.n_iter_.max()),
            "converged": converged,
        }
        outcomes.append(
            make_outcome(
                f"logistic_{normalization}",
                probabilities,
                val_labels,
                seconds=time.perf_counter() - start,
                backend="sklearn",
                seed=settings.seed,
                details=details,
            )
        )
    return outcomes


@dataclass(frozen=True)
class Choice:
    """The C that did best on the hold-out.

    Attributes
    ----------
    c : float
        The smallest of equally good ones.
    accuracy : float
        Top-1 on the hold-out.
    at_edge : bool
        Whether it is the grid's first or last value: a wider grid may do better.
    """

    c: float
    accuracy: float
    at_edge: bool


def choose_c(settings: Linear, normalization: str, train: Features, labels: Labels) -> Choice:
    """Choose C on a stratified hold-out of train. No other split is an argument.

    Statistics for the normalisation come from the inner train part alone.
    """
    grid = sorted(settings.c)
    if len(grid) == 1:
        return Choice(grid[0], float("nan"), at_edge=False)
    split = stratified_split(pd.Series(labels), settings.holdout_fraction, settings.seed)
    inner, held_out = split == "train", split == "val"
    if not held_out.any():
        raise ProbelineError(
            "params.yaml: linear.c",
            "there is no hold-out to choose C on: no class has two train images",
            expected="two train images of some class, or a single C",
            found=f"{len(labels)} train images of {len(set(labels.tolist()))} classes",
            remedy="raise limit_per_class or add images, or give one value in linear.c",
        )
    fitting, judging = normalize(normalization, train[inner], train[held_out])
    estimator = _estimator(settings, grid[0])
    best = Choice(grid[0], -1.0, at_edge=True)
    for c in grid:
        estimator.set_params(C=c)
        fit, _ = _fit(estimator, fitting, labels[inner])
        accuracy = float(np.mean(fit.predict(judging) == labels[held_out]))
        if accuracy > best.accuracy:
            best = Choice(c, accuracy, at_edge=c in (grid[0], grid[-1]))
    return best


def normalize(kind: str, train: Features, other: Features) -> tuple[Features, ...]:
    """Normalise by train statistics, then centre (which an intercept absorbs) and scale."""
    if kind == "zscore":
        return zscore(train, other)
    if kind == "l2":
        train, other = unit_length(train, other)
    return centre_and_scale(train, other)


def _estimator(settings: Linear, c: float) -> LogisticRegression:
    return LogisticRegression(
        C=c, solver="lbfgs", tol=1e-4, max_iter=settings.max_iterations, warm_start=True
    )


def _fit(estimator: Any, features: Features, labels: Labels) -> tuple[Any, bool]:
    """Fit; whether it converged is a result, not a warning on a terminal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fit = estimator.fit(features, labels)
    return fit, bool(fit.n_iter_.max() < estimator.max_iter)
