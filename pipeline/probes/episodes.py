"""Few-shot episodes: every classifier on every draw, and what they score over draws."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import stats

from pipeline.classifiers.inner_splits import Groups
from pipeline.classifiers.normalization import Features
from pipeline.classifiers.shot_classifiers import Classifier, Labels
from pipeline.probes.scoring import (
    CONFIDENCE,
    expected_calibration_error,
    macro_f1,
    make_outcome,
)
from pipeline.probes.shots import Budget, Draw

BACKEND = "numpy"


@dataclass(frozen=True)
class Episodes:
    """One classifier on one budget: all its draws, on every test image.

    Attributes
    ----------
    variant : str
        ``prototypes_5_shots``.
    budget : Budget
    predicted : ndarray of shape (n_draws, n_test)
        In the smallest integers that hold the classes.
    rank : ndarray of shape (n_draws, n_test)
        Place of the true class, as in `pipeline.probes.scoring.Outcome`.
    log_probability, confidence : ndarray of shape (n_draws, n_test), float32
        As in `pipeline.probes.scoring.Outcome`; NaN where the classifier gives no probabilities.
    rows : list of int
        Train images of each draw.
    short : tuple of int
        Classes with fewer images than the budget asks for.
    seconds : float
        Over all draws.
    details : list of dict
        The classifier's, one a draw.
    """

    variant: str
    budget: Budget
    predicted: NDArray[np.integer]
    rank: NDArray[np.integer]
    log_probability: NDArray[np.float32]
    confidence: NDArray[np.float32]
    rows: list[int]
    short: tuple[int, ...]
    seconds: float
    details: list[dict[str, Any]]


def run_episodes(
    classifiers: Mapping[str, Classifier],
    draws: Sequence[Draw],
    train: Features,
    train_labels: Labels,
    val: Features,
    val_labels: Labels,
    n_classes: int,
    train_groups: Groups | None = None,
) -> list[Episodes]:
    """Every classifier on every budget, in the order of the budgets, then of the classifiers.

    Parameters
    ----------
    classifiers : mapping of str to callable
    draws : sequence of Draw
        Their rows are rows of `train`.
    train, val : ndarray of shape (n_samples, n_features)
    train_labels, val_labels : ndarray of shape (n_samples,)
    n_classes : int
    train_groups : ndarray of shape (n_samples,) of str, optional
        For classifiers that hold something out to choose by.

    Raises
    ------
    NonFiniteError
        When a classifier scores an image with NaN.
    """
    small = np.min_scalar_type(n_classes)
    found = []
    for budget in dict.fromkeys(draw.budget for draw in draws):
        of_budget = [draw for draw in draws if draw.budget == budget]
        for name, classify in classifiers.items():
            variant = f"{name}_{budget.name}"
            begin = time.perf_counter()
            # Each draw's scores are let go once judged: (n_test, n_classes) may be large.
            each = [
                _judge(variant, classify, train[d.rows], train_labels[d.rows], val, val_labels,
                       n_classes, None if train_groups is None else train_groups[d.rows])
                for d in of_budget
            ]  # fmt: skip
            predicted, rank, logarithm, confidence, details = zip(*each, strict=True)
            found.append(
                Episodes(
                    variant,
                    budget,
                    np.stack(predicted).astype(small),
                    np.stack(rank).astype(small),
                    np.stack(logarithm),
                    np.stack(confidence),
                    [len(draw.rows) for draw in of_budget],
                    of_budget[0].short,
                    time.perf_counter() - begin,
                    list(details),
                )
            )
    return found


def episode_rows(
    episodes: Episodes,
    val_labels: Labels,
    classes: Sequence[str],
    groups: NDArray[np.str_] | None = None,
    *,
    seed: int,
) -> list[dict[str, Any]]:
    """One row a metric, as `pipeline.probes.scoring.score_rows`; values are means over draws.

    The interval is Student's t over draws: how much the score depends on which images were
    labelled, for these test images. None for a single draw.

    Parameters
    ----------
    episodes : Episodes
    val_labels : ndarray of shape (n_test,)
    classes : sequence of str
        Class names.
    groups : ndarray of shape (n_test,), optional
    seed : int
        Of the draws.
    """
    told = {
        "shots": episodes.budget.shots,
        "share": episodes.budget.share,
        "images": episodes.rows,
        "short_classes": [classes[label] for label in episodes.short],
        "episodes": episodes.details,
        "interval": "t over draws",
    }
    return [
        {
            "variant": episodes.variant,
            "metric": metric,
            **_interval(values, np.inf if metric == "nll" else 1.0),
            "n_train": round(float(np.mean(episodes.rows))),
            "n_test": len(val_labels),
            "seed": seed,
            "seconds": round(episodes.seconds, 4),
            "backend": BACKEND,
            "details": {"draws": values.tolist(), **told},
        }
        for metric, values in _metrics(episodes, val_labels, len(classes), groups)
    ]


def episode_table(episodes: Sequence[Episodes]) -> pa.Table:
    """Per-image outcomes of all draws: variant, draw, sample, predicted, rank, log_probability.

    Of several times as many outcomes as another protocol's, the confidences are left out.
    """
    shapes = [e.predicted.shape for e in episodes]
    variants = pa.DictionaryArray.from_arrays(
        pa.array(np.repeat(np.arange(len(episodes)), [d * n for d, n in shapes]), pa.int32()),
        pa.array([e.variant for e in episodes]),
    )
    columns: dict[str, list[NDArray[Any]]] = {
        "draw": [np.repeat(np.arange(d, dtype=np.int32), n) for d, n in shapes],
        "sample": [np.tile(np.arange(n, dtype=np.int32), d) for d, n in shapes],
        "predicted": [e.predicted.ravel().astype(np.int32) for e in episodes],
        "rank": [e.rank.ravel().astype(np.int32) for e in episodes],
        "log_probability": [e.log_probability.ravel() for e in episodes],
    }
    return pa.table({"variant": variants, **{k: np.concatenate(v) for k, v in columns.items()}})


def _judge(
    variant: str,
    classify: Classifier,
    shots: Features,
    shot_labels: Labels,
    val: Features,
    val_labels: Labels,
    n_classes: int,
    groups: Groups | None,
) -> tuple[Any, ...]:
    """Of one draw: predicted, rank, log probability of the truth, confidence, details."""
    scores = classify(shots, shot_labels, val, n_classes, groups)
    values = scores.values
    # Ranked by the logarithms themselves, which tell apart what underflows as a probability.
    outcome = make_outcome(
        variant, values, val_labels, seconds=0.0, backend=BACKEND, are_probabilities=False
    )
    logarithm, confidence = outcome.log_probability, outcome.confidence
    if scores.log_probabilities:
        logarithm = values[np.arange(len(val_labels)), val_labels].astype(np.float32)
        confidence = np.exp(values.max(axis=1)).astype(np.float32)
    return outcome.predicted, outcome.rank, logarithm, confidence, scores.details


def _metrics(
    episodes: Episodes, labels: Labels, n_classes: int, groups: NDArray[np.str_] | None
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Name and one value a draw of each metric that `pipeline.probes.scoring.score_rows` has."""
    hits = episodes.rank == 1
    yield "top1", hits.mean(axis=1)
    if n_classes > 5:
        yield "top5", (episodes.rank <= 5).mean(axis=1)
    counts = np.bincount(labels)
    yield "mean_per_class", hits @ (1 / counts[labels] / np.count_nonzero(counts))
    yield "macro_f1", np.array([macro_f1(p, labels) for p in episodes.predicted.astype(np.int64)])
    if groups is not None:
        of_groups = [hits[:, groups == group].mean(axis=1) for group in np.unique(groups)]
        yield "worst_group", np.min(of_groups, axis=0)
    if not np.isnan(episodes.confidence).any():
        pairs = zip(episodes.confidence, hits, strict=True)
        yield "ece", np.array([expected_calibration_error(c, h) for c, h in pairs])
        if np.isfinite(episodes.log_probability).all():
            yield "nll", -episodes.log_probability.astype(np.float64).mean(axis=1)


def _interval(values: NDArray[np.float64], most: float) -> dict[str, float | None]:
    mean = float(values.mean())
    if len(values) < 2:
        return {"value": mean, "ci_low": None, "ci_high": None}
    quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1))
    half = quantile * float(values.std(ddof=1)) / len(values) ** 0.5
    return {"value": mean, "ci_low": max(0.0, mean - half), "ci_high": min(most, mean + half)}
