"""Errors by class: how often each class is recognised, and what it is taken for."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from pipeline.statistics.evidence import Evidence
from pipeline.statistics.looked_at import Looked, listed, looked_at
from pipeline.statistics.shares import wilson

COMPARED = 2
"""Models whose classes stand beside each other."""

MOST_PAIRS = 500
"""Confused pairs of a data set that are listed."""


def class_accuracy(evidence: Evidence) -> xr.Dataset:
    """Accuracy on each class of the target, of the two most accurate models.

    Returns
    -------
    Dataset
        A row for each class with test images and model; variables dataset, variant, model, class,
        n, right, accuracy, low, high, taken_for (the wrong class that is said most often), taken.
    """
    looks = looked_at(evidence)
    if isinstance(looks, str):
        return listed([], withheld=looks)
    confidence = evidence.settings.confidence
    rows = [
        row
        for looked in looks
        for place in range(min(COMPARED, len(looked.models)))
        for row in _classes(looked, place, confidence)
    ]
    return listed(
        rows,
        definition="share of a class's test images that are recognised (recall), for the two "
        "models that recognise most of all images",
        interval=f"{confidence:.0%} Wilson interval of a share, for each class alone: of twenty "
        "classes, one is expected to lie outside",
        source="Wilson 1927; Brown, Cai & DasGupta 2001",
    )


def _classes(looked: Looked, place: int, confidence: float) -> list[dict[str, Any]]:
    size = len(looked.classes)
    total = np.bincount(looked.labels, minlength=size)
    right = np.bincount(looked.labels[looked.hits[place]], minlength=size)
    low, high = wilson(right, total, confidence)
    wrong = {true: (said, count) for true, said, count in reversed(pairs(looked, place))}
    rows = []
    for label in np.flatnonzero(total):
        said, taken = wrong.get(int(label), (None, 0))
        rows.append(
            {
                "dataset": looked.dataset,
                "variant": looked.variant,
                "model": looked.models[place],
                "class": looked.classes[label],
                "n": total[label],
                "right": right[label],
                "accuracy": right[label] / total[label],
                "low": low[label],
                "high": high[label],
                "taken_for": "" if said is None else looked.classes[said],
                "taken": taken,
            }
        )
    return rows


def confusions(evidence: Evidence) -> xr.Dataset:
    """Classes of the target that the best model takes for another, the most frequent pair first.

    Returns
    -------
    Dataset
        A row for each pair; variables dataset, model, true, predicted, count, n (test images of
        the true class), share (of these).
    """
    looks = looked_at(evidence)
    if isinstance(looks, str):
        return listed([], withheld=looks)
    rows = []
    for looked in looks:
        total = np.bincount(looked.labels, minlength=len(looked.classes))
        rows += [
            {
                "dataset": looked.dataset,
                "model": looked.models[0],
                "true": looked.classes[true],
                "predicted": looked.classes[said],
                "count": count,
                "n": total[true],
                "share": count / total[true],
            }
            for true, said, count in pairs(looked, 0)[:MOST_PAIRS]
        ]
    if not rows:
        return listed([], withheld=without_error(looks))
    return listed(
        rows,
        definition="test images of one class that the best model says are of another, and their "
        f"share of all test images of that class; at most {MOST_PAIRS} pairs of a data set",
    )


def pairs(looked: Looked, place: int) -> list[tuple[int, int, int]]:
    """True label, predicted label and how many images; most images first, then by label."""
    wrong = ~looked.hits[place]
    size = len(looked.classes)
    codes = looked.labels[wrong] * size + looked.predicted[place, wrong]
    found, counts = np.unique(codes, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [(int(c) // size, int(c) % size, int(n)) for c, n in zip(found[order], counts[order],
                                                                    strict=True)]  # fmt: skip


def without_error(looks: tuple[Looked, ...]) -> str:
    """The sentence on models that make no error."""
    return "; ".join(
        f"{looked.models[0]} makes no error on the {len(looked.labels):,} test images of "
        f"{looked.dataset}"
        for looked in looks
    )
