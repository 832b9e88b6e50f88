"""Correlation over models between any two score columns, with intervals over model families.

Columns are (variant, data set) pairs. Everything is vectorised over all pairs of columns, and
each pair uses the models that have both scores: missing cells are never imputed, and every
coefficient comes with its own n.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

MIN_MODELS = 4
"""Below this, coefficients are withheld."""

MIN_FAMILIES = 5
"""Below this, intervals are withheld."""

FEW_FAMILIES = 8
"""Below this, intervals are shown, but marked."""

MOST_GROUPS = 100
"""Of more families, several are left out together."""

ALMOST_ONE = 1 - 1e-6
"""Correlations are clipped here before their atanh is taken."""

Floats = NDArray[np.float64]
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
    """

    value: Floats
    low: Floats
    high: Floats
    n: NDArray[np.int64]
    families: NDArray[np.int64]


def correlate(
    scores: Floats, families: NDArray[np.str_], n_test: Floats, confidence: float
) -> Correlations:
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
    n = present.T.astype(np.int64) @ present
    too_few = n < MIN_MODELS
    value = _withhold(coefficients(scores, n_test), too_few)
    counts = np.zeros_like(n)
    for members in family_members(families):
        counts += present[members].T.astype(int) @ present[members] > 0
    groups = deletion_groups(families)
    jackknife = Jackknife(value, confidence)
    for members, without in zip(groups, leave_one_family_out(scores, groups, n_test), strict=True):
        used = present[members].T.astype(int) @ present[members] > 0
        jackknife.leave_out(without, used)
    low, high = (_withhold(v, counts < MIN_FAMILIES) for v in jackknife.interval())
    return Correlations(value, low, high, n, counts)


def family_members(families: NDArray[np.str_]) -> NDArray[np.bool_]:
    """Which models belong to each family, families in alphabetical order.

    Returns
    -------
    ndarray of bool, shape (n_families, n_models)
    """
    names = sorted(set(families.tolist()))
    return np.array([[f == name for f in families] for name in names])


def deletion_groups(families: NDArray[np.str_]) -> NDArray[np.bool_]:
    """Which models are left out together: a family, or of more than 100 families a hundredth.

    Groups of whole families serve a jackknife as well as families do, once there are many (Kott
    2001, "The delete-a-group jackknife"); a thousand families then cost no more than a hundred.

    Returns
    -------
    ndarray of bool, shape (n_groups, n_models)
    """
    members = family_members(families)
    if len(members) <= MOST_GROUPS:
        return members
    order = np.random.default_rng(0).permutation(len(members))  # names may tell of likeness
    return np.stack([members[order[g::MOST_GROUPS]].any(axis=0) for g in range(MOST_GROUPS)])


def leave_one_family_out(
    scores: Floats, in_family: NDArray[np.bool_], n_test: Floats
) -> Iterator[Floats]:
    """`coefficients` without each family in turn.

    Kendall's sums over pairs of models lose a family's pairs instead of being made anew, so that
    a thousand families cost as much as a few.
    """
    everything = _pair_sums(scores, np.ones(len(scores), dtype=bool))
    for members in in_family:
        rest = scores[~members]
        concordance, untied = (
            whole - part
            for whole, part in zip(everything, _pair_sums(scores, members), strict=True)
        )
        yield np.stack([*_products(rest, n_test), _tau(concordance, untied)])


def coefficients(scores: Floats, n_test: Floats) -> Floats:
    """Pearson r on raw and on logit accuracy, Spearman ρ (average ranks), Kendall τ-b.

    Equal to `scipy.stats` on the models that both columns have.

    Returns
    -------
    ndarray of shape (4, n_columns, n_columns)
        In the order of `COEFFICIENTS`; NaN for a constant column or fewer than two models.
    """
    everybody = np.ones(len(scores), dtype=bool)
    return np.stack([*_products(scores, n_test), _tau(*_pair_sums(scores, everybody))])


def logits(scores: Floats, n_test: Floats) -> Floats:
    """Empirical logit log((k + .5) / (n - k + .5)) of accuracies; NaN where n is.

    A logit is a float of about 16 digits, whoever computes it: of scores that differ in the sixth
    digit, ten digits of their differences are left. SciPy is given the same floats.
    """
    hits = scores * n_test
    return np.log((hits + 0.5) / (n_test - hits + 0.5))


class Jackknife:
    """Delete-one-group jackknife on the atanh scale, Student's t with G - 1 degrees of freedom.

    Keeps two sums, not the groups' values: memory does not grow with the number of groups.

    Parameters
    ----------
    value : ndarray of shape (...)
        Correlations over all groups.
    confidence : float

    References
    ----------
    Efron & Stein 1981, "The jackknife estimate of variance"; the coverage of this interval under
    family dependence was simulated for this project (docs/statistics.md).
    """

    def __init__(self, value: Floats, confidence: float) -> None:
        self._z = _arctanh(value)
        self._confidence = confidence
        self._groups = np.zeros(value.shape, dtype=np.int64)
        self._sum = np.zeros(value.shape)
        self._squares = np.zeros(value.shape)

    def leave_out(self, without: Floats, used: NDArray[np.bool_] | bool = True) -> None:
        """Count one more group.

        Parameters
        ----------
        without : ndarray of shape (...)
            The same correlations without this group.
        used : ndarray of bool, broadcast against `without`
            Where the group took part at all; elsewhere it is not counted.
        """
        # Differences from the whole are small, so that sums of squares lose no digits; a NaN of a
        # group that counts stays one, rightly.
        step = np.where(used, _arctanh(without) - self._z, 0.0)
        self._groups += used
        self._sum += step
        self._squares += np.square(step)

    def interval(self) -> tuple[Floats, Floats]:
        """Lower and upper ends; NaN below two groups."""
        groups = self._groups
        with np.errstate(invalid="ignore", divide="ignore"):
            spread = np.maximum(self._squares - np.square(self._sum) / groups, 0)
            error = np.sqrt((groups - 1) / groups * spread)
            quantile = stats.t.ppf(0.5 + self._confidence / 2, np.maximum(groups - 1, 1))
            half = np.where(groups < 2, np.nan, quantile * error)
            return np.tanh(self._z - half), np.tanh(self._z + half)


def _arctanh(values: Floats) -> Floats:
    z: Floats = np.arctanh(np.clip(values, -ALMOST_ONE, ALMOST_ONE))
    return z


def _products(scores: Floats, n_test: Floats) -> tuple[Floats, Floats, Floats]:
    """The coefficients that are products of standardised columns."""
    logit = logits(scores, n_test)
    return _pearson(scores), _pearson(logit), _spearman(scores)


def _withhold(values: Floats, where: NDArray[np.bool_]) -> Floats:
    return np.where(where, np.nan, values)


def _pearson(scores: Floats) -> Floats:
    """Pearson r of every column with every column, over rows that both have."""
    return _of_standardised(scores, lambda values: values)


def _spearman(scores: Floats) -> Floats:
    """Spearman ρ: ranks are taken anew among the models that both columns have."""
    return _of_standardised(scores, lambda values: stats.rankdata(values, axis=0))


def _of_standardised(scores: Floats, transform: Callable[[Floats], Floats]) -> Floats:
    """Products of standardised columns, transformed among the rows that both columns have."""
    result = np.full((scores.shape[1],) * 2, np.nan)
    patterns = by_pattern(scores)
    for first, (pattern, columns) in enumerate(patterns):
        for other, partners in patterns[first:]:
            rows = pattern & other
            if rows.sum() < 2:
                continue
            x, y = (_standardise(transform(scores[np.ix_(rows, c)])) for c in (columns, partners))
            block = np.clip(x.T @ y, -1, 1)
            result[np.ix_(columns, partners)] = block
            result[np.ix_(partners, columns)] = block.T
    return result


def _pair_sums(scores: Floats, members: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Kendall's sums over all pairs of models with at least one of `members`.

    Returns
    -------
    concordance : ndarray of shape (n_columns, n_columns)
        Pairs ordered alike less pairs ordered otherwise; exact, of whole numbers.
    untied : ndarray of shape (n_columns, n_columns)
        Pairs that the row's column does not tie, of those that both columns have.
    """
    columns = scores.shape[1]
    concordance, untied = np.zeros((columns, columns)), np.zeros((columns, columns))
    for model in np.flatnonzero(members):
        signs = np.sign(scores[model] - scores)
        weight = np.where(members, 0.5, 1.0)[:, np.newaxis]  # pairs of two members come twice
        both = np.isfinite(signs).astype(np.float64)
        signs = np.nan_to_num(signs)
        concordance += signs.T @ (weight * signs)
        untied += np.square(signs).T @ (weight * both)
    return concordance, untied


def _tau(concordance: Floats, untied: Floats) -> Floats:
    """Kendall's τ-b (1945)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.clip(concordance / np.sqrt(untied * untied.T), -1, 1)


def by_pattern(values: Floats) -> list[tuple[NDArray[np.bool_], NDArray[np.int64]]]:
    """Columns grouped by which rows they have: complete tables are one group, empty ones none."""
    if not values.shape[1]:
        return []
    patterns, group = np.unique(np.isfinite(values), axis=1, return_inverse=True)
    return [(patterns[:, g], np.flatnonzero(group.ravel() == g)) for g in range(patterns.shape[1])]


def _standardise(values: Floats) -> Floats:
    """Columns with mean 0 and length 1; NaN for constant ones."""
    centred = values - values.mean(axis=0)
    length = np.linalg.norm(centred, axis=0)
    noise = 1e-13 * np.linalg.norm(values, axis=0)
    length = np.where(length <= noise, np.nan, length)
    standardised: Floats = centred / length
    return standardised
