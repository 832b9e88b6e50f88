"""Spearman's ρ against scipy, and the partial one against regression."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pipeline.statistics.rank_correlation import spearman


def tables(seed, n=14, gaps=0.15, levels=6):
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, levels, (2, n, 3)).astype(float)
    for table in (x, y):
        table[rng.random(table.shape) < gaps] = np.nan
    return x, y, rng.choice(["a", "b", "c"], n)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_equals_scipy_with_ties_and_gaps(seed):
    x, y, _ = tables(seed)
    rho, n = spearman(x, y)
    for i in range(3):
        for j in range(3):
            both = np.isfinite(x[:, i]) & np.isfinite(y[:, j])
            assert n[i, j] == both.sum()
            a, b = x[both, i], y[both, j]
            if both.sum() < 4 or np.ptp(a) == 0 or np.ptp(b) == 0:
                assert np.isnan(rho[i, j])
            else:
                assert rho[i, j] == pytest.approx(stats.spearmanr(a, b)[0], abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_partial_equals_correlation_of_residuals(seed):
    x, y, groups = tables(seed)
    rho, n = spearman(x, y, groups)
    both = np.isfinite(x[:, 0]) & np.isfinite(y[:, 0])
    for group in "abc":  # alone in its group
        if (both & (groups == group)).sum() == 1:
            both &= groups != group
    assert n[0, 0] == both.sum()
    if both.sum() < 4 or both.sum() - len(set(groups[both])) < 2:
        assert np.isnan(rho[0, 0])
        return
    design = (groups[both][:, None] == np.unique(groups[both])).astype(float)
    residuals = []
    for values in (x[both, 0], y[both, 0]):
        ranks = stats.rankdata(values)
        residuals.append(ranks - design @ np.linalg.lstsq(design, ranks, rcond=None)[0])
    if min(np.abs(r).max() for r in residuals) < 1e-9:
        assert np.isnan(rho[0, 0])
    else:
        expected = stats.pearsonr(*residuals)[0]
        assert rho[0, 0] == pytest.approx(expected, abs=1e-10)


def test_a_group_of_one_model_is_not_counted():
    x = np.arange(7.0)[:, None]
    groups = np.array(["a"] * 6 + ["alone"])
    rho, n = spearman(x, x, groups)
    assert n[0, 0] == 6
    assert rho[0, 0] == pytest.approx(1)


def test_no_columns_give_an_empty_table():
    rho, n = spearman(np.zeros((5, 0)), np.zeros((5, 2)))
    assert rho.shape == n.shape == (0, 2)
