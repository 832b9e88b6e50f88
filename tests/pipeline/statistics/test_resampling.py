"""Weighted correlations equal scipy's on the resamples written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pipeline.statistics import resampling
from pipeline.statistics.resampling import (
    family_weights,
    model_weights,
    percentile_interval,
    resampled_correlations,
    resampled_tau,
    weighted_ranks,
)


def table(seed: int, models: int, columns: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 12, (models, columns)) / 12
    scores[rng.random(scores.shape) < 0.1] = np.nan
    return scores


def joined(parts) -> np.ndarray:
    return np.concatenate([values for _, values in parts])


def written_out(x, y, weights, coefficient):
    times = weights.astype(int)
    both = np.isfinite(x) & np.isfinite(y)
    a, b = np.repeat(x[both], times[both]), np.repeat(y[both], times[both])
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return np.nan
    return coefficient(a, b).statistic


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.booleans())
def test_equal_scipys_on_resamples_written_out(seed, of_families):
    x, y = table(seed, 11, 3), table(seed + 1, 11, 2)
    rng = np.random.default_rng(seed)
    families = np.array([f"f{i % 6}" for i in range(11)])
    weights = family_weights(families, 5, rng) if of_families else model_weights(11, 5, rng)
    for kind, coefficient in (("pearson", stats.pearsonr), ("spearman", stats.spearmanr)):
        found = joined(resampled_correlations(x, y, weights, kind))
        for b, i, j in np.ndindex(found.shape):
            expected = written_out(x[:, i], y[:, j], weights[b], coefficient)
            np.testing.assert_allclose(found[b, i, j], expected, atol=1e-12)
    found = joined(resampled_tau(x, weights))
    for b, i, j in np.ndindex(found.shape):
        expected = written_out(x[:, i], x[:, j], weights[b], stats.kendalltau)
        np.testing.assert_allclose(found[b, i, j], expected, atol=1e-12)


@pytest.mark.parametrize("few_models", [0, 100])
def test_blocks_and_the_way_to_rank_change_no_correlation(monkeypatch, few_models):
    x, y = table(0, 40, 3), table(1, 40, 5)
    weights = model_weights(40, 23, np.random.default_rng(0))
    whole = joined(resampled_correlations(x, y, weights, "spearman"))
    monkeypatch.setattr(resampling, "_ELEMENTS", 5 * 40 * 8)  # five resamples a block, then three
    monkeypatch.setattr(resampling, "_FEW_MODELS", few_models)
    parts = list(resampled_correlations(x, y, weights, "spearman"))
    assert [len(values) for _, values in parts] == [5, 5, 5, 5, 3]
    assert [weights[block].shape[0] for block, _ in parts] == [5, 5, 5, 5, 3]
    np.testing.assert_allclose(joined(parts), whole, atol=1e-12)


def test_ranks_by_sorting_equal_ranks_by_matrix_product(monkeypatch):
    rng = np.random.default_rng(0)
    values, weights = rng.integers(0, 9, (30, 4)) / 9, model_weights(30, 20, rng)
    product = weighted_ranks(values)(weights)
    monkeypatch.setattr(resampling, "_FEW_MODELS", 0)
    np.testing.assert_allclose(weighted_ranks(values)(weights), product, atol=1e-12)


def test_families_are_drawn_whole():
    families = np.array(list("aabbbc"))
    weights = family_weights(families, 500, np.random.default_rng(0))
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, 2] == weights[:, 4]).all()
    assert (weights[:, [0, 2, 5]].sum(axis=1) == 3).all()
    assert (model_weights(6, 50, np.random.default_rng(0)).sum(axis=1) == 6).all()


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_percentiles_equal_numpys_without_the_gaps(confidence):
    rng = np.random.default_rng(0)
    draws = rng.random((201, 3, 2))
    draws[rng.random(draws.shape) < 0.2] = np.nan
    low, high = percentile_interval(draws, confidence)
    np.testing.assert_allclose(low, np.nanquantile(draws, (1 - confidence) / 2, axis=0))
    np.testing.assert_allclose(high, np.nanquantile(draws, (1 + confidence) / 2, axis=0))


def test_an_interval_of_mostly_failed_resamples_is_withheld():
    draws = np.full((10, 1), np.nan)
    draws[:4] = 1
    assert np.isnan(percentile_interval(draws, 0.95)).all()
