"""Images of planted classes and groups, for tests of the shortcut audit."""

from __future__ import annotations

import numpy as np
from made_images import MadeImages, evidence_of

CLASSES, GROUPS = 3, 4


def planted(rng, n, tint, follows=0.0):
    """Labels, groups and embeddings: a place for each class, moved by each group's own tint."""
    labels = rng.integers(0, CLASSES, n)
    groups = np.where(rng.random(n) < follows, labels, rng.integers(0, GROUPS, n))
    moved = tint * np.eye(GROUPS)[groups] @ rng.normal(size=(GROUPS, 6))
    return (
        labels,
        groups,
        np.eye(CLASSES)[labels] @ (4 * np.eye(CLASSES, 6)) + moved + rng.normal(size=(n, 6)),
    )


def grouped(labels, groups, features, left_out=None):
    """Evidence of one model whose train images have groups."""
    names = np.array(["", *"uvwxyz"])[np.asarray(groups) + 1]
    val = np.arange(CLASSES)
    images = MadeImages(
        ("a",), val, [val], train=(labels, {"a": features}), left_out=left_out,
        groups={"train": names, "val": [""] * CLASSES},
    )  # fmt: skip
    return evidence_of(images)
