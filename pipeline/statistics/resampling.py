"""Bootstrap over models or whole families: correlations of all resamples at once.

A resample is a row of weights: how often each model was drawn. Weighted mid-ranks and weighted
products then equal those of the resample written out, without writing it out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np

from pipeline.statistics.arrays import Floats, Places, Words
from pipeline.statistics.correlation import by_pattern

Kind = Literal["pearson", "spearman"]
Resampled = Callable[[Floats], Floats]
"""From resamples' weights to something of each of them."""

REPLICATES = 10_000

_FEW_MODELS = 100
"""Up to these, ranks are a matrix product; beyond, sorting is quicker."""

_ELEMENTS = 500_000
"""Numbers in one block of centred columns: 4 MB, which stay near the processor."""


def model_weights(models: int, replicates: int, rng: np.random.Generator) -> Floats:
    """How often each model comes in each resample of models, shape (replicates, models)."""
    counts: Floats = rng.multinomial(models, np.full(models, 1 / models), replicates).astype(float)
    return counts


def family_weights(families: Words, replicates: int, rng: np.random.Generator) -> Floats:
    """The same where whole families are drawn; resamples then differ in their number of models."""
    of_model = np.unique(families, return_inverse=True)[1]
    groups = int(of_model.max()) + 1
    drawn = rng.multinomial(groups, np.full(groups, 1 / groups), replicates)
    counts: Floats = drawn[:, of_model].astype(float)
    return counts


def blocks(weights: Floats, columns: int, coefficients: int) -> Iterator[slice]:
    """Ranges of resamples whose centred columns and coefficients stay near the processor."""
    step = max(1, _ELEMENTS // max(weights.shape[1] * columns, coefficients, 1))
    for start in range(0, len(weights), step):
        yield slice(start, start + step)


def resampled_correlations(
    x: Floats, y: Floats, weights: Floats, kind: Kind
) -> Iterator[tuple[slice, Floats]]:
    """Correlation of every column of `x` with every column of `y` in every resample.

    Parameters
    ----------
    x, y : ndarray of shape (n_models, n_x) and (n_models, n_y)
        NaN where missing; a pair of columns uses the models that have both.
    weights : ndarray of shape (n_resamples, n_models)
        See `model_weights`.
    kind : str
        Of ``spearman``, ranks are taken anew in each resample, ties averaged.

    Yields
    ------
    slice
        Some of the resamples.
    ndarray of shape (n_some, n_x, n_y)
        NaN where a resample makes a column constant.
    """
    parts = [
        (rows, mine, theirs, _centring(x[np.ix_(rows, mine)], kind),
         _centring(y[np.ix_(rows, theirs)], kind))
        for pattern, mine in by_pattern(x)
        for other, theirs in by_pattern(y)
        if (rows := np.flatnonzero(pattern & other)).size > 1
    ]  # fmt: skip
    for block in blocks(weights, x.shape[1] + y.shape[1], x.shape[1] * y.shape[1]):
        found = np.full((len(weights[block]), x.shape[1], y.shape[1]), np.nan)
        for rows, mine, theirs, *centring in parts:
            drawn = weights[block, rows]
            a, b = (centred(drawn) for centred in centring)
            lengths = [np.sqrt(np.einsum("bcn,bcn->bc", v, v)) for v in (a, b)]
            for length in lengths:
                length[length == 0] = np.nan
            product = a @ np.swapaxes(b, 1, 2)
            product /= lengths[0][:, :, np.newaxis]
            product /= lengths[1][:, np.newaxis]
            found[np.ix_(np.arange(len(found)), mine, theirs)] = np.clip(product, -1, 1)
        yield block, found


def resampled_pairs(
    x: Floats, y: Floats, pairs: Places, weights: Floats
) -> Iterator[tuple[slice, Floats]]:
    """Spearman's ρ of some pairs of columns in every resample.

    Of many columns `x` that each go with one of `y` alone, `resampled_correlations` would make all
    other pairs, too.

    Parameters
    ----------
    x, y : ndarray of shape (n_models, n_x) and (n_models, n_y)
        NaN where missing.
    pairs : ndarray of shape (n_pairs, 2)
        A column of `x` and one of `y`.
    weights : ndarray of shape (n_resamples, n_models)

    Yields
    ------
    slice
        Some of the resamples.
    ndarray of shape (n_some, n_pairs)
        NaN where a resample makes a column constant.
    """
    shared = np.isfinite(x)[:, pairs[:, 0]] & np.isfinite(y)[:, pairs[:, 1]]
    patterns, kind = np.unique(shared, axis=1, return_inverse=True)
    parts = []
    for g, pattern in enumerate(patterns.T):
        mine, rows = np.flatnonzero(kind.ravel() == g), np.flatnonzero(pattern)
        if rows.size < 2:
            continue
        columns = [np.unique(side, return_inverse=True) for side in pairs[mine].T]
        centring = [
            _centred_ranks(values[np.ix_(rows, used)])
            for values, (used, _) in zip((x, y), columns, strict=True)
        ]
        parts.append((mine, rows, centring, [place.ravel() for _, place in columns]))
    for block in blocks(weights, len(pairs), len(pairs)):
        found = np.full((len(weights[block]), len(pairs)), np.nan)
        for mine, rows, centring, places in parts:
            drawn = weights[block, rows]
            a, b = (of(drawn) for of in centring)
            lengths = [np.sqrt(np.einsum("bcn,bcn->bc", v, v)) for v in (a, b)]
            for length in lengths:
                length[length == 0] = np.nan
            product = np.einsum("bpn,bpn->bp", a[:, places[0]], b[:, places[1]])
            product /= lengths[0][:, places[0]]
            product /= lengths[1][:, places[1]]
            found[:, mine] = np.clip(product, -1, 1)
        yield block, found


def resampled_tau(scores: Floats, weights: Floats) -> Iterator[tuple[slice, Floats]]:
    """Kendall's τ-b between all columns in every resample.

    Parameters
    ----------
    scores : ndarray of shape (n_models, n)
    weights : ndarray of shape (n_resamples, n_models)
        Whole numbers; copies of a model are tied with each other.

    Yields
    ------
    slice
        Some of the resamples.
    ndarray of shape (n_some, n, n)
    """
    first, second = np.triu_indices(len(scores), 1)
    # float32 holds these whole numbers exactly, and is twice as fast.
    signs = np.sign(scores[first] - scores[second]).astype(np.float32)
    both = np.isfinite(signs).astype(np.float32)
    signs = np.nan_to_num(signs)
    untied = np.square(signs)
    for block in blocks(weights, scores.shape[1], scores.shape[1] ** 2):
        found = np.empty((len(weights[block]), scores.shape[1], scores.shape[1]))
        for resample, drawn in enumerate(weights[block].astype(np.float32)):
            times = (drawn[first] * drawn[second])[:, np.newaxis]
            concordance = (times * signs).T @ signs
            pairs = (times * untied).T @ both
            with np.errstate(invalid="ignore", divide="ignore"):
                found[resample] = concordance / np.sqrt(pairs.astype(np.float64) * pairs.T)
        yield block, np.clip(found, -1, 1)


def weighted_ranks(values: Floats) -> Resampled:
    """Mid-ranks of every column in any resample.

    Parameters
    ----------
    values : ndarray of shape (n_models, n_columns)

    Returns
    -------
    callable
        From weights of shape (n_resamples, n_models) to ranks of shape (n_resamples, n_columns,
        n_models); of a model that a resample lacks, a rank that nobody asks for.
    """
    models, columns = values.shape
    if models <= _FEW_MODELS:
        # 1/2 + Σ_j w_j ([x_j < x_i] + [x_j = x_i]/2): one matrix product for all columns
        below = np.sign(values.T - values[:, :, np.newaxis]) / 2 + 0.5  # of [j, column, i]
        flat = below.reshape(models, -1)
        return lambda weights: (weights @ flat).reshape(-1, columns, models) + 0.5
    orders = np.argsort(values, axis=0, kind="stable").T
    ends = [
        [np.searchsorted(column[order], column, side) for side in ("left", "right")]
        for column, order in zip(values.T, orders, strict=True)
    ]

    def ranks(weights: Floats) -> Floats:
        found = np.empty((len(weights), columns, models))
        below = np.zeros((len(weights), models + 1))
        for c, (order, (first, last)) in enumerate(zip(orders, ends, strict=True)):
            np.cumsum(weights[:, order], axis=1, out=below[:, 1:])
            np.add(below[:, first], below[:, last], out=found[:, c])  # of ties, the middle
        found += 1
        found /= 2
        return found

    return ranks


def _centring(values: Floats, kind: Kind) -> Resampled:
    """Columns less their mean, times √weight, in any resample; 0 where it makes them constant.

    Returns
    -------
    callable
        From weights of shape (n_resamples, n_models) to an array of shape (n_resamples, n_columns,
        n_models).
    """
    return _centred_ranks(values) if kind == "spearman" else _centred_values(values)


def _centred_ranks(values: Floats) -> Resampled:
    ranks = weighted_ranks(values)

    def centred(weights: Floats) -> Floats:
        found = ranks(weights)
        # The mean of ranks, whatever their ties.
        found -= (weights.sum(axis=1) / 2 + 0.5)[:, np.newaxis, np.newaxis]
        found *= np.sqrt(weights)[:, np.newaxis]
        return found

    return centred


def _centred_values(values: Floats) -> Resampled:
    squares = np.square(values)

    def centred(weights: Floats) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = (weights @ values) / weights.sum(axis=1)[:, np.newaxis]
        found: Floats = values.T - mean[:, :, np.newaxis]
        found *= np.sqrt(weights)[:, np.newaxis]
        noise = 1e-13 * np.sqrt(weights @ squares)
        length = np.sqrt(np.einsum("bcn,bcn->bc", found, found))
        found *= (length > noise)[:, :, np.newaxis]
        return found

    return centred


def percentile_interval(draws: Floats, confidence: float) -> tuple[Floats, Floats]:
    """Percentile interval over the first axis; resamples without a value are left out.

    Returns
    -------
    low, high : ndarray of shape draws.shape[1:]
        NaN where fewer than half of the resamples have a value.
    """
    if len(draws) > 1 and np.isfinite(draws).all():
        return _of_complete(draws, confidence)
    ordered = np.sort(draws, axis=0)  # NaN last
    found = np.isfinite(ordered).sum(axis=0)
    ends = []
    for share in ((1 - confidence) / 2, (1 + confidence) / 2):
        place = share * np.maximum(found - 1, 0)
        below = np.floor(place).astype(np.intp)
        above = np.minimum(below + 1, np.maximum(found - 1, 0))
        low, high = (np.take_along_axis(ordered, i[np.newaxis], axis=0)[0] for i in (below, above))
        value = low + (high - low) * (place - below)
        ends.append(np.where(2 * found < len(draws), np.nan, value))
    return ends[0], ends[1]


def _of_complete(draws: Floats, confidence: float) -> tuple[Floats, Floats]:
    """The same without a NaN: a few places of each column are enough, which need no sorting."""
    columns = np.ascontiguousarray(draws.reshape(len(draws), -1).T)
    last = len(draws) - 1
    places = [share * last for share in ((1 - confidence) / 2, (1 + confidence) / 2)]
    below = [min(int(np.floor(place)), last) for place in places]
    above = [min(place + 1, last) for place in below]
    ordered = np.partition(columns, sorted({*below, *above}), axis=1)
    ends = [
        ordered[:, i] + (ordered[:, j] - ordered[:, i]) * (place - i)
        for place, i, j in zip(places, below, above, strict=True)
    ]
    low, high = (end.reshape(draws.shape[1:]) for end in ends)
    return low, high
