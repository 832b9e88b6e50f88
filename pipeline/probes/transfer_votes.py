"""The few kNN variants that are transferred: votes by a search of their own, none are stored."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pipeline.heads.slabs import slabs
from pipeline.neighbors.banks import ArrayBank, Bank
from pipeline.neighbors.library_search import nearest_by
from pipeline.neighbors.votes import vote
from pipeline.probes.knn_variants import space_of, voting_of
from pipeline.probes.needs import SEARCH
from pipeline.study.variant import Variant


def neighbor_votes(
    variant: Variant,
    bank: Bank,
    labels: NDArray[np.int64],
    queries: Bank,
    n_classes: int,
    backend: str = "numpy",
) -> Iterator[NDArray[np.float64]]:
    """Class probabilities of shape (n_some, n_classes), a slab of queries at a time.

    Parameters
    ----------
    variant : Variant
    bank : Bank
        Statistics for normalising come from all of it.
    labels : ndarray of shape (n_bank,)
        0 to n_classes - 1; rows with label -1 are nobody's neighbours.
    queries : Bank
    n_classes : int
    backend : {"numpy", "sklearn", "torch", "cuml"}
        That searches.
    """
    voting = voting_of(variant)
    # Of queries that are read in parts, groups are searched one after the other.
    memory = None if isinstance(queries, ArrayBank) else SEARCH
    found = nearest_by(
        backend, bank, queries, voting.k, *space_of(variant), only=labels >= 0, memory=memory
    )
    for rows in slabs(queries.rows, n_classes):
        yield vote(found.distances[rows], labels[found.indices[rows]], voting, n_classes)
