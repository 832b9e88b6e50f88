"""Votes: scikit-learn's probabilities, DINO's formula, and choices that see no test data."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier

from cache.errors import ProbelineError
from pipeline.heads.normalization import unit_length
from pipeline.neighbors import votes
from pipeline.neighbors.banks import ArrayBank
from pipeline.neighbors.leave_one_out import (
    LeaveOneOut,
    choose,
    leave_one_out,
    stratified,
    without_twins,
)
from pipeline.neighbors.search import nearest
from pipeline.neighbors.votes import Voting, judge, vote
from pipeline.probes.scoring import make_outcome
from pipeline.probes.transfer_votes import neighbor_votes
from pipeline.study.knn import PRESETS

KS = (1, 3, 5, 10, 20, 50, 100)
ALL = [Voting(k, w, 0.07 if w == "softmax" else None) for w in votes.WEIGHTINGS for k in KS]


def clouds(seed, n=400, d=12, classes=6):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % classes)
    centres = np.random.default_rng(99).normal(0, 0.5, (classes, d))
    return (centres[labels] + rng.normal(0, 1, (n, d))).astype(np.float32), labels


def neighbors(metric="cosine", k=100, n=60):
    bank, labels = clouds(0)
    queries, truth = clouds(1, n=n)
    found = nearest(ArrayBank(bank), ArrayBank(queries), k, metric)
    return found.distances, labels[found.indices], truth


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("weighting", ["uniform", "distance"])
@pytest.mark.parametrize("k", [1, 7, 20])
def test_probabilities_are_scikit_learns(metric, weighting, k):
    bank, labels = clouds(2)
    queries, _ = clouds(3, n=80)
    queries[:5] = bank[:5]
    bank[7] = bank[1]
    if k == 1:  # which of two equal rows scikit-learn takes depends on the processor
        labels[7] = labels[1]
    # scikit-learn's cosine distance of equal rows is 1e-16, ours is 0: give it lengths instead.
    peer = KNeighborsClassifier(k, weights=weighting, algorithm="brute")
    if metric == "cosine":
        peer.set_params(metric="precomputed", weights=weighting)
        a, b = (x.astype(np.float64) for x in (queries, bank))
        a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
        table = ((a[:, np.newaxis] - b) ** 2).sum(axis=2) / 2
        expected = peer.fit(np.zeros((len(b), len(b))), labels).predict_proba(table)
    else:
        expected = peer.fit(bank.astype(np.float64), labels).predict_proba(
            queries.astype(np.float64)
        )
    found = nearest(ArrayBank(bank), ArrayBank(queries), 50, metric)
    shares = vote(found.distances, labels[found.indices], Voting(k, weighting), 6)
    np.testing.assert_allclose(shares, expected, atol=1e-6)


@pytest.mark.parametrize("k", [10, 20, 100])
@pytest.mark.parametrize("temperature", [0.07, 0.01, 1.0])
def test_softmax_is_dinos_formula(k, temperature):
    """exp(similarity / T) summed over the k most similar unit vectors, one query at a time."""
    bank, labels = clouds(4)
    queries, _ = clouds(5, n=30)
    train, test = (x.astype(np.float64) for x in unit_length(bank, queries))
    found = nearest(ArrayBank(bank), ArrayBank(queries), 100, "cosine")
    voting = Voting(k, "softmax", temperature)
    shares = vote(found.distances, labels[found.indices], voting, 6)
    for query, share in zip(test, shares, strict=True):
        similarity = train @ query
        top = np.argsort(-similarity)[:k]
        weight = np.exp(similarity[top] / temperature)
        expected = [weight[labels[top] == c].sum() / weight.sum() for c in range(6)]
        np.testing.assert_allclose(share, expected, atol=2e-5)


def test_nothing_that_decides_a_number_has_a_default():
    for what, name in ((Voting, "k"), (Voting, "weighting"), (vote, "n_classes")):
        assert inspect.signature(what).parameters[name].default is inspect.Parameter.empty
    distances, names, _ = neighbors()
    with pytest.raises(ProbelineError, match="temperature"):
        Voting(5, "softmax")
    with pytest.raises(ProbelineError, match="temperature"):
        Voting(5, "distance", 0.07)
    with pytest.raises(ProbelineError, match="temperature"):
        Voting(5, "softmax", 0.0)
    with pytest.raises(ProbelineError, match="k = 101"):
        vote(distances, names, Voting(101, "uniform"), 6)
    with pytest.raises(ProbelineError, match="weighting"):
        Voting(5, "gaussian")


def test_temperatures_near_zero_and_tiny_distances_stay_finite():
    distances = np.array([[1e-320, 1e-310, 1.0], [0.5, 0.5, 2.0]])
    names = np.array([[1, 0, 0], [2, 0, 1]])
    for shares in (
        vote(distances, names, Voting(3, "distance"), 3),
        vote(distances, names, Voting(3, "softmax", 1e-9), 3),
    ):
        assert np.isfinite(shares).all()
        np.testing.assert_allclose(shares.sum(axis=1), 1)
    np.testing.assert_allclose(shares[1], [0.5, 0, 0.5])


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_exact_matches_alone_vote(data):
    k = data.draw(st.integers(1, 6))
    row = st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0]), min_size=k, max_size=k)
    distances = np.sort(np.array(data.draw(st.lists(row, min_size=1, max_size=5))), axis=1)
    named = st.lists(st.integers(0, 2), min_size=k, max_size=k)
    labels = np.array([data.draw(named) for _ in distances])
    found = vote(distances, labels, Voting(k, "distance"), 3)
    for i, (d, names) in enumerate(zip(distances, labels, strict=True)):
        weights = (d == 0).astype(float) if (d == 0).any() else 1 / d
        naive = np.array([weights[names == c].sum() for c in range(3)]) / weights.sum()
        np.testing.assert_allclose(found[i], naive)


@pytest.mark.parametrize("block_bytes", [1, 1000, 8 << 20])
def test_verdicts_are_the_outcomes_of_the_probabilities(monkeypatch, block_bytes):
    monkeypatch.setattr(votes, "BLOCK_BYTES", block_bytes)
    distances, names, truth = neighbors()
    distances[0, :3] = 0
    verdicts = judge(distances, names, truth, 6, ALL)
    assert len(verdicts) == 21
    for voting, verdict in verdicts.items():
        shares = vote(distances, names, voting, 6)
        outcome = make_outcome("x", shares, truth, seconds=0, backend="x")
        np.testing.assert_array_equal(verdict.predicted, outcome.predicted)
        np.testing.assert_array_equal(verdict.rank, outcome.rank)
        np.testing.assert_allclose(verdict.probability, shares[np.arange(60), truth], atol=1e-12)
        np.testing.assert_allclose(verdict.confidence, outcome.confidence, atol=1e-6)


def test_equal_votes_are_ordered_by_class():
    verdict = judge(
        np.ones((3, 4)), np.tile([5, 2, 5, 2], (3, 1)), np.array([2, 5, 0]), 7,
        [Voting(4, "uniform")],
    )[Voting(4, "uniform")]  # fmt: skip
    np.testing.assert_array_equal(verdict.predicted, [2, 2, 2])
    np.testing.assert_array_equal(verdict.rank, [1, 2, 7])  # class 0: no vote, no place before last
    np.testing.assert_allclose(verdict.probability, [0.5, 0.5, 0])


@settings(max_examples=50, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=8),
    most=st.integers(1, 200),
    seed=st.integers(0, 99),
)
def test_a_stratified_draw_keeps_the_shares(sizes, most, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    rows = stratified(labels, most, seed)
    assert len(np.unique(rows)) == len(rows) == min(most, len(labels))
    assert (np.diff(rows) > 0).all()
    expected = np.array(sizes) * len(rows) / len(labels)
    drawn = np.bincount(labels[rows], minlength=len(sizes))
    assert (np.abs(drawn - expected) < 1).all()
    np.testing.assert_array_equal(rows, stratified(labels, most, seed))


def test_near_duplicates_do_not_vote_for_themselves():
    distances = np.array([[0.0, 1e-9, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, 3.0]])
    places, room = without_twins(distances)
    np.testing.assert_array_equal(room, [2, 4, 1])
    np.testing.assert_array_equal(places, [[2, 3, 3, 3], [0, 1, 2, 3], [3, 3, 3, 3]])


def test_the_choice_is_the_best_of_a_slow_leave_one_out():
    bank, labels = clouds(6, n=120, d=4, classes=3)
    bank[1], labels[1] = bank[0], (labels[0] + 1) % 3  # twins of two classes
    options = [Voting(k, w) for k in (1, 5, 15, 40) for w in ("uniform", "distance")]
    rows = np.arange(120)
    found = nearest(ArrayBank(bank), ArrayBank(bank), 60, "euclidean", own=rows)
    trial = leave_one_out(found.distances, labels[found.indices], labels, 3, options)
    choice = choose([trial])
    scores = []
    for option in options:
        hits = 0
        for i in rows:
            others = np.delete(rows, [0, 1] if i < 2 else [i])
            peer = KNeighborsClassifier(option.k, weights=option.weighting, algorithm="brute")
            peer.fit(bank[others].astype(np.float64), labels[others])
            hits += peer.predict(bank[[i]].astype(np.float64))[0] == labels[i]
        scores.append(hits / 120)
    assert choice.accuracy == pytest.approx(max(scores))
    assert choice.queries == 120
    assert choice.voting == options[int(np.argmax(scores))]
    assert choice.voting.k > 1  # a single neighbour is not the best on noisy clouds


def trial(room, right, ks=(1, 5, 9)):
    """Leave-one-out of ten images of which each k gets so many right, the first ones."""
    hits = np.arange(10) < np.array(right)[:, np.newaxis]
    votings = tuple(Voting(k, "uniform") for k in ks)
    return LeaveOneOut(votings, hits, np.array(room))


def test_spaces_are_compared_on_the_same_images():
    plain = trial([9] * 10, [8, 8, 3])
    copies = trial([0] * 3 + [9] * 7, [9, 9, 9])  # three images have nothing but copies
    choice = choose([plain, copies])
    assert (choice.space, choice.voting.k) == (1, 1)
    assert (choice.accuracy, choice.queries) == (6 / 7, 7)
    assert choose([plain, plain]).space == 0  # of equals, the first


def test_a_k_that_most_images_can_not_have_is_not_compared():
    choice = choose([trial([9] * 4 + [5] * 6, [1, 2, 10])])
    assert (choice.voting.k, choice.accuracy, choice.queries) == (5, 0.2, 10)


def test_where_all_are_copies_nothing_is_chosen():
    bank = np.zeros((30, 2), np.float32)
    found = nearest(ArrayBank(bank), ArrayBank(bank), 10, "euclidean", own=np.arange(30))
    options = [Voting(5, "uniform"), Voting(5, "distance")]
    names = np.zeros((30, 10), int)
    choice = choose([leave_one_out(found.distances, names, np.zeros(30, int), 2, options)])
    assert (choice.voting, choice.accuracy, choice.queries) == (options[0], None, 0)


@pytest.mark.parametrize("backend", ["numpy", "sklearn", "torch"])
@pytest.mark.parametrize("variant", PRESETS["paper"], ids=lambda variant: variant.name)
def test_transferred_votes_are_scikit_learns_by_every_backend(variant, backend):
    rng = np.random.default_rng(8)
    bank = (rng.standard_normal((300, 6)) * np.arange(1, 7)).astype(np.float32)
    queries = rng.standard_normal((25, 6)).astype(np.float32)
    labels = rng.integers(-1, 3, 300)  # -1: nobody's neighbour, but part of the statistics
    slabs = neighbor_votes(variant, ArrayBank(bank), labels, ArrayBank(queries), 3, backend)
    found = np.concatenate(list(slabs))
    a, b = bank.astype(np.float64), queries.astype(np.float64)
    if variant.normalization == "zscore":
        a, b = ((x - bank.mean(0, np.float64)) / bank.std(0, dtype=np.float64) for x in (a, b))
    peer = KNeighborsClassifier(20, weights="distance", algorithm="brute")
    expected = peer.fit(a[labels >= 0], labels[labels >= 0]).predict_proba(b)
    np.testing.assert_allclose(found, expected, atol=1e-6)
