"""Correlations equal scipy's on the models that both columns have; intervals equal a plain loop."""

from __future__ import annotations

import itertools
import warnings
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from pipeline.statistics.correlation import (
    COEFFICIENTS,
    MIN_FAMILIES,
    MIN_MODELS,
    coefficients,
    correlate,
    leave_one_family_out,
)
from pipeline.statistics.jackknife import MOST_GROUPS, deletion_groups, members_of

N_TEST = 40


@st.composite
def score_tables(draw, min_models=2):
    """Accuracies with ties and gaps: k of 40, or NaN."""
    shape = (draw(st.integers(min_models, 12)), draw(st.integers(2, 5)))
    hits = draw(hnp.arrays(np.int64, shape, elements=st.integers(0, N_TEST)))
    gaps = draw(hnp.arrays(np.bool_, shape, elements=st.integers(0, 5).map(lambda n: n == 0)))
    return np.where(gaps, np.nan, hits / N_TEST)


def logit(x: np.ndarray) -> np.ndarray:
    return np.log((x * N_TEST + 0.5) / (N_TEST - x * N_TEST + 0.5))


def scipys(x: np.ndarray, y: np.ndarray) -> list[float]:
    both = np.isfinite(x) & np.isfinite(y)
    x, y = x[both], y[both]
    if both.sum() < 2 or len(set(x)) == 1 or len(set(y)) == 1:
        return [np.nan] * 4
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [
            stats.pearsonr(x, y)[0], stats.pearsonr(logit(x), logit(y))[0],
            stats.spearmanr(x, y)[0], stats.kendalltau(x, y)[0],
        ]  # fmt: skip


@settings(max_examples=50, deadline=None)
@given(score_tables())
def test_all_coefficients_equal_scipys(scores):
    columns = scores.shape[1]
    found = coefficients(scores, np.full(columns, float(N_TEST)))
    assert found.shape == (4, columns, columns)
    for a, b in itertools.product(range(columns), repeat=2):
        expected = scipys(scores[:, a], scores[:, b])
        np.testing.assert_allclose(found[:, a, b], expected, atol=1e-12, rtol=0)


def families_of(count: int, models: int) -> np.ndarray:
    return np.array([f"f{i % count}" for i in range(models)])


@settings(max_examples=8, deadline=None)
@given(scores=score_tables(min_models=6), count=st.integers(5, 8))
def test_intervals_equal_a_plain_jackknife_over_families(scores, count):
    families = families_of(count, len(scores))
    n_test = np.full(scores.shape[1], float(N_TEST))
    found = correlate(scores, families, n_test, 0.9)
    for a, b in itertools.product(range(scores.shape[1]), repeat=2):
        both = np.isfinite(scores[:, a]) & np.isfinite(scores[:, b])
        groups = sorted(set(families[both]))
        assert found.n[a, b] == both.sum()
        assert found.families[a, b] == len(groups)
        whole = scipys(scores[:, a], scores[:, b])
        if both.sum() < MIN_MODELS:
            assert np.isnan(found.value[:, a, b]).all()
            assert np.isnan(found.low[:, a, b]).all()
            continue
        np.testing.assert_allclose(found.value[:, a, b], whole, atol=1e-12)
        over_models = len(groups) < MIN_FAMILIES <= both.sum()
        assert found.over_models[a, b] == over_models
        units = np.arange(len(scores)) if over_models else families
        groups = sorted(set(units[both]))
        for c in range(4):
            if len(groups) < MIN_FAMILIES:
                assert np.isnan(found.low[c, a, b])
                assert np.isnan(found.high[c, a, b])
                continue
            at = limit(c, both.sum())
            middle = np.arctanh(np.clip(whole[c], -at, at))
            z = []
            for g in groups:
                rest = (units != g) & both
                at = limit(c, rest.sum())
                z.append(np.arctanh(np.clip(scipys(*scores[rest][:, [a, b]].T)[c], -at, at)))
            n = len(groups)
            spread = np.sqrt((n - 1) / n * np.square(z - np.mean(z)).sum())
            rho = np.tanh(middle)
            least = {
                2: np.sqrt((1 + rho**2 / 2) / (both.sum() - 3)),
                3: np.sqrt(0.437 / (both.sum() - 4)),
            }.get(c, 1 / np.sqrt(both.sum() - 3))
            half = stats.t.ppf(0.95, n - 1) * np.maximum(spread, least)
            np.testing.assert_allclose(
                [found.low[c, a, b], found.high[c, a, b]],
                [np.tanh(middle - half), np.tanh(middle + half)],
                atol=1e-7,
            )


def limit(coefficient: int, n: int) -> float:
    """Half a step below 1 of ρ and τ."""
    if n < 2:
        return 0.0
    return {2: 1 - 6 / (n**3 - n), 3: 1 - 2 / (n * (n - 1))}.get(coefficient, 1 - 1e-6)


def perfect(models: int) -> np.ndarray:
    line = np.linspace(0.2, 0.8, models)
    return np.stack([line, line], axis=1)


@pytest.mark.parametrize(("models", "withheld"), [(3, True), (4, False)])
def test_below_four_models_coefficients_are_withheld(models, withheld):
    found = correlate(perfect(models), families_of(9, models), np.full(2, 40.0), 0.95)
    assert np.isnan(found.value).all() == withheld


@pytest.mark.parametrize(("families", "over_models"), [(4, True), (5, False)])
def test_below_five_families_intervals_are_over_models_and_marked(families, over_models):
    scores = perfect(10) + np.random.default_rng(0).normal(0, 0.1, (10, 2))
    found = correlate(scores, families_of(families, 10), np.full(2, 40.0), 0.95)
    assert np.isfinite(found.low[:, 0, 1]).all()
    assert found.over_models[0, 1] == over_models
    alone = correlate(scores, families_of(10, 10), np.full(2, 40.0), 0.95)
    assert np.allclose(found.low[:, 0, 1], alone.low[:, 0, 1]) == over_models


def test_below_five_models_there_is_no_interval():
    found = correlate(perfect(4), families_of(4, 4), np.full(2, 40.0), 0.95)
    assert np.isnan(found.low).all()


def test_constant_columns_have_no_correlation():
    scores = perfect(6)
    scores[:, 1] = 0.1 + 0.2  # not exact in binary
    found = correlate(scores, families_of(6, 6), np.full(2, 40.0), 0.95)
    assert np.isnan(found.value[:, 0, 1]).all()
    np.testing.assert_allclose(found.value[:, 0, 0], 1)


def test_symmetry_and_order_of_models():
    rng = np.random.default_rng(1)
    scores = rng.integers(0, 41, (9, 4)) / 40
    order = rng.permutation(9)
    families = families_of(6, 9)
    a = correlate(scores, families, np.full(4, 40.0), 0.95)
    b = correlate(scores[order], families[order], np.full(4, 40.0), 0.95)
    for name in ("value", "low", "high", "n", "families"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), atol=1e-9)
    np.testing.assert_allclose(a.value, a.value.transpose(0, 2, 1), atol=1e-12)
    assert COEFFICIENTS == ("pearson", "pearson_logit", "spearman", "kendall")


@st.composite
def close_scores(draw):
    """Two columns that differ by 1e-9 of their middle up to all of it, with ties and gaps."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    steps = rng.uniform(-1, 1, (draw(st.integers(4, 60)), 2))
    if levels := draw(st.sampled_from([0, 2, 5])):
        steps = np.round(steps * levels) / levels
    spread = 10.0 ** rng.uniform(-9, 0, 2)
    scores = (rng.uniform(0.02, 0.98, 2) * (1 + spread * steps)).clip(0, 1)
    scores[rng.random(scores.shape) < draw(st.sampled_from([0, 0.2]))] = np.nan
    return scores


@settings(max_examples=150, deadline=None)
@given(close_scores())
def test_scores_that_hardly_differ_still_equal_scipys(scores):
    found = coefficients(scores, np.full(2, float(N_TEST)))[:, 0, 1]
    np.testing.assert_allclose(found, scipys(*scores.T), atol=1e-12, rtol=0)


@settings(max_examples=40, deadline=None)
@given(close_scores())
def test_pearson_equals_exact_arithmetic(scores):
    """In fractions: SciPy rounds as we do, so equality to it is not all."""
    both = np.isfinite(scores).all(axis=1)
    if both.sum() < 2 or (np.ptp(scores[both], axis=0) == 0).any():
        return
    x, y = ([Fraction(v) for v in column] for column in scores[both].T)
    (xx, xy), (_, yy) = (
        [sum(a * b for a, b in zip(u, v, strict=True)) - sum(u) * sum(v) / len(u) for v in (x, y)]
        for u in (x, y)
    )
    exact = np.sign(float(xy)) * np.sqrt(float(xy * xy / (xx * yy)))
    found = coefficients(scores, np.full(2, float(N_TEST)))[0, 0, 1]
    assert found == pytest.approx(exact, abs=1e-13)


@settings(max_examples=25, deadline=None)
@given(score_tables(min_models=5))
def test_leaving_families_out_equals_computing_without_them(scores):
    members = members_of(families_of(4, len(scores)))
    n_test = np.full(scores.shape[1], float(N_TEST))
    for gone, found in zip(members, leave_one_family_out(scores, members, n_test), strict=True):
        np.testing.assert_allclose(found, coefficients(scores[~gone], n_test), atol=1e-12)


def test_many_families_are_left_out_in_groups_of_whole_families():
    families = np.array([f"f{i % 150:03}" for i in range(400)])
    groups = deletion_groups(families)
    assert len(groups) == MOST_GROUPS
    assert (groups.sum(axis=0) == 1).all()
    for group in groups:
        assert set(families[group]).isdisjoint(families[~group])
    scores = np.random.default_rng(0).random((400, 1)) + np.random.default_rng(1).random((400, 2))
    found = correlate(scores / 2, families, np.full(2, 40.0), 0.95)
    assert found.families[0, 1] == 150
    # As wide as Fisher's interval for independent pairs: ±2.01/√(n - 3).
    width = np.diff(np.arctanh([found.low[0, 0, 1], found.high[0, 0, 1]]))[0]
    assert abs(width - 2 * 2.01 / np.sqrt(397)) < 0.05
