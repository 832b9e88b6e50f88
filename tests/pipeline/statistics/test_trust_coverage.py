"""Small versions of the simulations behind docs/statistics.md: each can fail."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from pipeline.statistics.simultaneous import joint_interval, joint_quantile

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))
import trust_coverage as simulated


def share(models, kind, rho, draws=400):
    of = simulated.families(kind, models)
    rng = np.random.default_rng([models, int(10 * rho)])
    x, y = simulated.studies(rng, draws, of, rho)
    _, _, low, high, _ = simulated.jackknifed(x, [y], of)
    assert (low < high).all()  # none without width
    return ((low <= simulated.population(rho)) & (simulated.population(rho) <= high)).mean()


@pytest.mark.parametrize("kind", ["own", "equal", "uneven", "one dominating"])
@pytest.mark.parametrize("models", [12, 26])
def test_intervals_hold_the_truth(models, kind):
    for rho in (0.0, 0.9):
        assert share(models, kind, rho) > 0.92


@pytest.mark.parametrize("models", [5, 6, 8])
def test_of_few_models_intervals_hold_the_truth(models):
    for rho in (0.0, 0.6, 0.9):
        assert share(models, "own", rho) > 0.92


def test_the_interval_of_the_highest_of_twelve_equals_holds_the_truth_and_its_own_does_not():
    of = simulated.families("own", 40)
    alone, joint = simulated.leader_covered(300, 12, 1, of, 0.0)
    assert alone < 0.9
    assert joint > 0.93


def test_the_joint_quantile_of_independent_and_of_equal_statistics():
    rng = np.random.default_rng(0)
    many = rng.standard_normal((400, 12))
    # Of 12 independent normal ones the largest of |z| is below 2.86 in 95% of the cases.
    sidak = stats.norm.ppf(1 - (1 - 0.95 ** (1 / 12)) / 2)
    assert joint_quantile(many - many.mean(axis=0), 0.95) == pytest.approx(sidak, rel=0.04)
    same = np.repeat(rng.standard_normal((10, 1)), 12, axis=1)
    alone = stats.t.ppf(0.975, 9)
    assert joint_quantile(same - same.mean(axis=0), 0.95) == pytest.approx(alone, rel=0.04)
    assert joint_quantile(same[:, :1], 0.95) == alone


def test_what_nothing_moves_counts_as_one_more():
    still = np.zeros((10, 3))
    one = np.concatenate([still, np.random.default_rng(0).standard_normal((10, 1))], axis=1)
    assert joint_quantile(one, 0.95) > stats.t.ppf(0.975, 9) + 0.2


def test_the_joint_interval_is_no_narrower_than_each_own():
    low, high = np.array([0.1, 0.2]), np.array([0.9, 0.8])
    ends = joint_interval(np.array([0.5, 0.5]), np.array([0.01, 3.0]), low, high)
    assert ends[0][0] == low[0]
    assert ends[0][1] < low[1]
    assert (ends[1] >= high).all()


def test_the_simulations_rho_is_scipys():
    rng = np.random.default_rng(0)
    x, y = rng.random((3, 9, 2)), rng.random((3, 9))
    told = simulated.spearman(x, y)
    for d in range(3):
        for c in range(2):
            assert told[d, c] == pytest.approx(stats.spearmanr(x[d, :, c], y[d]).statistic)
