"""kNN: the same votes as scikit-learn's classifier, exact matches and ties included."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier

from pipeline.knn import run_knn, search, variant_names, vote
from pipeline.study import Knn


def clouds(seed: int, n: int = 90, d: int = 12, classes: int = 4, shift: float = 0.0):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % classes)
    centres = rng.normal(0, 1, (classes, d))
    features = centres[labels] + rng.normal(0, 1, (n, d)) + shift
    return features.astype(np.float32), labels.astype(np.int64)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    k=st.integers(1, 30),
    metric=st.sampled_from(["euclidean", "cosine"]),
    weighting=st.sampled_from(["distance", "uniform"]),
    classes=st.integers(2, 6),
)
def test_votes_equal_scikit_learns(seed, k, metric, weighting, classes):
    train, labels = clouds(seed, classes=classes)
    queries, _ = clouds(seed + 1, n=25, classes=classes)
    peer = KNeighborsClassifier(k, weights=weighting, metric=metric, algorithm="brute")
    peer.fit(train.astype(np.float64), labels)
    expected = peer.predict_proba(queries.astype(np.float64))
    distances, neighbors = search(train, queries, k, metric)
    found = vote(distances, labels[neighbors], classes, weighting)
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-5)
    np.testing.assert_allclose(found.sum(axis=1), 1)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_distances_are_right_and_sorted(metric):
    train, _ = clouds(3, shift=500.0)  # far from the origin, where |a|² + |b|² - 2ab loses digits
    queries, _ = clouds(4, n=20, shift=500.0)
    a, b = train.astype(np.float64), queries.astype(np.float64)
    if metric == "cosine":
        a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
        exact = 1 - b @ a.T
    else:
        exact = np.linalg.norm(b[:, np.newaxis] - a, axis=2)
    distances, neighbors = search(train, queries, 7, metric)
    assert (np.diff(distances, axis=1) >= 0).all()
    loose = 1e-4 if metric == "euclidean" else 5e-2  # cosines there differ in the 7th digit
    np.testing.assert_allclose(
        distances, np.take_along_axis(exact, neighbors, 1), rtol=loose, atol=1e-9
    )


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_exact_matches_alone_vote(data):
    k = data.draw(st.integers(1, 6))
    row = st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0]), min_size=k, max_size=k)
    distances = np.sort(np.array(data.draw(st.lists(row, min_size=1, max_size=5))), axis=1)
    labels = np.array(
        [data.draw(st.lists(st.integers(0, 2), min_size=k, max_size=k)) for _ in distances]
    )
    found = vote(distances, labels, 3, "distance")
    for i, (d, names) in enumerate(zip(distances, labels, strict=True)):
        weights = (d == 0).astype(float) if (d == 0).any() else 1 / d
        naive = np.array([weights[names == c].sum() for c in range(3)]) / weights.sum()
        np.testing.assert_allclose(found[i], naive)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_an_image_that_is_in_train_gets_its_own_label(metric):
    train, labels = clouds(5, n=200, d=300)
    distances, neighbors = search(train, train[:50], 20, metric)
    assert (neighbors[:, 0] == np.arange(50)).all()
    probabilities = vote(distances, labels[neighbors], 4, "distance")
    assert (probabilities[np.arange(50), labels[:50]] > 0.99).all()


def test_two_equal_train_rows_of_two_classes_tie():
    train, labels = clouds(6, n=60, d=700)
    train[1], labels[0], labels[1] = train[0], 0, 1
    distances, neighbors = search(train, train[:1], 5, "euclidean")
    probabilities = vote(distances, labels[neighbors], 4, "distance")
    np.testing.assert_allclose(probabilities[0, :2], 0.5, atol=1e-6)


def test_zero_rows_have_a_cosine_distance():
    train, labels = clouds(7)
    train[0] = 0
    queries = np.zeros((1, train.shape[1]), np.float32)
    distances, neighbors = search(train, queries, 3, "cosine")
    assert np.isfinite(vote(distances, labels[neighbors], 4, "distance")).all()


def test_every_combination_is_an_outcome_of_its_own_name():
    settings_ = Knn(k=[1, 5], weighting=["distance", "uniform"])
    train, labels = clouds(8)
    val, val_labels = clouds(9, n=30)
    outcomes = run_knn(settings_, train, labels, val, val_labels, 4)
    names = [o.variant for o in outcomes]
    assert sorted(names) == sorted(variant_names(settings_))
    assert len(set(names)) == len(names) == 16
    by_name = {o.variant: o for o in outcomes}
    alone = run_knn(Knn(k=[5], weighting=["uniform"]), train, labels, val, val_labels, 4)
    for outcome in alone:  # a k from a larger search is that k
        np.testing.assert_array_equal(outcome.predicted, by_name[outcome.variant].predicted)


def test_statistics_come_from_train_alone():
    train, labels = clouds(10)
    val, val_labels = clouds(11, n=40)
    together = run_knn(Knn(k=[5]), train, labels, val, val_labels, 4)
    half = run_knn(Knn(k=[5]), train, labels, val[:7], val_labels[:7], 4)
    for whole, part in zip(together, half, strict=True):
        np.testing.assert_array_equal(whole.predicted[:7], part.predicted)


def test_number_of_classes_comes_from_train():
    train, labels = clouds(12, classes=6)
    val, val_labels = clouds(13, n=20, classes=6)
    few = val_labels < 2  # val shows two classes only; ranks still go over six
    (outcome,) = run_knn(
        Knn(k=[90], metric=["euclidean"], normalization=["none"]),
        train, labels, val[few], val_labels[few], 6,
    )  # fmt: skip
    assert outcome.rank.max() <= 6
    assert set(outcome.predicted) <= set(range(6))
