"""The delete-one-group jackknife against formulas that are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pipeline.statistics.fisher_z import rho_limit, tau_limit
from pipeline.statistics.jackknife import MOST_GROUPS, jackknifed
from pipeline.statistics.rank_correlation import spearman


def mean_of(values):
    def statistic(kept):
        return np.array([values[kept].mean()]), np.array([kept.sum()])

    return statistic


def test_of_a_mean_it_is_the_t_interval():
    values = np.random.default_rng(0).normal(size=9)
    found = jackknifed(mean_of(values), np.arange(9).astype(str), 0.9)
    low, high = stats.t.interval(0.9, 8, values.mean(), stats.sem(values))
    assert (found.low[0], found.high[0]) == (pytest.approx(low), pytest.approx(high))
    assert (found.n[0], found.groups[0]) == (9, 9)


def test_groups_are_left_out_whole():
    rng = np.random.default_rng(1)
    groups = np.repeat(list("abcdef"), 3)
    values = rng.normal(size=6)[np.repeat(np.arange(6), 3)]  # equal within a group
    found = jackknifed(mean_of(values), groups, 0.95)
    low, high = stats.t.interval(0.95, 5, values.mean(), stats.sem(values[::3]))
    assert (found.low[0], found.high[0]) == (pytest.approx(low), pytest.approx(high))


def test_few_groups_and_no_spread_have_no_interval():
    assert np.isnan(jackknifed(mean_of(np.arange(4.0)), np.array(list("abcd")), 0.95).low).all()
    same = jackknifed(mean_of(np.full(8, 0.1)), np.arange(8).astype(str), 0.95)
    assert np.isnan([same.low, same.high]).all()
    assert same.value[0] == pytest.approx(0.1)


def test_a_group_that_does_not_take_part_is_not_counted():
    values = np.random.default_rng(2).normal(size=8)
    taking_part = np.arange(8) < 6

    def statistic(kept):
        used = kept & taking_part
        return np.array([values[used].mean()]), np.array([used.sum()])

    found = jackknifed(statistic, np.arange(8).astype(str), 0.95)
    low, _ = stats.t.interval(0.95, 5, values[:6].mean(), stats.sem(values[:6]))
    assert found.groups[0] == 6
    assert found.low[0] == pytest.approx(low)


def test_a_statistic_that_needs_a_group_has_no_interval():
    def statistic(kept):
        return np.array([1.0 if kept[0] else np.nan]), np.array([kept.sum()])

    assert np.isnan(jackknifed(statistic, np.arange(8).astype(str), 0.95).high[0])


def test_thousands_of_groups_are_joined_and_the_interval_is_about_the_same():
    values = np.random.default_rng(3).normal(size=2_000)
    calls = []

    def statistic(kept):
        calls.append(1)
        return mean_of(values)(kept)

    found = jackknifed(statistic, np.arange(2_000).astype(str), 0.95)
    assert len(calls) == MOST_GROUPS + 1
    exact = stats.sem(values) * stats.t.ppf(0.975, 1_999)
    assert (found.high - found.low)[0] / 2 == pytest.approx(exact, rel=0.3)


def test_correlations_stay_within_bounds():
    rng = np.random.default_rng(4)
    x = rng.normal(size=12)
    y = x + rng.normal(size=12) * 0.1

    def statistic(kept):
        return np.array([np.corrcoef(x[kept], y[kept])[0, 1]]), np.array([kept.sum()])

    found = jackknifed(statistic, np.arange(12).astype(str), 0.95, correlation=True)
    assert -1 <= found.low[0] < found.value[0] < found.high[0] <= 1
    # By hand, on the atanh scale, each clipped by its own n; no error is below Bonett and Wright's.
    at = [1 - 6 / (n**3 - n) for n in (12, 11)]
    middle = np.arctanh(min(found.value[0], at[0]))
    z = np.arctanh([min(statistic(np.arange(12) != i)[0][0], at[1]) for i in range(12)])
    jackknife = np.sqrt(11 / 12 * np.square(z - z.mean()).sum())
    least = np.sqrt((1 + np.tanh(middle) ** 2 / 2) / 9)
    half = stats.t.ppf(0.975, 11) * max(jackknife, least)
    assert found.low[0] == pytest.approx(np.tanh(middle - half))
    assert found.high[0] == pytest.approx(np.tanh(middle + half))


def in_one_order(models):
    scores = np.arange(models, dtype=float)
    return jackknifed(
        lambda kept: spearman(scores[kept, np.newaxis], scores[kept, np.newaxis]),
        np.arange(models).astype(str), 0.95, correlation=True,
    )  # fmt: skip


@pytest.mark.parametrize(("models", "low"), [(5, -0.5), (6, 0.3), (8, 0.85)])
def test_models_in_one_order_have_an_interval_with_width(models, low):
    found = in_one_order(models)
    assert found.value[0, 0] == pytest.approx(1)
    assert found.low[0, 0] == pytest.approx(low, abs=0.03)
    assert found.low[0, 0] < found.high[0, 0] < 1


def test_one_swap_of_neighbours_among_eight_does_not_make_the_interval_empty_of_meaning():
    x, y = np.arange(8.0), np.array([0, 1, 2, 4, 3, 5, 6, 7.0])
    found = jackknifed(
        lambda kept: spearman(x[kept, np.newaxis], y[kept, np.newaxis]),
        np.arange(8).astype(str), 0.95, correlation=True,
    )  # fmt: skip
    assert 0.5 < found.low[0, 0] < 0.976 < found.high[0, 0] < 1


@given(st.integers(2, 400))
def test_limits_are_half_a_step_below_one(n):
    step_of_rho = 1 - stats.spearmanr(np.arange(n + 1), [1, 0, *range(2, n + 1)]).statistic
    assert rho_limit(n + 1) == pytest.approx(min(1 - step_of_rho / 2, 1 - 1e-6), abs=1e-12)
    step_of_tau = 1 - stats.kendalltau(np.arange(n + 1), [1, 0, *range(2, n + 1)]).statistic
    assert tau_limit(n + 1) == pytest.approx(1 - step_of_tau / 2, abs=1e-12)
