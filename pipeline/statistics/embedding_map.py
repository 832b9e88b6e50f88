"""Where the best model places the target's test images: its embeddings, seen from two sides."""

from __future__ import annotations

import numpy as np
import xarray as xr

from pipeline.statistics.arrays import Floats
from pipeline.statistics.evidence import Evidence
from pipeline.statistics.looked_at import looked_at
from pipeline.statistics.table import listed

MOST_IMAGES = 1_500
"""On the map: those with the smallest digests, the same ones for every model."""


def embedding_map(evidence: Evidence) -> xr.Dataset:
    """The two directions in which the best model's embeddings of the target differ most.

    Returns
    -------
    Dataset
        A row for each image; variables dataset, model, sample (row of val), x, y, share_x and
        share_y (of the variance), true, predicted, right, n (test images).
    """
    looks = looked_at(evidence)
    if isinstance(looks, str):
        return listed([], withheld=looks)
    rows, reasons = [], []
    for looked in looks:
        shown = np.sort(np.argsort(looked.digests, kind="stable")[:MOST_IMAGES])
        features = evidence.images.embeddings(
            looked.dataset, looked.models[0], looked.samples[shown]
        )
        if isinstance(features, str):
            reasons.append(features)
            continue
        if len(shown) < 3:
            reasons.append(f"{looked.dataset}: {len(shown)} test images are no map")
            continue
        places, shares = principal_plane(features.astype(np.float64))
        rows += [
            {
                "dataset": looked.dataset,
                "model": looked.models[0],
                "sample": looked.samples[at],
                "x": x,
                "y": y,
                "share_x": shares[0],
                "share_y": shares[1],
                "true": looked.classes[looked.labels[at]],
                "predicted": looked.classes[looked.predicted[0, at]],
                "right": looked.hits[0, at],
                "n": len(looked.labels),
            }
            for at, (x, y) in zip(shown, places, strict=True)
        ]
    if not rows:
        return listed([], withheld="; ".join(reasons))
    return listed(
        rows,
        definition="the first two principal components of the best model's embeddings of test "
        f"images, at most {MOST_IMAGES:,} by digest; share is that of the variance",
        source="Pearson 1901 (principal components)",
    )


def principal_plane(features: Floats) -> tuple[Floats, Floats]:
    """The first two principal components, each turned so that its largest weight is positive.

    Parameters
    ----------
    features : ndarray of shape (n, d)

    Returns
    -------
    places : ndarray of shape (n, 2)
    shares : ndarray of shape (2,)
        Of the variance; 0 where there is none.
    """
    centred = features - features.mean(axis=0)
    left, spread, right = np.linalg.svd(centred, full_matrices=False)
    kept = min(2, len(spread))
    turned = np.sign(right[np.arange(kept), np.abs(right[:kept]).argmax(axis=1)])
    places, shares = np.zeros((len(features), 2)), np.zeros(2)
    places[:, :kept] = left[:, :kept] * spread[:kept] * turned
    total = np.square(spread).sum()
    if total > 0:
        shares[:kept] = np.square(spread[:kept]) / total
    return places, shares
