"""What few-shot episodes score over draws, and the table of their outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import special

from cache.records import repeated
from pipeline.heads.shot_classifiers import Labels
from pipeline.probes.episodes import Episodes
from pipeline.study import metrics
from pipeline.study.metric import Predictions
from pipeline.study.metrics import CONFIDENCE


def episode_rows(
    episodes: Episodes,
    val_labels: Labels,
    classes: Sequence[str],
    groups: NDArray[np.str_] | None = None,
    *,
    seed: int,
    backend: str = "numpy",
) -> list[dict[str, Any]]:
    """One row for each metric whose needs every draw meets; values are means over draws.

    The interval is Student's t over draws: how much the score depends on which images were
    labelled, for these test images. None for a single draw.

    Of a few classes at a time, a hit is the true class of the two (five, …) that the image was
    judged among; of coarse classes it is the true coarse one. Both keep the images' weights, so
    that all problems are compared on the same footing: top1 is the share of hits, and
    mean_per_class its mean over the data set's own classes, under which a constant guess of the
    largest coarse class scores the problem's chance. macro_f1 is that of the labels that are
    stored: of coarse classes these, and of a few at a time the data set's own over all tasks
    together, where an image can be taken only for a class of its own task.

    Parameters
    ----------
    episodes : Episodes
    val_labels : ndarray of shape (n_test,)
    classes : sequence of str
        Class names.
    groups : ndarray of shape (n_test,), optional
    seed : int
        Of the draws.
    backend : str
        Of the task; prototypes are NumPy's wherever the others are fitted.
    """
    problem, budget = episodes.problem, episodes.variant.budget
    assert budget is not None  # of few-shot variants
    told: dict[str, Any] = {
        "shots": budget.shots,
        "share": budget.share,
        "images": episodes.rows,
        "short_classes": [classes[label] for label in episodes.short],
        "classes": problem.n_classes,
        "chance": problem.chance,
        "episodes": episodes.details,
        "interval": "t over draws",
    }
    converged = [each["converged"] for each in episodes.details if "converged" in each]
    if converged:
        told["converged"] = all(converged)
    if problem.names:
        told["class_names"] = list(problem.names)
    draws = _draws(episodes, val_labels, groups)
    scored = [
        (metric, metric.of_draws(draws))
        for metric in metrics.METRICS
        if all(metric.needs <= draw.offers for draw in draws)
    ]
    return [
        {
            "variant": episodes.variant.name,
            "metric": metric.name,
            **_interval(values, metric.range),
            "n_train": round(float(np.mean(episodes.rows))),
            "n_test": len(val_labels),
            "seed": seed,
            "seconds": round(episodes.seconds, 4),
            "backend": "numpy" if episodes.variant.head == "prototypes" else backend,
            "details": {"draws": values.tolist(), **told},
        }
        for metric, values in scored
    ]


def episode_table(episodes: Sequence[Episodes]) -> pa.Table:
    """Per-image outcomes of all draws: variant, draw, sample, predicted, rank, log_probability.

    Of several times as many outcomes as another protocol's, the confidences are left out.
    """
    shapes = [e.predicted.shape for e in episodes]
    variants = repeated([e.variant.name for e in episodes], [d * n for d, n in shapes])
    columns: dict[str, list[NDArray[Any]]] = {
        "draw": [np.repeat(np.arange(d, dtype=np.int32), n) for d, n in shapes],
        "sample": [np.tile(np.arange(n, dtype=np.int32), d) for d, n in shapes],
        "predicted": [e.predicted.ravel().astype(np.int32) for e in episodes],
        "rank": [e.rank.ravel().astype(np.int32) for e in episodes],
        "log_probability": [e.log_probability.ravel() for e in episodes],
    }
    return pa.table({"variant": variants, **{k: np.concatenate(v) for k, v in columns.items()}})


def _draws(
    episodes: Episodes, labels: Labels, groups: NDArray[np.str_] | None
) -> list[Predictions]:
    """What each draw predicts of the test images."""
    return [
        Predictions(
            predicted.astype(np.int64),
            rank,
            log_probability,
            confidence,
            episodes.problem.truth[labels],
            labels,
            episodes.problem.n_classes,
            groups,
        )
        for predicted, rank, log_probability, confidence in zip(
            episodes.predicted,
            episodes.rank,
            episodes.log_probability,
            episodes.confidence,
            strict=True,
        )
    ]


def _interval(values: NDArray[np.float64], limits: tuple[float, float]) -> dict[str, float | None]:
    mean = float(values.mean())
    if len(values) < 2:
        return {"value": mean, "ci_low": None, "ci_high": None}
    quantile = float(special.stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2))
    half = quantile * float(values.std(ddof=1)) / len(values) ** 0.5
    low, high = limits
    return {"value": mean, "ci_low": max(low, mean - half), "ci_high": min(high, mean + half)}
