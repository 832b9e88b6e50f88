"""Correlation over models between any two score columns, with intervals over model families.

Columns are (variant, data set) pairs. Everything is vectorised over all pairs of columns, and
each pair uses the models that have both scores: missing cells are never imputed, and every
coefficient comes with its own n.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from pipeline.statistics.arrays import Floats, Mask, Words
from pipeline.statistics.fisher_z import least_errors, limits
from pipeline.statistics.jackknife import MIN_GROUPS, Jackknife, deletion_groups, members_of
from pipeline.statistics.kendall import all_pairs, pairs_with, tau_b

MIN_MODELS = 4
"""Below this, coefficients are withheld."""

MIN_FAMILIES = MIN_GROUPS
"""Below this, intervals leave out single models, and are marked."""

FEW_FAMILIES = 8
"""Below this, intervals are shown, but marked."""

COEFFICIENTS = ("pearson", "pearson_logit", "spearman", "kendall")


@dataclass(frozen=True)
class Correlations:
    """Coefficients of all pairs of columns.

    Attributes
    ----------
    value, low, high : ndarray of shape (n_coefficients, n_columns, n_columns)
        In the order of `COEFFICIENTS`; NaN where withheld.
    n : ndarray of shape (n_columns, n_columns), int
        Models with both scores.
    families : ndarray of shape (n_columns, n_columns), int
        Families among them.
    over_models : ndarray of shape (n_columns, n_columns), bool
        Where an interval leaves out single models, as families are too few.
    """

    value: Floats
    low: Floats
    high: Floats
    n: NDArray[np.int64]
    families: NDArray[np.int64]
    over_models: Mask


def correlate(scores: Floats, families: Words, n_test: Floats, confidence: float) -> Correlations:
    """All coefficients between all columns, with delete-one-family jackknife intervals.

    Parameters
    ----------
    scores : ndarray of shape (n_models, n_columns)
        Accuracies in [0, 1]; NaN where missing.
    families : ndarray of shape (n_models,)
        Models of one family are not independent: the jackknife leaves out whole families.
    n_test : ndarray of shape (n_columns,)
        Test images behind each column, for the empirical logit.
    confidence : float
        E.g. 0.95.
    """
    present = np.isfinite(scores)
    n = together(present)
    value = np.where(n < MIN_MODELS, np.nan, coefficients(scores, n_test))
    counts = families_together(present, families)
    low, high = _interval(scores, value, families, counts, n_test, confidence)
    over_models = (counts < MIN_FAMILIES) & (n >= MIN_GROUPS)
    if over_models.any():
        models = np.arange(len(scores)).astype(np.str_)
        ends = _interval(scores, value, models, n, n_test, confidence)
        low, high = (
            np.where(over_models, of_models, of_families)
            for of_models, of_families in zip(ends, (low, high), strict=True)
        )
    return Correlations(value, low, high, n, counts, over_models)


def together(present: Mask) -> NDArray[np.int64]:
    """How many models have both scores, shape (n_columns, n_columns)."""
    # Products of floats are many times faster than those of whole numbers, and exact.
    shared = present.T.astype(np.float64) @ present
    return shared.astype(np.int64)


def families_together(present: Mask, families: Words) -> NDArray[np.int64]:
    """How many families have a model with both scores, shape (n_columns, n_columns)."""
    count = np.zeros((present.shape[1],) * 2, np.int64)
    for members in members_of(families):
        count += together(present[members]) > 0
    return count


def _interval(
    scores: Floats,
    value: Floats,
    units: Words,
    counts: NDArray[np.int64],
    n_test: Floats,
    confidence: float,
) -> tuple[Floats, Floats]:
    """Delete-one-unit intervals; NaN where a pair of columns has fewer than five units."""
    if (counts < MIN_GROUPS).all():
        nothing = np.full(value.shape, np.nan)
        return nothing, nothing
    present = np.isfinite(scores)
    n = together(present)
    groups = deletion_groups(units)
    jackknife = Jackknife(value, confidence, limits(n))
    for members, without in zip(groups, leave_one_family_out(scores, groups, n_test), strict=True):
        gone = together(present[members])
        jackknife.leave_out(without, gone > 0, limits(n - gone))
    at = limits(n)
    ends = jackknife.interval(least_errors(np.clip(value, -at, at), n))
    low, high = (np.where(counts < MIN_GROUPS, np.nan, end) for end in ends)
    return low, high


def leave_one_family_out(scores: Floats, in_family: Mask, n_test: Floats) -> Iterator[Floats]:
    """`coefficients` without each family in turn.

    Kendall's sums over pairs of models lose a family's pairs instead of being made anew, so that
    a thousand families cost as much as a few.
    """
    whole, logit = all_pairs(scores), logits(scores, n_test)
    for members in in_family:
        concordance, untied = (
            all_of - part for all_of, part in zip(whole, pairs_with(scores, members), strict=True)
        )
        rest = ~members
        yield np.stack([*_products(scores[rest], logit[rest]), tau_b((concordance, untied))])


def coefficients(scores: Floats, n_test: Floats) -> Floats:
    """Pearson r on raw and on logit accuracy, Spearman ρ (average ranks), Kendall τ-b.

    Equal to `scipy.stats` on the models that both columns have.

    Returns
    -------
    ndarray of shape (4, n_columns, n_columns)
        In the order of `COEFFICIENTS`; NaN for a constant column or fewer than two models.
    """
    return np.stack([*_products(scores, logits(scores, n_test)), tau_b(all_pairs(scores))])


def logits(scores: Floats, n_test: Floats) -> Floats:
    """Empirical logit log((k + .5) / (n - k + .5)) of accuracies; NaN where n is.

    A logit is a float of about 16 digits, whoever computes it: of scores that differ in the sixth
    digit, ten digits of their differences are left. SciPy is given the same floats.
    """
    hits = scores * n_test
    return np.log((hits + 0.5) / (n_test - hits + 0.5))


def _products(scores: Floats, logit: Floats) -> tuple[Floats, Floats, Floats]:
    """The coefficients that are products of standardised columns."""
    return _pearson(scores), _pearson(logit), _spearman(scores)


def _pearson(scores: Floats) -> Floats:
    """Pearson r of every column with every column, over rows that both have."""
    return _of_standardised(scores, lambda values: values)


def _spearman(scores: Floats) -> Floats:
    """Spearman ρ: ranks are taken anew among the models that both columns have."""
    return _of_standardised(scores, lambda values: scipy.stats.rankdata(values, axis=0))


def _of_standardised(scores: Floats, transform: Callable[[Floats], Floats]) -> Floats:
    """Products of standardised columns, transformed among the rows that both columns have."""
    result = np.full((scores.shape[1],) * 2, np.nan)
    patterns = by_pattern(scores)
    for first, (pattern, columns) in enumerate(patterns):
        for other, partners in patterns[first:]:
            rows = pattern & other
            if rows.sum() < 2:
                continue
            x = _standardise(transform(scores[np.ix_(rows, columns)]))
            same = partners is columns
            y = x.copy("K") if same else _standardise(transform(scores[np.ix_(rows, partners)]))
            block = np.clip(x.T @ y, -1, 1)
            result[np.ix_(columns, partners)] = block
            result[np.ix_(partners, columns)] = block.T
    return result


def by_pattern(values: Floats) -> list[tuple[Mask, NDArray[np.int64]]]:
    """Columns grouped by which rows they have: complete tables are one group, empty ones none."""
    if not values.shape[1]:
        return []
    present = np.isfinite(values)
    bits = np.packbits(present, axis=0)  # in the order of the patterns, an eighth of the bytes
    _, first, group = np.unique(bits, axis=1, return_index=True, return_inverse=True)
    return [(present[:, at], np.flatnonzero(group.ravel() == g)) for g, at in enumerate(first)]


def _standardise(values: Floats) -> Floats:
    """Columns with mean 0 and length 1; NaN for constant ones."""
    centred = values - values.mean(axis=0)
    length = np.linalg.norm(centred, axis=0)
    noise = 1e-13 * np.linalg.norm(values, axis=0)
    length = np.where(length <= noise, np.nan, length)
    standardised: Floats = centred / length
    return standardised
