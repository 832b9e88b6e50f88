"""Differences between sides against least squares, permutation tests against scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pipeline.statistics.contrasts import Contrast, difference, permutation_p, side_counts


def design(seed, n=20, strata=3):
    rng = np.random.default_rng(seed)
    left = rng.random(n) < 0.5
    groups = rng.choice(list("abcde")[:strata], n)
    scores = rng.normal(size=(n, 2))
    scores[rng.random((n, 2)) < 0.1] = np.nan
    return Contrast("", left, ~left, groups), scores, rng.random(n) < 0.9


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_equals_the_coefficient_of_a_least_squares_fit(seed):
    contrast, scores, kept = design(seed)
    value, n = difference(contrast, scores, kept)
    for column in range(2):
        used = kept & np.isfinite(scores[:, column])
        both = [
            g for g in np.unique(contrast.strata[used])
            if len(set(contrast.left[used & (contrast.strata == g)])) == 2
        ]  # fmt: skip
        used &= np.isin(contrast.strata, both)
        assert n[column] == used.sum()
        if not both:
            assert np.isnan(value[column])
            continue
        groups = (contrast.strata[used][:, None] == both).astype(float)
        x = np.column_stack([contrast.left[used], groups])
        expected = np.linalg.lstsq(x, scores[used, column], rcond=None)[0][0]
        assert value[column] == pytest.approx(expected, abs=1e-10)


def test_without_strata_it_is_the_difference_of_means():
    scores = np.array([[1.0], [2.0], [6.0], [np.nan]])
    contrast = Contrast("", np.array([1, 1, 0, 0], bool), np.array([0, 0, 1, 1], bool))
    value, n = difference(contrast, scores, np.ones(4, bool))
    assert (value[0], n[0]) == (-4.5, 3)
    assert [c[0] for c in side_counts(contrast, scores)] == [2, 1]


def sides(left, n):
    return Contrast("", np.arange(n) < left, np.arange(n) >= left)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), left=st.integers(2, 4))
def test_exact_p_equals_scipy(seed, left):
    y = np.random.default_rng(seed).normal(size=9)
    p, smallest = permutation_p(sides(left, 9), y[:, None], np.random.default_rng(0))

    def gap(a, b):
        return abs(np.mean(a) - np.mean(b))

    expected = stats.permutation_test((y[:left], y[left:]), gap, alternative="greater",
                                      n_resamples=np.inf)  # fmt: skip
    assert p[0] == pytest.approx(expected.pvalue)
    assert smallest[0] == pytest.approx(1 / math.comb(9, left))
    assert p[0] >= smallest[0] - 1e-12


def test_three_and_six_models_can_give_one_in_84():
    y = np.r_[10 + np.arange(3), np.arange(6.0)]  # as far apart as can be
    p, smallest = permutation_p(sides(3, 9), y[:, None], np.random.default_rng(0))
    assert p[0] == smallest[0] == pytest.approx(1 / 84)


def test_equal_sides_can_only_give_two_in_all():
    p, smallest = permutation_p(sides(3, 6), np.arange(6.0)[:, None], np.random.default_rng(0))
    assert p[0] == smallest[0] == pytest.approx(2 / 20)


def test_methods_on_two_backbones_are_a_sign_test():
    rng = np.random.default_rng(5)
    gaps, base = rng.normal(0.5, 1, 7), rng.normal(size=7)
    y = np.r_[base + gaps, base]
    contrast = Contrast("", np.arange(14) < 7, np.arange(14) >= 7, np.tile(list("abcdefg"), 2))
    p, smallest = permutation_p(contrast, y[:, None], rng)
    expected = stats.permutation_test((gaps,), lambda x: abs(np.mean(x)), alternative="greater",
                                      permutation_type="samples", n_resamples=np.inf)  # fmt: skip
    assert p[0] == pytest.approx(expected.pvalue)
    assert smallest[0] == 2 / 128


def test_two_method_pairs_can_prove_nothing():
    contrast = Contrast("", np.arange(4) < 2, np.arange(4) >= 2, np.array(list("abab")))
    p, smallest = permutation_p(contrast, np.array([[9.0], [8], [0], [0]]), np.random.default_rng())
    assert p[0] == smallest[0] == 0.5


def test_many_models_are_permuted_at_random_and_p_is_valid():
    rng = np.random.default_rng(6)
    y = rng.normal(size=(40, 300))
    p, smallest = permutation_p(sides(20, 40), y, rng)
    assert smallest[0] == 1 / 2_000
    # Under no difference p is uniform: of 300, more than 30 below 5% would be a wonder (< 1e-4).
    assert (p < 0.05).sum() < 30
    assert 0.4 < p.mean() < 0.6


def test_beyond_many_models_p_is_that_of_random_assignments():
    rng = np.random.default_rng(7)
    y = rng.exponential(size=240)
    y[:60] += 0.25
    p, _ = permutation_p(sides(60, 240), y[:, None], rng)

    def gap(a, b, axis):
        return abs(np.mean(a, axis) - np.mean(b, axis))

    expected = stats.permutation_test((y[:60], y[60:]), gap, alternative="greater", rng=rng,
                                      vectorized=True, n_resamples=9_999)  # fmt: skip
    assert p[0] == pytest.approx(expected.pvalue, abs=0.02)


def test_nothing_to_compare():
    p, smallest = permutation_p(sides(0, 5), np.arange(5.0)[:, None], np.random.default_rng(0))
    assert np.isnan([p[0], smallest[0]]).all()
