"""The shortcut audit: null p-values are uniform, planted tints raise the measures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_groups import CLASSES, GROUPS, grouped, planted
from made_images import TARGET, rows_of
from scipy import stats
from scipy.stats.contingency import association as scipy_association
from sklearn.neighbors import KNeighborsClassifier

from pipeline.statistics import group_shortcuts as audit
from pipeline.statistics.group_drop import DERIVED, RECORDED, paired_drop
from pipeline.statistics.group_shortcuts import group_labels, group_neighbors
from pipeline.statistics.group_tests import agreements, association, robustness
from pipeline.statistics.single_images import LeftOut


def nearest(features, k):
    distances = ((features[:, None] - features[None]) ** 2).sum(axis=2)
    np.fill_diagonal(distances, np.inf)
    return np.argsort(distances, axis=1)[:, :k].astype(np.int32)


def read(labels, groups, features, permutations=99, seed=0):
    queries = np.arange(len(labels), dtype=np.int32)
    [found] = agreements(labels, groups, [(queries, nearest(features, 20))],
                         np.random.default_rng(seed), 5, permutations)  # fmt: skip
    return found


@given(st.integers(0, 2**32 - 1), st.integers(2, 5), st.integers(2, 5))
@settings(max_examples=12, deadline=None)
def test_v_is_scipys_and_corrected_towards_nothing(seed, rows, columns):
    table = np.random.default_rng(seed).integers(1, 30, (rows, columns))
    found = association(table, np.random.default_rng(0))
    assert found.plain == pytest.approx(scipy_association(table, method="cramer"))
    n, phi2 = table.sum(), stats.chi2_contingency(table, correction=False).statistic / table.sum()
    left = max(0, phi2 - (rows - 1) * (columns - 1) / (n - 1))
    sizes = (r - (r - 1) ** 2 / (n - 1) for r in (rows, columns))
    assert found.value == pytest.approx(np.sqrt(left / (min(sizes) - 1)))
    assert found.value <= found.plain + 1e-12


def test_v_of_one_to_one_is_one_and_of_one_group_nothing():
    one = association(np.diag([5, 7, 9]), np.random.default_rng(0))
    assert (one.value, one.plain) == (pytest.approx(1), pytest.approx(1))
    assert one.p == 1 / 1000
    assert np.isnan(association(np.array([[5], [7]]), np.random.default_rng(0)).value)


def test_null_p_values_of_both_tests_are_uniform():
    of_labels, of_neighbors = [], []
    for seed in range(150):
        labels, groups, features = planted(np.random.default_rng(seed), 90, tint=0)
        of_neighbors.append(read(labels, groups, features, seed=seed).p)
        table = np.zeros((CLASSES, GROUPS), np.int64)
        np.add.at(table, (labels, groups), 1)
        of_labels.append(association(table, np.random.default_rng(1_000 + seed)).p)
    for found in (of_labels, of_neighbors):
        # Of 1,500 draws 4.5 and 5.1% were at most .05, and equal tables made p a little too large.
        assert stats.kstest(found, "uniform").pvalue > 0.01
        assert np.mean(np.array(found) <= 0.05) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 150)


def test_rising_tints_raise_the_agreement_and_lower_the_robustness():
    strengths, indexes, p = [], [], []
    for tint in (0, 0.5, 1, 2, 4, 8):
        rng = np.random.default_rng(1)
        labels, groups, features = planted(rng, 240, tint)
        found = read(labels, groups, features)
        strengths.append(found.strength)
        p.append(found.p)
        queries = np.arange(len(labels), dtype=np.int32)
        indexes.append(robustness(labels, groups, queries, nearest(features, 10)).value)
    assert (np.diff(strengths) > 0).all()
    assert abs(strengths[0]) < 0.06
    assert strengths[-1] > 0.8
    assert (np.diff(indexes) < 0).all()
    assert p[0] > 0.05
    assert p[2:] == [0.01] * 4


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_agreement_and_robustness_are_what_counting_by_hand_gives(seed):
    rng = np.random.default_rng(seed)
    labels, groups = rng.integers(0, 2, 14), rng.integers(-1, 3, 14)
    near = nearest(rng.normal(size=(14, 2)), 6)
    shares, same, other = [], 0, 0
    for i in range(14):
        if groups[i] < 0:
            continue
        own = [j for j in near[i] if labels[j] == labels[i] and groups[j] >= 0][:3]
        if own:
            shares.append(np.mean([groups[j] == groups[i] for j in own]))
        for j in near[i]:
            same += labels[j] == labels[i] and groups[j] not in (-1, groups[i])
            other += labels[j] != labels[i] and groups[j] == groups[i]
    rows = np.arange(14, dtype=np.int32)
    [found] = agreements(labels, groups, [(rows, near)], rng, 3, 3)
    assert found.images == len(shares)
    assert found.value == (pytest.approx(np.mean(shares)) if shares else pytest.approx(
        np.nan, nan_ok=True))  # fmt: skip
    index = robustness(labels, groups, rows, near)
    assert index.pairs == same + other
    if index.pairs:
        assert index.value == pytest.approx(same / index.pairs)


def told(*of, **also):
    evidence = grouped(*of, **also)
    [labels], [models] = rows_of(group_labels(evidence)), rows_of(group_neighbors(evidence))
    return labels | models


def test_verdicts():
    rng = np.random.default_rng(0)
    of = {
        audit.UNREAD: planted(rng, 200, tint=0),
        audit.READ: planted(rng, 200, tint=4),
        audit.SHORTCUT: planted(rng, 200, tint=4, follows=0.6),
        audit.APART: planted(rng, 200, tint=4, follows=1),
        audit.FEW: planted(rng, 24, tint=4),
    }
    for verdict, planting in of.items():
        assert told(*planting)["verdict"] == verdict


def test_a_group_that_is_one_to_one_with_the_class_is_said():
    labels, groups, features = planted(np.random.default_rng(0), 120, tint=2, follows=1)
    found = told(labels, groups, features)
    assert (found["relation"], found["v_plain"]) == (audit.ONE_TO_ONE, pytest.approx(1))
    assert np.isnan(found["agreement"])  # no class has two groups
    merged = told(labels, np.minimum(groups, 1), features)
    assert (merged["relation"], merged["verdict"]) == (audit.CLASS_TELLS, audit.APART)
    patients = told(labels, 2 * labels + np.arange(120) % 2, features)
    assert patients["relation"] == audit.GROUP_TELLS
    assert patients["verdict"] != audit.APART


def test_groups_of_one_image_or_of_test_images_alone_say_nothing_of_embeddings():
    labels, _, features = planted(np.random.default_rng(0), 60, tint=0)
    evidence = grouped(labels, np.arange(60) % 6, features)
    own = [f"patient {i}" for i in range(60)]
    for train, val in ((own, [""] * CLASSES), ([""] * 60, list("uvw"))):
        evidence = replace(evidence)  # another one, as results are remembered
        evidence.images.of_groups = {"train": train, "val": val}
        [row] = rows_of(group_neighbors(evidence))
        assert (row["images"], row["verdict"] in (audit.FEW, audit.APART)) == (0, True)
        assert np.isnan(row["agreement"])
        assert len(rows_of(group_labels(evidence))) == 1


def test_images_without_a_group_are_counted():
    labels, groups, features = planted(np.random.default_rng(0), 120, tint=2)
    groups[:20] = -1
    found = told(labels, groups, features)
    assert (found["images"], found["without_group"]) == (100, 20 + CLASSES)


def test_a_group_left_out_gives_the_answers_of_knn_without_its_images():
    labels, groups, features = planted(np.random.default_rng(0), 90, tint=3, follows=0.5)
    found = told(labels, groups, features)
    right = np.zeros(90, bool)
    for group in range(GROUPS):
        out = groups == group
        knn = KNeighborsClassifier(5).fit(features[~out], labels[~out])
        right[out] = knn.predict(features[out]) == labels[out]
    assert found["held_out"] == pytest.approx(right.mean())
    assert found["drop"] == pytest.approx(found["accuracy"] - found["held_out"])
    assert found["drop_low"] <= found["drop"] <= found["drop_high"]
    assert (found["drop_from"], found["drop_groups"], found["drop_over"]) == (DERIVED, 4, "images")
    recorded = LeftOut(np.arange(90, dtype=np.int32)[::-1], right[::-1])
    again = told(labels, groups, features, left_out=recorded)
    assert again["drop_from"] == RECORDED
    assert again["drop"] == found["drop"]


def test_without_a_tint_new_groups_cost_nothing():
    drops = [told(*planted(np.random.default_rng(s), 90, tint=0))["drop"] for s in range(12)]
    assert abs(np.mean(drops)) < 3 * np.std(drops) / np.sqrt(12)
    tinted = told(*planted(np.random.default_rng(0), 90, tint=5, follows=0.6))
    assert tinted["drop_low"] > 0.05


def test_of_five_groups_or_more_the_interval_is_over_groups():
    rng = np.random.default_rng(0)
    groups = np.arange(100) % 5
    of = paired_drop(np.ones(100), rng.random(100) < 0.8, groups, 0.95, "here")
    assert (of.over, of.groups, of.images) == ("groups", 5, 100)
    assert of.low < of.value < of.high


def test_data_without_groups_says_what_to_name():
    labels, groups, features = planted(np.random.default_rng(0), 60, tint=0)
    evidence = grouped(labels, np.full_like(groups, -1), features)
    for statistic in (group_labels, group_neighbors):
        assert "columns.group" in statistic(evidence).attrs["withheld"]


def test_without_stored_neighbours_the_labels_alone_are_told():
    labels, groups, features = planted(np.random.default_rng(0), 60, tint=0)
    evidence = grouped(labels, groups, features)
    evidence.images.train = (labels, {})
    assert rows_of(group_labels(evidence))[0]["images"] == 60
    assert group_neighbors(evidence).attrs["withheld"] == (
        f"a on {TARGET}: no neighbours are stored"
    )
