"""The few kNN variants that are transferred: votes by a search of their own, none are stored."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.neighbors.banks import ArrayBank, Bank
from pipeline.neighbors.library_search import nearest_by
from pipeline.neighbors.votes import vote
from pipeline.probes.knn_variants import space_of, voting_of
from pipeline.study.variant import Variant


def neighbor_votes(
    variant: Variant,
    bank: Bank,
    labels: NDArray[np.int64],
    queries: NDArray[np.floating],
    n_classes: int,
    backend: str = "numpy",
) -> NDArray[np.float64]:
    """Class probabilities of shape (n_queries, n_classes).

    Parameters
    ----------
    variant : Variant
    bank : Bank
        Statistics for normalising come from all of it.
    labels : ndarray of shape (n_bank,)
        0 to n_classes - 1; rows with label -1 are nobody's neighbours.
    queries : ndarray of shape (n_queries, n_features)
    n_classes : int
    backend : {"numpy", "sklearn", "torch", "cuml"}
        That searches.
    """
    voting = voting_of(variant)
    found = nearest_by(
        backend, bank, ArrayBank(queries), voting.k, *space_of(variant), only=labels >= 0
    )
    return vote(
        found.distances,
        labels[found.indices],
        voting.k,
        voting.weighting,
        n_classes,
        temperature=voting.temperature,
    )
