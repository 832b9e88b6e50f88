"""Pairs of models tested together: against plain loops, and by simulation of planted truths."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import CONDITIONS, frequencies, outcomes, paired_of
from scipy import stats

from pipeline.statistics.image_draws import normal_draws
from pipeline.statistics.pair_tests import FEW_DISCORDANT, Paired, compare_pairs
from pipeline.statistics.rank_sets import implied
from pipeline.statistics.standing import standing

CONFIDENCE = 0.95


def compared(hits, draws=500, seed=0, confidence=CONFIDENCE):
    made = paired_of(hits)
    rng = np.random.default_rng(seed)
    drawn = normal_draws(made.scores, made.covariance, draws, rng)
    return compare_pairs(made, drawn, confidence), drawn


def plain_step_down(t, noise, level):
    """Romano & Wolf's rejections by brute force: t and noise by ordered pair."""
    rejected = set()
    while True:
        left = [pair for pair in t if pair not in rejected]
        if not left:
            return rejected
        largest = np.max([noise[pair] for pair in left], axis=0)
        p = {pair: (1 + (largest >= t[pair]).sum()) / (len(largest) + 1) for pair in left}
        new = {pair for pair in left if p[pair] <= level}
        if not new:
            return rejected
        rejected |= new


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_pairs_with_many_discordant_images_are_stepped_down(seed):
    rng = np.random.default_rng(seed)
    found, drawn = compared(outcomes(rng.uniform(0.4, 0.65, 5), 400, rng), seed=seed)
    m, scores = 5, found.paired.scores
    pairs = [(i, j) for i in range(m) for j in range(m) if i != j]
    covariance, noise = found.paired.covariance, drawn - scores
    error = {
        (i, j): np.sqrt(covariance[i, i] + covariance[j, j] - 2 * covariance[i, j])
        for i, j in pairs
    }
    t = {(i, j): (scores[i] - scores[j]) / error[i, j] for i, j in pairs}
    moved = {(i, j): noise[:, i] - noise[:, j] for i, j in pairs}
    moved = {pair: of / of.std(ddof=1) for pair, of in moved.items()}
    rejected = plain_step_down(t, moved, 1 - CONFIDENCE)
    while True:  # and what follows from them
        further = {(i, k) for i, j in rejected for a, k in rejected if j == a} - rejected
        if not further:
            break
        rejected |= further
    assert set(map(tuple, np.argwhere(found.better).tolist())) == rejected
    best, worst = found.rank_sets
    for i in range(m):
        assert best[i] == 1 + sum((j, i) in rejected for j in range(m))
        assert worst[i] == m - sum((i, j) in rejected for j in range(m))


def test_pairs_with_few_discordant_images_are_exact():
    hits = np.ones((4, 300), bool)
    hits[1, :12], hits[2, 12:14], hits[3, :200] = False, False, False
    found, _ = compared(hits)
    wins = found.paired.wins
    raw = {
        (i, j): stats.binomtest(int(wins[i, j]), int(wins[i, j] + wins[j, i])).pvalue
        for i, j in zip(*np.triu_indices(4, 1), strict=True)
    }
    few = [pair for pair in raw if wins[pair] + wins[pair[::-1]] < FEW_DISCORDANT]
    assert sorted(few) == [(0, 1), (0, 2), (1, 2)]
    largest = 0.0
    for left, pair in zip((3, 2, 1), sorted(few, key=raw.get), strict=True):
        # Holm among the few, who may use half of the error, as half of the pairs are theirs.
        largest = max(largest, raw[pair] * left * 2)
        assert found.p_corrected[pair] == pytest.approx(min(largest, 1))
    assert found.better[0, 1]
    assert not found.better[0, 2]
    for pair, p in raw.items():
        assert found.p[pair] == pytest.approx(p)


def test_all_right_against_all_wrong_differ_without_any_variance():
    found, _ = compared(np.array([[True] * 100, [False] * 100]))
    assert found.within_chance.tolist() == [True, False]
    assert found.behind_high.tolist() == [0, 1]


@pytest.mark.parametrize("images", [1, 2, 5])
def test_a_handful_of_images_tells_nothing(images):
    found, _ = compared(np.array([[True] * images, [False] * images]))
    assert found.within_chance.all()
    assert not found.differs.any()
    assert found.behind_high.tolist() == [1 / images, 1]


@pytest.mark.parametrize("rate", [0.0, 0.4, 1.0])
def test_identical_models_are_tied_and_the_tie_has_a_cost(rate):
    row = np.random.default_rng(0).random(150) < rate
    found, _ = compared(np.stack([row] * 4))
    assert found.within_chance.all()
    z = stats.norm.isf(0.05 / 3)  # agreeing on 150 images is not being equal
    np.testing.assert_allclose(found.behind_high, z**2 / (150 + z**2))
    assert np.isfinite(found.images_to_tell(0.01)[1:]).all()


def test_what_follows_is_found_and_circles_are_not_made():
    chain = np.zeros((4, 4), bool)
    chain[0, 1] = chain[1, 2] = chain[2, 3] = True
    assert implied(chain).sum() == 6
    assert np.array_equal(implied(chain), np.triu(np.ones((4, 4), bool), 1))


def test_a_pair_that_is_noisy_itself_differs_by_what_lies_between():
    near = 1e-4 - 5e-7  # A with B, and B with C, move together; A with C does not
    covariance = np.array([[1e-4, near, 0], [near, 1e-4, near], [0, near, 1e-4]])
    made = Paired(("a", "b", "c"), np.array([0.52, 0.51, 0.50]), covariance, 2_000)
    found = compare_pairs(made, None, CONFIDENCE)
    assert found.p[0, 2] > 0.1
    assert found.better[0, 2]
    assert found.p_corrected[0, 2] <= 0.05 + 1e-12


def test_more_models_than_max_t_takes_are_corrected_by_holm():
    made = paired_of(outcomes(np.linspace(0.3, 0.8, 6), 600, np.random.default_rng(1)))
    found = compare_pairs(made, None, CONFIDENCE)
    maxed = compare_pairs(made, normal_draws(made.scores, made.covariance, 2_000,
                                             np.random.default_rng(0)), CONFIDENCE)  # fmt: skip
    assert (found.p_corrected >= found.p).all()
    assert found.better.sum() >= 8
    assert not (found.better & ~maxed.better).any()


def test_shares_of_draws_are_no_coin_tosses_alone():
    """Where images weigh differently the larger one of both p counts."""
    made = paired_of(outcomes([0.99, 0.97], 200, np.random.default_rng(2)))
    exact = compare_pairs(made, normal_draws(made.scores, made.covariance, 99,
                                             np.random.default_rng(0)), CONFIDENCE)  # fmt: skip
    pooled = Paired(made.models, made.scores, made.covariance, made.images, made.wins)
    both = compare_pairs(pooled, normal_draws(made.scores, made.covariance, 99,
                                              np.random.default_rng(0)), CONFIDENCE)  # fmt: skip
    assert (both.p >= exact.p - 1e-12).all()


@settings(max_examples=60, deadline=None)
@given(
    models=st.integers(2, 9),
    images=st.sampled_from([1, 2, 7, 30, 120, 400]),
    middle=st.sampled_from([0.0, 0.1, 0.5, 0.9, 0.99, 1.0]),
    spread=st.sampled_from([0.0, 0.02, 0.2]),
    copies=st.booleans(),
    seed=st.integers(0, 10_000),
)
def test_set_ranks_intervals_and_tie_cost_never_contradict_each_other(
    models, images, middle, spread, copies, seed
):
    rng = np.random.default_rng(seed)
    rates = np.clip(middle + spread * rng.normal(size=models), 0, 1)
    hits = outcomes(rates, images, rng)
    if copies:
        hits[1] = hits[0]
    found, _ = compared(hits, draws=200, seed=seed)
    told = standing(found, margin=0.01)
    scores, tied = found.paired.scores, told["within_chance"] == 1
    assert tied[scores == scores.max()].all(), "nobody has a higher score, so nobody is better"
    assert np.array_equal(tied, told["best_rank"] == 1)
    assert (told["best_rank"] <= told["rank"]).all()
    assert (told["rank"] <= told["worst_rank"]).all()
    assert (told["behind_high"] >= told["behind"] - 1e-12).all()
    alone = tied & (tied.sum() == 1)
    assert np.array_equal(told["behind_high"] == 0, alone)
    assert np.array_equal(told["worst_rank"] == 1, alone)
    assert np.array_equal(told["as_good"] == 1, told["behind_high"] < 0.01)
    asked = tied & (found.leader != np.arange(models))
    assert np.array_equal(np.isfinite(told["images_to_tell"]), asked)
    # Pairs: one statement in four forms.
    better, worse = found.better, found.better.T
    assert not (better & worse).any()
    assert np.array_equal(implied(better), better)
    assert (found.difference[better] > 0).all()
    assert ((found.p_corrected <= 0.05 + 1e-12) == found.differs)[~np.eye(models, dtype=bool)].all()
    apart = ~found.differs
    assert (found.low[better] >= 0).all()
    assert ((found.low <= 0) & (found.high >= 0))[apart].all()
    assert (found.low <= found.difference + 1e-12).all()
    assert (found.high >= found.difference - 1e-12).all()
    np.testing.assert_allclose(found.low, -found.high.T)


@pytest.mark.slow
@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda c: c.words)
def test_planted_truths_are_found_as_often_as_promised(condition):
    """250 draws a condition: docs/statistics.md has 2,000 (benchmarks/coverage.py)."""
    seen = frequencies(condition, 250, 500, seed=11)
    least = 0.95 - 3 * np.sqrt(0.95 * 0.05 / 250)  # three standard errors of the simulation
    assert seen.best_kept >= least
    assert seen.limits_cover >= least
    assert seen.intervals_cover >= least
    assert seen.none_wrong >= least
    assert seen.alone >= condition.alone_at_least
