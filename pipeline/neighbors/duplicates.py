"""Checks of the data from stored neighbours: images in both splits, and doubtful labels."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.neighbors.leave_one_out import TWIN_SHARE

Matrix = NDArray[np.float64]
Indices = NDArray[np.integer]


AGREEMENT, ASKED = 0.8, 10
"""Share of so many neighbours that must name one and the same other class."""


def near_duplicates(distances: Matrix, indices: Indices) -> pd.DataFrame:
    """Pairs of a val image and a train image that lie almost at the same point.

    A pair is a near-duplicate up to `TWIN_SHARE` of the median, over val images, of the distance to
    the last stored neighbour (cosine distances are squares of lengths).

    Parameters
    ----------
    distances, indices : ndarray of shape (n_val, n_neighbors)
        Of each val image's train neighbours, nearest first.

    Returns
    -------
    DataFrame
        val, train (row numbers).
    """
    rows, places = np.nonzero(distances <= TWIN_SHARE * np.median(distances[:, -1]))
    return pd.DataFrame({"val": rows, "train": indices[rows, places]})


def suspected_label_errors(
    indices: Indices, train_labels: NDArray[np.integer], images: NDArray[np.integer]
) -> pd.DataFrame:
    """Train images whose nearest other images agree on another class.

    The rule of Wilson's editing (1972), with a majority that must be clear.

    Parameters
    ----------
    indices : ndarray of shape (n_queries, n_neighbors)
        Leave-one-out neighbours, nearest first.
    train_labels : ndarray of shape (n_train,)
    images : ndarray of shape (n_queries,)
        The train image that each query is.

    Returns
    -------
    DataFrame
        image (row number), suggested (the class that its neighbours agree on).
    """
    named = np.sort(train_labels[indices[:, :ASKED]], axis=1)
    suggested, votes = _most_named(named)
    suspect = (votes >= AGREEMENT * named.shape[1]) & (suggested != train_labels[images])
    return pd.DataFrame({"image": images[suspect], "suggested": suggested[suspect]})


def _most_named(named: Indices) -> tuple[Indices, NDArray[np.int64]]:
    """The label that each sorted row names most often (the smallest of equals), and how often."""
    run = np.ones(named.shape, np.int64)
    for place in range(1, named.shape[1]):  # how long the run of equal labels is so far
        same = named[:, place] == named[:, place - 1]
        run[:, place] += same * run[:, place - 1]
    best = run.argmax(axis=1)
    each = np.arange(len(named))
    return named[each, best], run[each, best]
