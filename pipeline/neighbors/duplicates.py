"""Checks of the data from stored neighbours: images in both splits, and doubtful labels."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.neighbors.leave_one_out import TWIN_SHARE

Matrix = NDArray[np.float64]
Indices = NDArray[np.integer]


def near_duplicates(
    distances: Matrix,
    indices: Indices,
    *,
    train_labels: NDArray[np.integer] | None = None,
    val_labels: NDArray[np.integer] | None = None,
    share: float = TWIN_SHARE,
) -> pd.DataFrame:
    """Pairs of a val image and a train image that lie almost at the same point.

    Parameters
    ----------
    distances, indices : ndarray of shape (n_val, n_neighbors)
        Of each val image's train neighbours, nearest first.
    train_labels : ndarray of shape (n_train,), optional
    val_labels : ndarray of shape (n_val,), optional
        With both, a column says whether the two images' labels agree.
    share : float
        A pair is a near-duplicate up to this share of the median, over val images, of the
        distance to the last stored neighbour (cosine distances are squares of lengths).

    Returns
    -------
    DataFrame
        val, train (row numbers), distance, and same_label where labels are given; nearest first.
    """
    rows, places = np.nonzero(distances <= share * np.median(distances[:, -1]))
    found = pd.DataFrame(
        {"val": rows, "train": indices[rows, places], "distance": distances[rows, places]}
    )
    if train_labels is not None and val_labels is not None:
        found["same_label"] = train_labels[found["train"]] == val_labels[found["val"]]
    return found.sort_values(["distance", "val", "train"], ignore_index=True)


def suspected_label_errors(
    indices: Indices,
    train_labels: NDArray[np.integer],
    *,
    k: int = 10,
    agreement: float = 0.8,
    rows: NDArray[np.integer] | None = None,
) -> pd.DataFrame:
    """Train images whose nearest other images agree on another class.

    The rule of Wilson's editing (1972), with a majority that must be clear.

    Parameters
    ----------
    indices : ndarray of shape (n_queries, n_neighbors)
        Leave-one-out neighbours, nearest first.
    train_labels : ndarray of shape (n_train,)
    k : int
        Neighbours that are asked.
    agreement : float
        Share of them that must name one and the same other class.
    rows : ndarray of shape (n_queries,), optional
        The train image that each query is; by default all, in order.

    Returns
    -------
    DataFrame
        image (row number), label, suggested, share (of the k neighbours that name the suggested
        class), own_share (that name the image's own); largest share first.
    """
    images = np.arange(len(indices)) if rows is None else np.asarray(rows)
    asked = min(k, indices.shape[1])
    named = np.sort(train_labels[indices[:, :asked]], axis=1)
    own = train_labels[images]
    suggested, votes = _most_named(named)
    suspect = (votes >= agreement * asked) & (suggested != own)
    table = pd.DataFrame(
        {
            "image": images,
            "label": own,
            "suggested": suggested,
            "share": votes / asked,
            "own_share": (named == own[:, np.newaxis]).mean(axis=1),
        }
    )
    found: pd.DataFrame = table.loc[suspect]
    return found.sort_values(
        ["share", "own_share", "image"], ascending=[False, True, True], ignore_index=True
    )


def _most_named(named: Indices) -> tuple[Indices, NDArray[np.int64]]:
    """The label that each sorted row names most often (the smallest of equals), and how often."""
    run = np.ones(named.shape, np.int64)
    for place in range(1, named.shape[1]):  # how long the run of equal labels is so far
        same = named[:, place] == named[:, place - 1]
        run[:, place] += same * run[:, place - 1]
    best = run.argmax(axis=1)
    each = np.arange(len(named))
    return named[each, best], run[each, best]
