"""Weighted τ equals scipy's on the models that both columns have, ties and gaps included."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from pipeline.statistics.weighted_tau import weighted_tau


@st.composite
def tables(draw):
    shape = (draw(st.integers(2, 10)), draw(st.integers(1, 5)))
    values = draw(hnp.arrays(np.int64, shape, elements=st.integers(0, 6))) / 6
    gaps = draw(hnp.arrays(np.bool_, shape, elements=st.integers(0, 5).map(lambda n: n == 0)))
    return np.where(gaps, np.nan, values)


def scipys(x: np.ndarray, y: np.ndarray) -> float:
    both = np.isfinite(x) & np.isfinite(y)
    x, y = x[both], y[both]
    if both.sum() < 2 or len(set(x)) == 1 or len(set(y)) == 1:
        return np.nan
    return float(stats.weightedtau(x, y).statistic)


@settings(max_examples=100, deadline=None)
@given(tables())
def test_equals_scipys(scores):
    found = weighted_tau(scores)
    expected = [[scipys(a, b) for b in scores.T] for a in scores.T]
    np.testing.assert_allclose(found, expected, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    models=st.integers(4, 60),
    spread=st.floats(-6, 0).map(lambda e: 10.0**e),
    levels=st.sampled_from([2, 5, 1000]),
)
def test_scores_that_hardly_differ_still_equal_scipys(seed, models, spread, levels):
    rng = np.random.default_rng(seed)
    scores = 0.5 * (1 + spread * rng.integers(-levels, levels + 1, (models, 2)) / levels)
    scores[rng.random(scores.shape) < 0.1] = np.nan
    np.testing.assert_allclose(weighted_tau(scores)[0, 1], scipys(*scores.T), atol=1e-12)


def test_the_best_models_count_more():
    line = np.arange(10.0)
    best_swapped, worst_swapped = line.copy(), line.copy()
    best_swapped[[8, 9]], worst_swapped[[0, 1]] = [9, 8], [1, 0]
    found = weighted_tau(np.stack([line, best_swapped, worst_swapped], axis=1))[0]
    assert found[0] == 1
    assert found[1] < found[2] < 1
