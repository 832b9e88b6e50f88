"""Corrections for many tests, against definitions written out."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.statistics.multiplicity import benjamini_hochberg, holm, max_t

p_values = hnp.arrays(
    np.float64, st.integers(1, 12), elements=st.integers(1, 40).map(lambda k: k / 40)
)


@settings(max_examples=100, deadline=None)
@given(p_values, st.sampled_from([0.01, 0.05, 0.2, 0.5]))
def test_holm_rejects_what_stepping_down_rejects(p, alpha):
    rejected, left = set(), sorted(range(len(p)), key=lambda i: p[i])
    while left and p[left[0]] * len(left) <= alpha * (1 + 1e-12):
        rejected.add(left.pop(0))
    found = set(np.flatnonzero(holm(p) <= alpha * (1 + 1e-12)).tolist())
    # Of equal p values, stepping down may reject some and stop: corrected ones are equal, too.
    assert rejected <= found
    assert all(p[i] in {p[j] for j in rejected} for i in found - rejected)


@settings(max_examples=100, deadline=None)
@given(p_values)
def test_holms_corrected_p_equals_its_definition(p):
    """The largest, of all p up to one's own, of p times how many are at least as large."""
    p = p**2  # small ones are what matters
    expected = [min(1, max(q * (p >= q).sum() for q in p if q <= own)) for own in p]
    np.testing.assert_allclose(holm(p), expected, atol=1e-15)


@settings(max_examples=100, deadline=None)
@given(p_values)
def test_benjamini_hochbergs_corrected_p_equals_its_definition(p):
    """The smallest, of all p from one's own, of p times the tests over how many are as small."""
    p = p**2
    expected = [min(1, min(q * len(p) / (p <= q).sum() for q in p if q >= own)) for own in p]
    np.testing.assert_allclose(benjamini_hochberg(p), expected, rtol=0, atol=1e-15)


@settings(max_examples=50, deadline=None)
@given(p_values)
def test_tests_that_were_not_made_do_not_count(p):
    gaps = np.concatenate([[np.nan], p, [np.nan]])
    for correct in (holm, benjamini_hochberg):
        np.testing.assert_array_equal(correct(gaps), [np.nan, *correct(p), np.nan])


def test_without_any_test_nothing_is_corrected():
    for correct in (holm, benjamini_hochberg):
        np.testing.assert_array_equal(correct(np.array([])), [])
        np.testing.assert_array_equal(correct(np.full(2, np.nan)), [np.nan, np.nan])


def test_max_t_counts_the_maxima_beyond():
    rng = np.random.default_rng(0)
    draws, observed = (
        np.abs(rng.standard_normal((500, 6))).round(1),  # a draw as large as the observed counts
        np.array([0.1, 1, 2, 3, np.nan, np.inf]),
    )
    draws[:, 4] = 0
    found = max_t(observed, draws.max(axis=1))
    for i in (0, 1, 2, 3, 5):
        beyond = sum(max(row) >= observed[i] for row in draws.tolist())
        assert found[i] == (beyond + 1) / 501
    assert np.isnan(found[4])


def test_max_t_is_sharper_than_holm_on_dependent_tests():
    rng = np.random.default_rng(1)
    shared = rng.standard_normal((4000, 1))
    draws = np.abs(0.95 * shared + 0.05 * rng.standard_normal((4000, 20)))
    observed = np.full(20, 2.2)
    p = (draws >= observed).mean(axis=0)
    assert max_t(observed, draws.max(axis=1)).max() < holm(p).max() / 3
