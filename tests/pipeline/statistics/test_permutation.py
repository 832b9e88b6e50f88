"""Permutations within backbones, against all of them written out."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from pipeline.statistics import permutation
from pipeline.statistics.permutation import PERMUTATIONS, permutation_p


def exhaustive(x: np.ndarray, y: np.ndarray, groups: np.ndarray) -> float:
    def statistic(order):
        total = 0.0
        for g in set(groups.tolist()):
            own = groups == g
            a, b = stats.rankdata(x)[own], stats.rankdata(y)[list(order)][own]
            total += ((a - a.mean()) * (b - b.mean())).sum()
        return abs(total)

    places = [np.flatnonzero(groups == g).tolist() for g in sorted(set(groups.tolist()))]
    found = []
    for parts in itertools.product(*(itertools.permutations(p) for p in places)):
        order = np.empty(len(x), int)
        for place, part in zip(places, parts, strict=True):
            order[place] = part
        found.append(statistic(order))
    return float(np.mean(np.array(found) >= statistic(np.arange(len(x))) - 1e-9))


@pytest.mark.parametrize("seed", range(4))
def test_p_is_that_of_all_permutations(seed):
    rng = np.random.default_rng(seed)
    groups = np.array(["r"] * 4 + ["v"] * 3)
    scores = rng.integers(0, 6, (7, 2)) / 6
    expected = exhaustive(*scores.T, groups)
    p, _ = permutation_p(scores, groups, np.random.default_rng(0))
    error = np.sqrt(expected * (1 - expected) / PERMUTATIONS)
    assert abs(p[0, 1] - expected) < 5 * error + 2 / PERMUTATIONS
    assert p[0, 1] == p[1, 0]


def test_one_model_a_backbone_leaves_nothing_to_permute():
    scores = np.random.default_rng(0).random((6, 2))
    p, smallest = permutation_p(scores, np.array(list("abcdef")), np.random.default_rng(0))
    assert np.isnan(p).all()
    assert np.isnan(smallest).all()


def test_few_permutations_bound_p():
    scores = np.stack([np.arange(4.0)] * 2, axis=1)
    p, smallest = permutation_p(scores, np.array(list("aabb")), np.random.default_rng(0))
    assert smallest[0, 1] == 1 / 4
    assert p[0, 1] >= 1 / 4


def test_gaps_use_the_models_that_both_have():
    rng = np.random.default_rng(3)
    scores = rng.random((12, 2))
    scores[10:, 0] = np.nan
    groups = np.array(["a", "b"] * 6)
    p, _ = permutation_p(scores, groups, np.random.default_rng(0))
    expected, _ = permutation_p(scores[:10], groups[:10], np.random.default_rng(0))
    assert abs(p[0, 1] - expected[0, 1]) < 0.03


@pytest.mark.parametrize("effect", [0, 5])
def test_p_is_uniform_under_the_null_whatever_backbones_do(effect):
    rng = np.random.default_rng(9)
    groups = np.array(["a", "b"] * 7)
    scores = rng.normal(0, 1, (14, 50)) + effect * (groups == "b")[:, np.newaxis]
    if effect:
        assert abs(stats.spearmanr(*scores[:, :2].T).statistic) > 0.5
    p, _ = permutation_p(scores, groups, rng)
    upper = p[np.triu_indices(50, 1)]
    assert 0.025 < (upper <= 0.05).mean() < 0.075
    assert 0.4 < upper.mean() < 0.6


@pytest.mark.parametrize("gaps", [False, True])
def test_of_many_models_p_is_that_of_permutations_without_them(monkeypatch, gaps):
    rng = np.random.default_rng(3)
    backbones = np.array([f"b{i}" for i in rng.integers(0, 7, 230)] + ["alone"])
    scores = (rng.random((231, 1)) * 0.15 + rng.random((231, 4))).round(2)
    if gaps:
        scores[rng.random(scores.shape) < 0.02] = np.nan
    found, smallest = permutation_p(scores, backbones, rng)
    monkeypatch.setattr(permutation, "MANY", 1_000)
    drawn, _ = permutation_p(scores, backbones, rng)
    error = np.sqrt(drawn * (1 - drawn) / PERMUTATIONS)
    assert (np.abs(found - drawn) < 4 * error + 0.01).all()
    assert found.min() < 0.05 < 0.2 < found.max()
    assert (smallest == 0).all()


def test_of_many_models_a_column_without_spread_has_no_p():
    scores = np.random.default_rng(0).random((300, 2))
    scores[:, 1] = 0.5
    p, smallest = permutation_p(scores, np.array(["b"] * 300), np.random.default_rng(0))
    assert np.isnan(p[0, 1])
    assert np.isnan(smallest[0, 1])
    assert p[0, 0] < 1e-9


@pytest.mark.parametrize(("n_x", "n_y"), [(5, 5), (2, 5), (5, 2)])
@pytest.mark.parametrize("backbones", [1, 3])
def test_sums_are_those_of_the_permutations_one_by_one(n_x, n_y, backbones, monkeypatch):
    """A square's half, fewer columns moved back, whole numbers in float32, blocks: the same p."""
    monkeypatch.setattr(permutation, "PERMUTATIONS", 300)
    monkeypatch.setattr(permutation, "_ELEMENTS", 500)
    monkeypatch.setattr(permutation, "_COLUMNS", 2)
    rng = np.random.default_rng(n_x)
    groups = np.arange(15) % backbones
    x, y = (permutation._within(rng.integers(0, 5, (15, n)) / 5, groups) for n in (n_x, n_y))
    if n_x == n_y:
        y = x
    places = permutation._permutations_within(groups, 300, np.random.default_rng(9))
    sums = np.array([[[abs(a @ b[p]) for b in y.T] for a in x.T] for p in places])
    expected = (np.sum(sums >= np.abs(x.T @ y) - 1e-9, axis=0) + 1) / 301
    found = permutation._share_beyond(x, y, groups, np.random.default_rng(9))
    asked = np.tril(np.ones((n_x, n_y), bool)) if x is y else np.ones((n_x, n_y), bool)
    np.testing.assert_array_equal(found[asked], expected[asked])
