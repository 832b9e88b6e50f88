"""Errors by class against scikit-learn's confusion matrix; intervals against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_cubes import make_cube, make_evidence
from made_images import TARGET, VARIANT, MadeImages, evidence_of, rows_of
from scipy import stats
from sklearn.metrics import confusion_matrix

from pipeline.statistics.class_errors import class_accuracy, confusions
from pipeline.statistics.looked_at import looked_at
from pipeline.statistics.shares import wilson

OUTCOMES = st.integers(2, 6).flatmap(
    lambda classes: st.lists(
        st.tuples(*[st.integers(0, classes - 1)] * 3), min_size=1, max_size=60
    ).map(lambda rows: (classes, np.array(rows)))
)


@given(OUTCOMES)
@settings(max_examples=25)
def test_classes_and_pairs_are_those_of_the_confusion_matrix(drawn):
    classes, (labels, *said) = drawn[0], drawn[1].T
    names = tuple(f"k{i}" for i in range(classes))
    evidence = evidence_of(MadeImages(("a", "b"), labels, said, classes=names))
    of_models = {
        model: confusion_matrix(labels, p, labels=range(classes))
        for model, p in zip(("a", "b"), said, strict=True)
    }
    table = rows_of(class_accuracy(evidence))
    assert len(table) == 2 * len(np.unique(labels))
    for row in table:
        of = of_models[row["model"]][names.index(row["class"])]
        assert (row["right"], row["n"]) == (of[names.index(row["class"])], of.sum())
        assert row["taken"] == max(np.delete(of, names.index(row["class"])), default=0)
        assert row["low"] <= row["accuracy"] <= row["high"]
    best = max(("a", "b"), key=lambda m: np.trace(of_models[m]))  # the first of equals
    assert table[0]["model"] == best
    wrong = of_models[best] - np.diag(np.diag(of_models[best]))
    found = confusions(evidence)
    if not wrong.any():
        assert "makes no error on the" in found.attrs["withheld"]
        return
    rows = rows_of(found)
    assert {(r["true"], r["predicted"]): r["count"] for r in rows} == {
        (names[i], names[j]): wrong[i, j] for i, j in np.argwhere(wrong)
    }
    assert [r["count"] for r in rows] == sorted((r["count"] for r in rows), reverse=True)
    assert all(r["share"] == r["count"] / np.sum(labels == names.index(r["true"])) for r in rows)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
@settings(max_examples=60)
def test_intervals_are_wilsons(drawn):
    k, n = drawn
    low, high = wilson(k, n, 0.95)
    expected = stats.binomtest(k, n).proportion_ci(0.95, "wilson")
    assert (float(low), float(high)) == pytest.approx(tuple(expected), abs=1e-12)


def test_nothing_has_no_interval():
    assert np.isnan(wilson([0], [0], 0.95)).all()


def test_a_thousand_classes_with_names_of_any_kind():
    names = tuple(f"<script>alert({i})</script> & “{i}”, =1+1" for i in range(1_000))
    labels = np.arange(1_000).repeat(2)
    said = np.where(np.arange(2_000) % 2, labels, (labels + 1) % 1_000)
    evidence = evidence_of(MadeImages(("a",), labels, [said], classes=names))
    table = class_accuracy(evidence)
    assert table.sizes["row"] == 1_000
    assert set(table["class"].values) == set(names)
    assert (table["accuracy"] == 0.5).all()
    assert confusions(evidence).sizes["row"] == 500  # and no more


def test_a_perfect_model_of_one_class():
    evidence = evidence_of(MadeImages(("a",), [0, 0, 0], [[0, 0, 0]]))
    [row] = rows_of(class_accuracy(evidence))
    assert (row["accuracy"], row["n"], row["taken_for"], row["taken"]) == (1, 3, "", 0)
    assert confusions(evidence).attrs["withheld"] == ("a makes no error on the 3 test images of d1")


def test_imported_scores_have_no_images_to_look_at():
    evidence = make_evidence(make_cube(np.full((2, 2, 1), 0.5), [VARIANT]))
    for statistic in (class_accuracy, confusions):
        found = statistic(evidence)
        assert not found.data_vars
        assert "no outcomes of single images of d1" in found.attrs["withheld"]


def test_the_target_is_the_first_out_of_domain():
    cube = make_cube(np.full((2, 3, 1), 0.5), [VARIANT])
    assert make_evidence(cube).target == ("d1",)
    alone = make_cube(np.full((2, 2, 1), 0.5), [VARIANT], role="in_domain")
    assert make_evidence(alone).target == ("d0",)


def test_without_a_linear_probe_the_protocol_with_the_most_models():
    labels = [0, 1, 1]
    images = MadeImages(("a", "b"), labels, [labels, [0, 0, 0]], variant="knn/study")
    [looked] = looked_at(evidence_of(images, variants=("knn/study",)))
    assert (looked.variant, looked.dataset, looked.models) == ("knn/study", TARGET, ("a", "b"))


def test_images_that_some_model_did_not_judge_are_left_out():
    images = MadeImages(("a", "b"), [0, 1, 1], [[0, 1, -1], [1, 1, 1]])
    [looked] = looked_at(evidence_of(images))
    assert looked.samples.tolist() == [0, 1]
