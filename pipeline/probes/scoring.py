"""From class scores to per-image outcomes, and from outcomes to metrics with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import stats

from cache.errors import NonFiniteError

CONFIDENCE = 0.95
BOOTSTRAP = 2_000
"""Replicates of the stratified bootstrap behind the interval of mean per-class accuracy."""


@dataclass(frozen=True)
class Outcome:
    """What one variant of a protocol says of every test image.

    Attributes
    ----------
    variant : str
        Name of the settings, e.g. ``k20_euclidean_distance_none``.
    predicted : ndarray of shape (n_test,), int32
        Predicted label.
    rank : ndarray of shape (n_test,), int32
        Place of the true class among the classes sorted by score; 1 is a hit. Top-k accuracy is
        the share of ranks up to k.
    log_probability : ndarray of shape (n_test,), float32
        Natural logarithm of the probability given to the true class; NaN where the variant gives
        scores that are no probabilities.
    confidence : ndarray of shape (n_test,), float32
        Probability given to the predicted class; NaN likewise.
    seconds : float
        Spent on this variant.
    backend : str
        What computed it.
    seed : int or None
        Of whatever was drawn.
    details : dict
        What was selected, and whether it converged.
    """

    variant: str
    predicted: NDArray[np.int32]
    rank: NDArray[np.int32]
    log_probability: NDArray[np.float32]
    confidence: NDArray[np.float32]
    seconds: float
    backend: str
    seed: int | None
    details: dict[str, Any]


def make_outcome(
    variant: str,
    probabilities: NDArray[np.floating],
    labels: NDArray[np.integer],
    *,
    seconds: float,
    backend: str,
    seed: int | None = None,
    details: dict[str, Any] | None = None,
    are_probabilities: bool = True,
) -> Outcome:
    """Judge class probabilities, or scores of another kind (larger is likelier).

    Equal probabilities are ordered by class index, as `numpy.argmax` does: the same rule for the
    prediction and for the true class's rank.

    Parameters
    ----------
    variant : str
    probabilities : ndarray of shape (n_test, n_classes)
    labels : ndarray of shape (n_test,)
    seconds, backend, seed, details
        See `Outcome`.
    are_probabilities : bool
        Whether log loss and calibration mean something. Scores may be minus infinity, for classes
        that can't be predicted.
    """
    finite = np.isfinite(probabilities)
    if not are_probabilities:
        finite |= np.isneginf(probabilities)
    if not finite.all():  # NaN compares as "not ahead": a hit for every row
        raise NonFiniteError(
            f"variant {variant}",
            "a class probability is not a finite number",
            remedy="look for features of extreme size: `probeline cache verify --deep`",
        )
    rows = np.arange(len(labels))
    of_truth = probabilities[rows, labels][:, np.newaxis]
    classes = np.arange(probabilities.shape[1])
    ahead = (probabilities > of_truth) | (
        (probabilities == of_truth) & (classes < labels[:, np.newaxis])
    )
    if are_probabilities:
        with np.errstate(divide="ignore"):  # a class without a vote: minus infinity, as it is
            log_probability = np.log(of_truth[:, 0]).astype(np.float32)
        confidence = probabilities.max(axis=1).astype(np.float32)
    else:
        log_probability = np.full(len(labels), np.nan, np.float32)
        confidence = log_probability
    return Outcome(
        variant,
        probabilities.argmax(axis=1).astype(np.int32),
        (1 + ahead.sum(axis=1)).astype(np.int32),
        log_probability,
        confidence,
        seconds,
        backend,
        seed,
        details or {},
    )


def score_rows(
    outcome: Outcome,
    labels: NDArray[np.integer],
    n_classes: int,
    n_train: int,
    groups: NDArray[np.str_] | None = None,
) -> list[dict[str, Any]]:
    """One row per metric.

    top1, top5 (with more than five classes), mean_per_class, macro_f1, worst_group (with groups),
    and where the variant gives probabilities ece; nll, unless it gave some true class none.

    Parameters
    ----------
    outcome : Outcome
    labels : ndarray of shape (n_test,)
    n_classes, n_train : int
    groups : ndarray of shape (n_test,), optional
    """
    hits = outcome.rank == 1
    metrics: dict[str, _Estimate] = {"top1": _accuracy(hits)}
    if n_classes > 5:
        metrics["top5"] = _accuracy(outcome.rank <= 5)
    metrics["mean_per_class"] = _mean_per_class(hits, labels)
    metrics["macro_f1"] = (macro_f1(outcome.predicted, labels), None, None)
    if groups is not None and (groups != "").any():
        metrics["worst_group"] = _worst_group(hits, groups)
    if not np.isnan(outcome.confidence).any():
        metrics["ece"] = (expected_calibration_error(outcome.confidence, hits), None, None)
        if np.isfinite(outcome.log_probability).all():
            metrics["nll"] = _mean_loss(outcome.log_probability)
    return [
        {
            "variant": outcome.variant,
            "metric": metric,
            "value": value,
            "ci_low": low,
            "ci_high": high,
            "n_train": n_train,
            "n_test": len(labels),
            "seed": outcome.seed,
            "seconds": round(outcome.seconds, 4),
            "backend": outcome.backend,
            "details": outcome.details,
        }
        for metric, (value, low, high) in metrics.items()
    ]


def macro_f1(predicted: NDArray[np.integer], labels: NDArray[np.integer]) -> float:
    """Mean of the classes' F1 scores, over classes that are true or predicted somewhere.

    As scikit-learn's ``f1_score(average="macro")``.
    """
    size = int(max(predicted.max(), labels.max())) + 1
    right = np.bincount(labels[predicted == labels], minlength=size)
    either = np.bincount(labels, minlength=size) + np.bincount(predicted, minlength=size)
    return float((2 * right[either > 0] / either[either > 0]).mean())


def expected_calibration_error(confidence: NDArray[np.floating], hits: NDArray[np.bool_]) -> float:
    """Mean distance of accuracy from confidence, over 15 bins of equal width (arXiv 1706.04599).

    Parameters
    ----------
    confidence : ndarray of shape (n_test,)
        Probability of the predicted class.
    hits : ndarray of shape (n_test,), bool
    """
    bins = np.clip(np.ceil(confidence.astype(np.float64) * 15) - 1, 0, 14).astype(np.int64)
    gap = np.bincount(bins, confidence, 15) - np.bincount(bins, hits, 15)
    return float(np.abs(gap).sum() / len(hits))


def outcome_table(outcomes: Sequence[Outcome]) -> pa.Table:
    """All outcomes as one table: variant, sample, predicted, rank, log_probability, confidence."""
    if not outcomes:
        return pa.table({"variant": pa.array([], pa.string())})
    sizes = [len(o.predicted) for o in outcomes]
    variants = pa.DictionaryArray.from_arrays(
        pa.array(np.repeat(np.arange(len(outcomes)), sizes), pa.int32()),
        pa.array([o.variant for o in outcomes]),
    )
    return pa.table(
        {
            "variant": variants,
            "sample": np.concatenate([np.arange(n, dtype=np.int32) for n in sizes]),
            "predicted": np.concatenate([o.predicted for o in outcomes]),
            "rank": np.concatenate([o.rank for o in outcomes]),
            "log_probability": np.concatenate([o.log_probability for o in outcomes]),
            "confidence": np.concatenate([o.confidence for o in outcomes]),
        }
    )


_Estimate = tuple[float, float | None, float | None]
"""A value and its interval, where there is one."""


def _accuracy(hits: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Share of hits with its exact (Clopper-Pearson) interval."""
    return float(hits.mean()), *_exact_interval(int(hits.sum()), len(hits))


@cache
def _exact_interval(right: int, total: int) -> tuple[float, float]:
    """Milliseconds to find; a stage asks again and again for the few counts of one test set."""
    interval = stats.binomtest(right, total).proportion_ci(CONFIDENCE, "exact")
    return float(interval.low), float(interval.high)


def _mean_per_class(
    hits: NDArray[np.bool_], labels: NDArray[np.integer]
) -> tuple[float, float, float]:
    """Mean of the classes' accuracies, over classes with test images.

    Interval: percentiles of the bootstrap stratified by class. Redrawing a class's n images and
    counting hits is a binomial draw, so no image is touched.
    """
    total = np.bincount(labels)
    right = np.bincount(labels, weights=hits)[total > 0]
    total = total[total > 0]
    share = right / total
    draws = np.random.default_rng(0).binomial(total, share, (BOOTSTRAP, len(total))) / total
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(draws.mean(axis=1), [tail, 1 - tail])
    return float(share.mean()), float(low), float(high)


def _worst_group(hits: NDArray[np.bool_], groups: NDArray[np.str_]) -> tuple[float, float, float]:
    """Accuracy in the group where it is lowest, with that group's interval."""
    named = np.unique(groups[groups != ""])
    of_groups = [_accuracy(hits[groups == group]) for group in named]
    return min(of_groups)


def _mean_loss(log_probability: NDArray[np.float32]) -> tuple[float, float, float]:
    """Mean negative log-likelihood, with the interval of a mean by the normal distribution."""
    losses = -log_probability.astype(np.float64)
    mean = float(losses.mean())
    half = float(stats.norm.ppf(0.5 + CONFIDENCE / 2) * losses.std() / np.sqrt(len(losses)))
    return mean, mean - half, mean + half
