"""The few kNN variants that are transferred: votes by a search of their own, none are stored."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.nearest.banks import ArrayBank, Bank
from pipeline.nearest.library_search import nearest_by
from pipeline.nearest.votes import vote
from pipeline.probes.knn_variants import PRESETS, Variant, variants
from pipeline.study import Study


def transferred_variants(study: Study) -> list[Variant]:
    """The presets that the study asks for; without one, the first combination of the grid."""
    presets = sum(len(PRESETS[name]) for name in study.knn.presets)
    return variants(study)[: presets or 1]


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
    voting = variant.voting
    found = nearest_by(
        backend, bank, ArrayBank(queries), voting.k, *variant.space, only=labels >= 0
    )
    return vote(
        found.distances,
        labels[found.indices],
        voting.k,
        voting.weighting,
        n_classes,
        temperature=voting.temperature,
    )
