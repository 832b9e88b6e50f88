"""The delete-one-group jackknife against formulas that are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pipeline.statistics.jackknife import MAX_GROUPS, jackknifed


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
    assert len(calls) == MAX_GROUPS + 1
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
    # By hand, on the atanh scale.
    z = np.arctanh([statistic(np.arange(12) != i)[0][0] for i in range(12)])
    half = stats.t.ppf(0.975, 11) * np.sqrt(11 / 12 * np.square(z - z.mean()).sum())
    assert found.low[0] == pytest.approx(np.tanh(np.arctanh(found.value[0]) - half))
