"""Test images that are not recognised: by the best model, and by every model."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.statistics.arrays import Mask
from pipeline.statistics.class_errors import without_error
from pipeline.statistics.evidence import Evidence
from pipeline.statistics.looked_at import Looked, looked_at
from pipeline.statistics.table import listed
from pipeline.statistics.trained import left_out

MOST_IMAGES = 200
"""Listed of a data set."""

NEAREST = 3
"""Train images beside a wrong one."""

UNKNOWN = -1
"""Row of train where there is no such neighbour."""


def wrong_images(evidence: Evidence) -> xr.Dataset:
    """Test images of the target that the best model gets wrong, the surest errors first.

    Returns
    -------
    Dataset
        A row for each image; variables dataset, model, sample (row of val), true, predicted,
        confidence, others_right and others (further models, and how many of them are right),
        errors (in all), n (test images), nearest_1 … (rows of train, -1 where not known).
    """
    looks = looked_at(evidence)
    if isinstance(looks, str):
        return listed([], withheld=looks)
    reasons: list[str] = []
    rows = [row for looked in looks for row in _wrong(evidence, looked, reasons)]
    if not rows:
        return listed([], withheld=without_error(looks))
    said = {"neighbours": "; ".join(reasons)} if reasons else {}
    return listed(
        rows,
        definition="test images that the best model gets wrong: those first of whose wrong class "
        "it is surest, or where its probe gives no probabilities, those that most other models "
        f"get right; then by digest. At most {MOST_IMAGES} of a data set; nearest are rows of "
        "train, by the stored neighbours",
        **said,
    )


def _wrong(evidence: Evidence, looked: Looked, reasons: list[str]) -> list[dict[str, Any]]:
    wrong = np.flatnonzero(~looked.hits[0])
    sure = np.nan_to_num(looked.confidence[0, wrong], nan=0.0)
    others = np.count_nonzero(looked.hits[1:, wrong], axis=0)
    chosen = wrong[np.lexsort((looked.digests[wrong], -others, -sure))][:MOST_IMAGES]
    near = _nearest(evidence, looked, looked.samples[chosen], reasons)
    return [
        {
            "dataset": looked.dataset,
            "model": looked.models[0],
            "sample": looked.samples[at],
            "true": looked.classes[looked.labels[at]],
            "predicted": looked.classes[looked.predicted[0, at]],
            "confidence": looked.confidence[0, at],
            "others_right": np.count_nonzero(looked.hits[1:, at]),
            "others": len(looked.models) - 1,
            "errors": len(wrong),
            "n": len(looked.labels),
        }
        | {f"nearest_{number + 1}": rows[number] for number in range(NEAREST)}
        for at, rows in zip(chosen, near, strict=True)
    ]


def _nearest(
    evidence: Evidence, looked: Looked, samples: NDArray[np.int64], reasons: list[str]
) -> NDArray[np.int64]:
    """Rows of train, shape (n_samples, NEAREST)."""
    found = np.full((len(samples), NEAREST), UNKNOWN)
    if not len(samples):
        return found
    stored = evidence.images.nearest(looked.dataset, looked.models[0], "val", NEAREST)
    if isinstance(stored, str):
        reasons.append(f"{looked.dataset}: {stored}")
        return found
    order = np.argsort(stored.samples)
    at = order[np.searchsorted(stored.samples[order], samples)]
    found[:, : stored.indices.shape[1]] = stored.indices[at]
    return found


def shared_errors(evidence: Evidence) -> xr.Dataset:
    """Test images of the target that no trained model gets right; doubtful labels first.

    Returns
    -------
    Dataset
        A row for each image; variables dataset, sample (row of val), true, agreed (the class that
        most models say), agree (how many do), models, unanimous (1 where all do), images (how many
        no model gets right), n (test images).
    """
    looks = looked_at(evidence)
    if isinstance(looks, str):
        return listed([], withheld=looks)
    trained = np.array(evidence.models)[~left_out(evidence).mask]
    rows, reasons = [], []
    for looked in looks:
        asked = np.isin(looked.models, trained)
        if np.count_nonzero(asked) < 2:
            reasons.append(f"{looked.dataset}: it takes two trained models with outcomes")
            continue
        shared = _shared(looked, asked)
        rows += shared
        if not shared:
            reasons.append(
                f"every test image of {looked.dataset} is recognised by one of its "
                f"{np.count_nonzero(asked)} trained models"
            )
    if not rows:
        return listed([], withheld="; ".join(reasons))
    return listed(
        rows,
        definition="test images that none of the trained models gets right; first those of which "
        "most models say the same other class: if all do, the label may be wrong. "
        f"At most {MOST_IMAGES} of a data set",
        **({"withheld": "; ".join(reasons)} if reasons else {}),
    )


def _shared(looked: Looked, asked: Mask) -> list[dict[str, Any]]:
    missed = np.flatnonzero(~looked.hits[asked].any(axis=0))
    predicted = looked.predicted[asked]
    answers = [np.unique(predicted[:, at], return_counts=True) for at in missed]
    agreed = np.array([said[np.argmax(counts)] for said, counts in answers], np.int64)
    agree = np.array([counts.max() for _, counts in answers], np.int64)
    order = np.lexsort((looked.digests[missed], -agree))[:MOST_IMAGES]
    return [
        {
            "dataset": looked.dataset,
            "sample": looked.samples[missed[at]],
            "true": looked.classes[looked.labels[missed[at]]],
            "agreed": looked.classes[agreed[at]],
            "agree": agree[at],
            "models": len(predicted),
            "unanimous": agree[at] == len(predicted),
            "images": len(missed),
            "n": len(looked.labels),
        }
        for at in order
    ]
