"""Planted duplicates and planted label errors are found, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.neighbors import duplicates
from pipeline.neighbors.banks import ArrayBank
from pipeline.neighbors.duplicates import near_duplicates, suspected_label_errors
from pipeline.neighbors.search import nearest


def clusters(seed, n=300, classes=3):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    centres = 8 * np.eye(classes, 20)
    return (centres[labels] + rng.standard_normal((n, 20))).astype(np.float32), labels


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_planted_copies_are_found(metric):
    train, _ = clusters(0)
    val, _ = clusters(1, n=90)
    val[5], val[7] = train[41], train[100] * np.float32(1 + 1e-6)
    train[200] = train[41]
    found = nearest(ArrayBank(train), ArrayBank(val), 20, metric)
    table = near_duplicates(found.distances, found.indices)
    assert sorted(zip(table["val"], table["train"], strict=True)) == [(5, 41), (5, 200), (7, 100)]


def test_data_without_copies_give_an_empty_table():
    train, _ = clusters(2)
    val, _ = clusters(3, n=50)
    found = nearest(ArrayBank(train), ArrayBank(val), 20, "euclidean")
    table = near_duplicates(found.distances, found.indices)
    assert list(table.columns) == ["val", "train"]
    assert table.empty


def test_planted_label_errors_are_found():
    train, labels = clusters(4)
    wrong = labels.copy()
    wrong[[10, 77]] = (labels[[10, 77]] + 1) % 3
    found = nearest(ArrayBank(train), ArrayBank(train), 20, "euclidean", own=np.arange(300))
    table = suspected_label_errors(found.indices, wrong, np.arange(300))
    assert sorted(table["image"]) == [10, 77]
    for row in table.itertuples():
        assert row.suggested == labels[row.image]
    some = np.array([77, 3])
    few = suspected_label_errors(found.indices[some], wrong, some)
    assert list(few["image"]) == [77]
    assert suspected_label_errors(found.indices, labels, np.arange(300)).empty


@given(st.lists(st.lists(st.integers(0, 4), min_size=7, max_size=7), min_size=1, max_size=6))
def test_the_suggestion_is_the_majority(named):
    labels = np.array([4, *[label for row in named for label in row]])
    indices = 1 + np.arange(len(labels) - 1).reshape(-1, 7)
    rows = np.zeros(len(named), int)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "AGREEMENT", 0.0)
        table = suspected_label_errors(indices, labels, rows)
    majority = [np.bincount(row).argmax() for row in named]
    assert table["suggested"].tolist() == [label for label in majority if label != 4]
