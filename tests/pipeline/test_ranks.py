"""Ranks: simultaneous sets and confidence sets against plain loops, coverage by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_cubes import make_cube, make_evidence

from pipeline.statistics.overall_ranks import overall_ranks, win_rates
from pipeline.statistics.panel import logit
from pipeline.statistics.rank_sets import (
    confidence_set,
    rank_intervals,
    ranks_of,
    simultaneous_sets,
)
from pipeline.statistics.ranks import ranks

VARIANT = "knn/study"


def problem(seed, models=6, draws=400, spread=0.02):
    rng = np.random.default_rng(seed)
    scores = rng.uniform(0.5, 0.6, models)
    root = rng.normal(0, spread, (models, models)) / np.sqrt(models)
    return scores, scores + rng.normal(size=(draws, models)) @ root


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_simultaneous_sets_equal_plain_loops(seed):
    scores, draws = problem(seed, spread=0.05)
    best, worst, better = simultaneous_sets(scores, draws, 0.95)
    m = len(scores)
    pairs = {(i, j) for i in range(m) for j in range(m) if i != j}
    t = {}
    for i, j in pairs:
        moved = draws[:, i] - draws[:, j]
        t[i, j] = ((scores[i] - scores[j]) / moved.std(),
                   (moved - (scores[i] - scores[j])) / moved.std())  # fmt: skip
    rejected = set()
    while pairs - rejected:
        critical = np.quantile(np.max([t[p][1] for p in pairs - rejected], axis=0), 0.95)
        new = {p for p in pairs - rejected if t[p][0] > critical}
        if not new:
            break
        rejected |= new
    assert {(i, j) for i, j in np.argwhere(better).tolist()} == rejected
    for i in range(m):
        assert best[i] == 1 + sum((j, i) in rejected for j in range(m))
        assert worst[i] == m - sum((i, j) in rejected for j in range(m))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_confidence_set_equals_plain_elimination(seed):
    scores, draws = problem(seed)
    found = confidence_set(scores, draws)
    left, highest = list(range(len(scores))), 0.0
    while len(left) > 1:
        statistics, null = {}, []
        for i in left:
            behind = np.mean([scores[j] - scores[i] for j in left])
            moved = np.mean([draws[:, j] - draws[:, i] for j in left], axis=0) - behind
            statistics[i] = behind / moved.std()
            null.append(moved / moved.std())
        worst = max(left, key=lambda i: statistics[i])
        exceeding = (np.max(null, axis=0) >= statistics[worst]).sum()
        highest = max(highest, (exceeding + 1) / (len(draws) + 1))
        assert found[worst] == pytest.approx(highest)
        left.remove(worst)
    assert found[left[0]] == 1


def test_models_that_agree_on_every_image_are_never_apart():
    draws = np.repeat(np.random.default_rng(0).normal(size=(300, 1)), 3, axis=1)
    best, worst, better = simultaneous_sets(np.zeros(3), draws, 0.95)
    assert (best.tolist(), worst.tolist(), better.any()) == ([1] * 3, [3] * 3, False)
    assert confidence_set(np.zeros(3), draws).tolist() == [1] * 3


def test_rank_intervals_and_ties():
    draws = np.array([[3.0, 2, 1]] * 99 + [[1.0, 2, 3]])
    low, high = rank_intervals(draws, 0.95)
    assert (low.tolist(), high.tolist()) == ([1, 2, 3], [1, 2, 3])
    assert ranks_of(np.array([0.5, 0.9, 0.5])).tolist() == [2.5, 1, 2.5]


def outcomes(truth, n, rng, shared=0.5):
    """Right where a model's own draw, or one that all share, is below its true accuracy."""
    common = rng.random(n)
    own = rng.random((len(truth), n))
    return np.where(rng.random(n) < shared, common, own) < np.asarray(truth)[:, None]


def ranked(hits, **evidence):
    cube = make_cube(hits.mean(axis=1)[:, None, None], [VARIANT], n_test=hits.shape[1])
    made = make_evidence(cube, hits={(VARIANT, "d0"): hits}, **evidence)
    return ranks(made).sel(protocol="knn", dataset="d0")


@pytest.mark.slow
@pytest.mark.parametrize("n", [400, 3_000])  # redrawn exactly, and by the normal distribution
def test_coverage_of_rank_sets_and_of_the_confidence_set(n):
    rng = np.random.default_rng(1)
    truth = np.array([0.80, 0.80, 0.78, 0.75, 0.75, 0.60, 0.40])
    # Of equal models both ranks are true: a set covers if it reaches from the lower one's best.
    highest = np.array([1, 1, 3, 4, 4, 6, 7])
    lowest = np.array([2, 2, 3, 5, 5, 6, 7])
    all_sets, best_kept, narrow = [], [], []
    for _ in range(250):
        found = ranked(outcomes(truth, n, rng))
        low, high = found["set_low"].values, found["set_high"].values
        all_sets.append(bool(((low <= highest) & (high >= lowest)).all()))
        best_kept.append((found["p_best"].values[:2] > 0.05).all())
        narrow.append(high[6] - low[6])
    assert np.mean(all_sets) >= 0.92
    assert np.mean(best_kept) >= 0.92
    assert np.mean(narrow) < 0.5  # and they say something: the worst model is known


def test_clear_and_equal_models():
    rng = np.random.default_rng(2)
    found = ranked(outcomes([0.9, 0.6, 0.6, 0.2], 800, rng))
    assert found["rank"].values[[0, 3]].tolist() == [1, 4]
    assert found["set_low"].values.tolist() == [1, 2, 2, 4]
    assert found["set_high"].values.tolist() == [1, 3, 3, 4]
    assert (found["p_best"].values > 0.05).tolist() == [True, False, False, False]


def test_unjudged_images_do_not_count():
    hits = outcomes([0.8, 0.5], 100, np.random.default_rng(3)).astype(float)
    hits[:, 60:] = np.nan
    found = ranked(hits)
    assert found["n_test"].values.tolist() == [60, 60]
    assert found["score"].values.tolist() == pytest.approx(hits[:, :60].mean(axis=1).tolist())


@pytest.mark.parametrize("gaps", [0, 0.2])
def test_win_rates_equal_plain_loops(gaps):
    rng = np.random.default_rng(4)
    scores = rng.integers(0, 4, (6, 5)).astype(float)
    scores[rng.random(scores.shape) < gaps] = np.nan
    weights = rng.dirichlet(np.ones(5))
    for i, rate in enumerate(win_rates(scores, weights)):
        shares = []
        for j in range(6):
            both = np.isfinite(scores[i]) & np.isfinite(scores[j])
            if i != j and both.any():
                won = (scores[i] > scores[j]) + 0.5 * (scores[i] == scores[j])
                shares.append(np.average(won[both], weights=weights[both]))
        assert rate == pytest.approx(np.mean(shares))


def test_overall_ranks_weigh_clusters_and_keep_gaps():
    rng = np.random.default_rng(5)
    values = rng.uniform(0.2, 0.9, (5, 4, 1))
    values[4, 2] = np.nan
    cube = make_cube(values, [VARIANT], cluster=["", "c", "c", "c"])
    found = overall_ranks(make_evidence(cube)).sel(protocol="knn")
    weights = [1 / 2, 1 / 6, 1 / 6, 1 / 6]
    z = logit(values[:, :, 0], np.array(1_000)) @ weights
    assert found["mean"].values[:4] == pytest.approx(1 / (1 + np.exp(-z[:4])))
    assert np.isnan(found["mean"].values[4])  # means over other data sets can't be compared
    assert np.isfinite(found["win_rate"].values[4])
    assert np.isnan(found["borda"]).all()  # the block is not complete
    assert found["datasets"].values.tolist() == [4, 4, 4, 4, 3]
    whole = overall_ranks(make_evidence(cube.isel(model=slice(0, 4)))).sel(protocol="knn")
    assert whole["borda"].mean().item() == pytest.approx(0.5)


def test_imported_scores_have_overall_ranks_but_no_intervals_over_images():
    values = np.random.default_rng(6).uniform(0.2, 0.9, (1_500, 8, 1))
    evidence = make_evidence(make_cube(values, [VARIANT]))
    assert "withheld" in ranks(evidence).attrs
    found = overall_ranks(evidence).sel(protocol="knn")
    assert sorted(found["rank"].values) == list(range(1, 1_501))
