"""All metrics: a formula, and a line of `METRICS`; everything else asks these objects.

Whoever reads them goes through this module (`metrics.METRICS`), as tests add one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.project.names import distinct
from pipeline.study.metric import TRANSFERABILITY, Metric, Need, Predictions

CONFIDENCE = 0.95
BOOTSTRAP = 2_000
"""Replicates of the stratified bootstrap behind the interval of mean per-class accuracy."""

BINS = 15
"""Of confidence, in the calibration error."""

Ends = tuple[float, float]


def macro_f1(predicted: NDArray[np.integer], truth: NDArray[np.integer]) -> float:
    """Mean of the classes' F1 scores, over classes that are true or predicted somewhere.

    As scikit-learn's ``f1_score(average="macro")``.
    """
    size = int(max(predicted.max(), truth.max())) + 1
    right = np.bincount(truth[predicted == truth], minlength=size)
    either = np.bincount(truth, minlength=size) + np.bincount(predicted, minlength=size)
    return float((2 * right[either > 0] / either[either > 0]).mean())


def expected_calibration_error(confidence: NDArray[np.floating], hits: NDArray[np.bool_]) -> float:
    """Mean distance of accuracy from confidence, over 15 bins of equal width (arXiv 1706.04599).

    A bin is (low, high], as the authors have it; 0 itself is in the first.

    Parameters
    ----------
    confidence : ndarray of shape (n_test,), float64
        Probability of the predicted class. Rounded to float32, shares of votes such as 4/20 would
        fall into the next bin.
    hits : ndarray of shape (n_test,), bool
    """
    edges = np.linspace(0, 1, BINS + 1)
    bins = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, BINS - 1)
    gap = np.bincount(bins, confidence, BINS) - np.bincount(bins, hits, BINS)
    return float(np.abs(gap).sum() / len(hits))


def _exact_interval(hits: NDArray[np.bool_]) -> Ends:
    """Clopper-Pearson interval of a share of hits."""
    return _clopper_pearson(int(hits.sum()), len(hits))


@cache
def _clopper_pearson(right: int, total: int) -> Ends:
    """As ``scipy.stats.binomtest(...).proportion_ci(method="exact")``, in closed form.

    Records of before hold the ends that this finds by steps, to 4e-13.
    """
    from scipy import special  # `status`, which knows metrics by name, need not pay for it

    tail = (1 - CONFIDENCE) / 2
    low = float(special.betaincinv(right, total - right + 1, tail)) if right else 0.0
    wrong = total - right
    high = float(special.betainccinv(right + 1, wrong, tail)) if wrong else 1.0
    return low, high


def _class_shares(p: Predictions) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Accuracy and test images of each class that has any."""
    total = np.bincount(p.labels)
    right = np.bincount(p.labels, weights=p.hits)[total > 0]
    total = total[total > 0]
    return right / total, total


def _mean_per_class(p: Predictions) -> float:
    return float(_class_shares(p)[0].mean())


def _mean_per_class_over_draws(draws: Sequence[Predictions]) -> NDArray[np.float64]:
    """As one product; few-shot records hold its last digits."""
    counts = np.bincount(draws[0].labels)
    weights = 1 / counts[draws[0].labels] / np.count_nonzero(counts)
    values: NDArray[np.float64] = np.stack([draw.hits for draw in draws]) @ weights
    return values


def _bootstrap_interval(p: Predictions) -> Ends:
    """Percentiles of the bootstrap stratified by class.

    Redrawing a class's n images and counting hits is a binomial draw, so no image is touched.
    """
    share, total = _class_shares(p)
    draws = np.random.default_rng(0).binomial(total, share, (BOOTSTRAP, len(total))) / total
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(draws.mean(axis=1), [tail, 1 - tail])
    return float(low), float(high)


def _by_group(p: Predictions) -> list[NDArray[np.bool_]]:
    """The hits of each named group."""
    assert p.groups is not None  # it is needed
    return [p.hits[p.groups == name] for name in np.unique(p.groups[p.groups != ""])]


def _worst_group(p: Predictions) -> float:
    return float(min(hits.mean() for hits in _by_group(p)))


def _worst_group_interval(p: Predictions) -> Ends:
    """That of the group where accuracy is lowest."""
    return min((float(hits.mean()), *_exact_interval(hits)) for hits in _by_group(p))[1:]


def _mean_group(p: Predictions) -> float:
    return float(np.array([hits.mean() for hits in _by_group(p)]).mean())


def _mean_group_interval(p: Predictions) -> Ends:
    """Student's t over groups."""
    from scipy import special

    of_groups = np.array([hits.mean() for hits in _by_group(p)])
    spread = of_groups.std(ddof=1) / np.sqrt(len(of_groups))
    half = float(special.stdtrit(len(of_groups) - 1, 0.5 + CONFIDENCE / 2) * spread)
    mean = float(of_groups.mean())
    return max(0.0, mean - half), min(1.0, mean + half)


def _log_loss(p: Predictions) -> float:
    return float(-p.log_probability.astype(np.float64).mean())


def _log_loss_interval(p: Predictions) -> Ends:
    """Of a mean, by the normal distribution."""
    from scipy import special

    losses = -p.log_probability.astype(np.float64)
    mean = float(losses.mean())
    half = float(special.ndtri(0.5 + CONFIDENCE / 2) * losses.std() / np.sqrt(len(losses)))
    return mean - half, mean + half


def _never(p: Predictions) -> float:
    raise NotImplementedError("imported scores alone have it")


def _elsewhere(name: str, label: str, **more: Any) -> Metric:
    """A metric that imported scores have, and no protocol here computes."""
    return Metric(name, label, _never, needs=frozenset({Need.ELSEWHERE}), in_keys=False, **more)


METRICS = distinct(
    Metric(
        "top1", "top-1 accuracy", lambda p: float(p.hits.mean()),
        lambda p: _exact_interval(p.hits), mean_of_hits="images", in_keys=False,
    ),
    Metric(
        "top5", "top-5 accuracy", lambda p: float((p.rank <= 5).mean()),
        lambda p: _exact_interval(p.rank <= 5),
        frozenset({Need.SIX_CLASSES, Need.FIVE_PLACES}), in_keys=False,
    ),
    Metric(
        "mean_per_class", "mean per-class accuracy", _mean_per_class, _bootstrap_interval,
        mean_of_hits="classes", over_draws=_mean_per_class_over_draws, in_keys=False,
    ),
    Metric(
        "macro_f1", "macro F1", lambda p: macro_f1(p.predicted, p.truth), in_keys=False,
    ),
    Metric(
        "worst_group", "worst group’s accuracy", _worst_group, _worst_group_interval,
        frozenset({Need.GROUPS}), in_keys=False,
    ),
    Metric(
        "ece", "calibration error", lambda p: expected_calibration_error(p.confidence, p.hits),
        needs=frozenset({Need.PROBABILITIES}), higher_is_better=False, in_keys=False,
    ),
    Metric(
        "nll", "log loss", _log_loss, _log_loss_interval,
        frozenset({Need.POSITIVE_PROBABILITIES}), higher_is_better=False, unit="nats", digits=3,
        range=(0.0, np.inf), in_keys=False,
    ),
    Metric(
        "mean_group", "mean over groups left out", _mean_group, _mean_group_interval,
        frozenset({Need.HELD_OUT_GROUPS}), in_keys=False,
    ),
    _elsewhere("map", "mean average precision"),
    _elsewhere("micro_map", "micro-averaged mean average precision"),
    _elsewhere("recall_at_1", "recall@1"),
    _elsewhere("recall_at_5", "recall@5"),
    _elsewhere("recall_at_10", "recall@10"),
    _elsewhere("micro_f1", "micro F1"),
    _elsewhere("weighted_f1", "weighted F1"),
    _elsewhere("auroc", "area under the ROC curve"),
    _elsewhere("mean_iou", "mean intersection over union"),
    _elsewhere("error_rate", "error rate", higher_is_better=False),
)  # fmt: skip
"""In the order of a record's rows."""


def metric_named(name: str) -> Metric:
    """The metric of that name."""
    return {metric.name: metric for metric in METRICS}[name]


def ends_of(score: Mapping[str, Any]) -> dict[str, float | None]:
    """The ends of a record's interval, inside of its metric's range.

    Records hold what the formula gave: mean and error of a few surely told images can say that a
    log loss may be below 0. A transferability metric has no range.
    """
    ends = {end: score[end] for end in ("ci_low", "ci_high")}
    if score["metric"] in TRANSFERABILITY:
        return ends
    low, high = metric_named(score["metric"]).range
    return {name: None if end is None else min(max(end, low), high) for name, end in ends.items()}


def direction(name: str) -> int:
    """1 where higher is better, 0 where lower is, -1 where the transferability metric decides."""
    turned = dict(zip(TRANSFERABILITY, (-1, 1), strict=True))
    return turned[name] if name in turned else int(metric_named(name).higher_is_better)


def names_in_keys() -> list[str]:
    """Metrics that a record's key names: records without them are stale."""
    return [metric.name for metric in METRICS if metric.in_keys]


def correlated_names() -> list[str]:
    """What `correlation.metric` may be."""
    return [metric.name for metric in METRICS if metric.is_correlated]
