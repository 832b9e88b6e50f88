"""k nearest neighbours on cached features: one search per metric, every k and weighting from it.

The study's protocol (arXiv 2407.12210): k = 20, Euclidean distance, votes weighted by 1/distance,
with and without z-scoring by the train split's statistics.
"""

from __future__ import annotations

import itertools
import time

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from pipeline.normalization import Features, unit_length, zscore
from pipeline.scoring import Outcome, make_outcome
from pipeline.study import Knn


def variant_names(settings: Knn) -> list[str]:
    """All variants that the settings ask for; the first is the protocol's headline."""
    return [
        f"k{k}_{metric}_{weighting}_{normalization}"
        for normalization, metric, weighting, k in itertools.product(
            settings.normalization, settings.metric, settings.weighting, settings.k
        )
    ]


def run_knn(
    settings: Knn,
    train: Features,
    train_labels: NDArray[np.int64],
    val: Features,
    val_labels: NDArray[np.int64],
    n_classes: int,
) -> list[Outcome]:
    """Judge every variant on the val split.

    Parameters
    ----------
    settings : Knn
    train, val : ndarray of shape (n_samples, n_features), float32
    train_labels, val_labels : ndarray of shape (n_samples,)
    n_classes : int
        Of the train split.
    """
    outcomes = []
    for normalization, metric in itertools.product(settings.normalization, settings.metric):
        start = time.perf_counter()
        bank, queries = zscore(train, val) if normalization == "zscore" else (train, val)
        distances, neighbors = search(bank, queries, max(settings.k), metric)
        searched = time.perf_counter() - start
        for weighting, k in itertools.product(settings.weighting, settings.k):
            start = time.perf_counter()
            probabilities = vote(
                distances[:, :k], train_labels[neighbors[:, :k]], n_classes, weighting
            )
            outcomes.append(
                make_outcome(
                    f"k{k}_{metric}_{weighting}_{normalization}",
                    probabilities,
                    val_labels,
                    seconds=searched + time.perf_counter() - start,
                    backend="sklearn",
                )
            )
    return outcomes


def search(
    bank: Features, queries: Features, k: int, metric: str
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The k nearest rows of `bank` for every query, nearest first, by exhaustive search.

    Parameters
    ----------
    bank : ndarray of shape (n_train, n_features)
    queries : ndarray of shape (n_queries, n_features)
    k : int
    metric : {"euclidean", "cosine"}
        Cosine distance is 1 - cosine similarity.

    Returns
    -------
    distances : ndarray of shape (n_queries, k)
    neighbors : ndarray of shape (n_queries, k)
        Rows of `bank`.
    """
    if metric == "cosine":
        bank, queries = unit_length(bank, queries)
    else:
        # Euclidean distance does not change, but |a|² + |b|² - 2ab loses its digits far from
        # the origin.
        mean = bank.mean(axis=0, dtype=np.float64).astype(np.float32)
        bank, queries = bank - mean, queries - mean
    index = NearestNeighbors(n_neighbors=k, algorithm="brute", metric="euclidean").fit(bank)
    distances, neighbors = index.kneighbors(queries)
    if metric == "cosine":  # on unit vectors, |a - b|² = 2 (1 - cos)
        distances = distances**2 / 2
    return distances.astype(np.float64), neighbors.astype(np.int64)


def vote(
    distances: NDArray[np.float64],
    neighbor_labels: NDArray[np.int64],
    n_classes: int,
    weighting: str,
) -> NDArray[np.float64]:
    """Class probabilities from the neighbours' votes.

    With weighting "distance" a neighbour counts 1/distance; where some distance is 0, only those
    exact matches vote (as in scikit-learn).

    Returns
    -------
    ndarray of shape (n_queries, n_classes)
        Rows sum to 1.
    """
    if weighting == "uniform":
        weights = np.ones_like(distances)
    else:
        exact = distances == 0
        with np.errstate(divide="ignore"):
            weights = np.where(exact.any(axis=1, keepdims=True), exact, 1.0 / distances)
    queries = len(distances)
    cells = neighbor_labels + np.arange(queries)[:, np.newaxis] * n_classes
    flat = np.bincount(cells.ravel(), weights.ravel(), queries * n_classes)
    votes = flat.reshape(queries, n_classes)
    shares: NDArray[np.float64] = votes / votes.sum(axis=1, keepdims=True)
    return shares
