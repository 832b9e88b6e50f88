"""Kendall's sums over pairs of models: counts, which float32 holds exactly up to 16 million."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.statistics.arrays import Floats, Mask

Sums = tuple[Floats, Floats]
"""Of each two columns: pairs of models ordered alike less pairs ordered otherwise; pairs that the
row's column does not tie, of those that both columns have. Shape (n_columns, n_columns) each."""


def all_pairs(scores: Floats) -> Sums:
    """Sums over all pairs of models.

    Parameters
    ----------
    scores : ndarray of shape (n_models, n_columns)
        NaN where missing.
    """
    everybody = np.ones(len(scores), dtype=bool)
    concordance, untied = _sums(scores, everybody, everybody)
    return concordance / 2, untied / 2  # each pair came twice


def pairs_with(scores: Floats, members: Mask) -> Sums:
    """Sums over all pairs of models with at least one of `members`."""
    with_any = _sums(scores, members, np.ones(len(scores), dtype=bool))
    of_two = _sums(scores, members, members)  # came twice
    concordance, untied = (some - twice / 2 for some, twice in zip(with_any, of_two, strict=True))
    return concordance, untied


def tau_b(sums: Sums) -> Floats:
    """Kendall's τ-b (1945); NaN for a constant column or fewer than two models."""
    concordance, untied = sums
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.clip(concordance / np.sqrt(untied * untied.T), -1, 1)


def counted_together(first: Mask, second: Mask) -> NDArray[np.float32]:
    """How many models are in a column of the one and a column of the other.

    Parameters
    ----------
    first, second : ndarray of bool, shape (n_models, n_first) and (n_models, n_second)

    Returns
    -------
    ndarray of shape (n_first, n_second)
    """
    if second.all():
        counts = np.count_nonzero(first, axis=0).astype(np.float32)
        return np.broadcast_to(counts[:, np.newaxis], (first.shape[1], second.shape[1]))
    counted: NDArray[np.float32] = first.T.astype(np.float32)
    return counted @ second.astype(np.float32)


def _sums(scores: Floats, models: Mask, others: Mask) -> Sums:
    """Over ordered pairs of one of the models and one of the others."""
    columns = scores.shape[1]
    concordance, untied = np.zeros((columns, columns)), np.zeros((columns, columns))
    among = scores[others]
    there = np.isfinite(among)
    for mine in scores[models]:
        above = among > mine
        differs = above | (among < mine)
        signs = np.where(above, np.float32(-1), differs.astype(np.float32))
        concordance += signs.T @ signs
        untied += counted_together(differs, there & np.isfinite(mine))
    return concordance, untied
