"""What few-shot episodes score over draws, and the table of their outcomes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import stats

from pipeline.classifiers.shot_classifiers import Labels
from pipeline.probes.episodes import BACKEND, Episodes
from pipeline.probes.scoring import CONFIDENCE, expected_calibration_error, macro_f1


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
    return [
        {
            "variant": episodes.variant.name,
            "metric": metric,
            **_interval(values, np.inf if metric == "nll" else 1.0),
            "n_train": round(float(np.mean(episodes.rows))),
            "n_test": len(val_labels),
            "seed": seed,
            "seconds": round(episodes.seconds, 4),
            "backend": BACKEND,
            "details": {"draws": values.tolist(), **told},
        }
        for metric, values in _metrics(episodes, val_labels, groups)
    ]


def episode_table(episodes: Sequence[Episodes]) -> pa.Table:
    """Per-image outcomes of all draws: variant, draw, sample, predicted, rank, log_probability.

    Of several times as many outcomes as another protocol's, the confidences are left out.
    """
    shapes = [e.predicted.shape for e in episodes]
    variants = pa.DictionaryArray.from_arrays(
        pa.array(np.repeat(np.arange(len(episodes)), [d * n for d, n in shapes]), pa.int32()),
        pa.array([e.variant.name for e in episodes]),
    )
    columns: dict[str, list[NDArray[Any]]] = {
        "draw": [np.repeat(np.arange(d, dtype=np.int32), n) for d, n in shapes],
        "sample": [np.tile(np.arange(n, dtype=np.int32), d) for d, n in shapes],
        "predicted": [e.predicted.ravel().astype(np.int32) for e in episodes],
        "rank": [e.rank.ravel().astype(np.int32) for e in episodes],
        "log_probability": [e.log_probability.ravel() for e in episodes],
    }
    return pa.table({"variant": variants, **{k: np.concatenate(v) for k, v in columns.items()}})


def _metrics(
    episodes: Episodes, labels: Labels, groups: NDArray[np.str_] | None
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Name and one value a draw of each metric that `pipeline.probes.scoring.score_rows` has."""
    hits = episodes.rank == 1
    yield "top1", hits.mean(axis=1)
    if episodes.problem.n_classes > 5:
        yield "top5", (episodes.rank <= 5).mean(axis=1)
    counts = np.bincount(labels)
    yield "mean_per_class", hits @ (1 / counts[labels] / np.count_nonzero(counts))
    truth = episodes.problem.truth[labels]
    yield "macro_f1", np.array([macro_f1(p, truth) for p in episodes.predicted.astype(np.int64)])
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
