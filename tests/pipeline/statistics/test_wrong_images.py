"""Which wrong images are listed, in which order, and what lies near them; the map."""

from __future__ import annotations

import numpy as np
import pytest
from made_images import MadeImages, evidence_of, rows_of
from sklearn.decomposition import PCA

from pipeline.statistics.embedding_map import MOST_IMAGES, embedding_map, principal_plane
from pipeline.statistics.wrong_images import MOST_IMAGES as MOST_WRONG
from pipeline.statistics.wrong_images import UNKNOWN, shared_errors, wrong_images

LABELS = np.array([0, 0, 1, 1, 2, 2])
#                   right wrong …
BEST = np.array([0, 1, 1, 0, 2, 0])
OTHER = np.array([0, 1, 0, 0, 0, 0])
THIRD = np.array([1, 1, 0, 2, 2, 0])


def test_the_surest_errors_come_first():
    confidence = np.array([[0.9, 0.5, 0.9, 0.8, 0.9, 0.6], [0.5] * 6])
    rows = rows_of(wrong_images(evidence_of(MadeImages("ab", LABELS, [BEST, OTHER], confidence))))
    assert [row["sample"] for row in rows] == [3, 5, 1]
    assert [row["confidence"] for row in rows] == pytest.approx([0.8, 0.6, 0.5])
    assert [(row["true"], row["predicted"]) for row in rows] == [
        ("class1", "class0"), ("class2", "class0"), ("class0", "class1"),
    ]  # fmt: skip
    assert {(row["errors"], row["n"], row["others"]) for row in rows} == {(3, 6, 1)}


def test_without_probabilities_those_that_others_get_right():
    others = [OTHER, np.array([1, 0, 0, 2, 0, 0])]  # the second knows image 1
    rows = rows_of(wrong_images(evidence_of(MadeImages("abc", LABELS, [BEST, *others]))))
    assert (rows[0]["sample"], rows[0]["others_right"]) == (1, 1)
    assert np.isnan([row["confidence"] for row in rows]).all()


def test_the_nearest_train_images_are_those_of_the_best_model():
    rng = np.random.default_rng(0)
    features = {"a": rng.normal(size=(6, 3)), "b": rng.normal(size=(6, 3))}
    bank = {"a": rng.normal(size=(9, 3)), "b": rng.normal(size=(9, 3))}
    images = MadeImages("ab", LABELS, [BEST, OTHER], features=features,
                        train=(np.zeros(9, np.int64), bank))  # fmt: skip
    for row in rows_of(wrong_images(evidence_of(images))):
        distances = np.linalg.norm(bank["a"] - features["a"][int(row["sample"])], axis=1)
        assert [row[f"nearest_{i}"] for i in (1, 2, 3)] == np.argsort(distances)[:3].tolist()


def test_without_neighbours_the_reason_is_kept():
    found = wrong_images(evidence_of(MadeImages("a", LABELS, [BEST])))
    assert (found["nearest_1"] == UNKNOWN).all()
    assert found.attrs["neighbours"] == "d1: no neighbours are stored"


def test_a_perfect_model_has_no_wrong_image():
    found = wrong_images(evidence_of(MadeImages("a", LABELS, [LABELS])))
    assert "makes no error" in found.attrs["withheld"]


def test_of_very_many_errors_some_are_listed_and_all_are_counted():
    labels = np.zeros(500, np.int64)
    said = np.ones((1, 500))
    table = wrong_images(evidence_of(MadeImages("a", labels, said, classes=("x", "y"))))
    assert table.sizes["row"] == MOST_WRONG
    assert (table["errors"] == 500).all()


def test_doubtful_labels_come_first():
    table = shared_errors(evidence_of(MadeImages("abc", LABELS, [BEST, OTHER, THIRD])))
    rows = rows_of(table)
    assert {row["sample"] for row in rows} == {1, 3, 5}
    assert [row["unanimous"] for row in rows] == [1, 1, 0]
    assert {row["sample"] for row in rows[:2]} == {1, 5}
    assert (rows[2]["agreed"], rows[2]["agree"], rows[2]["models"]) == ("class0", 2, 3)
    assert {(row["images"], row["n"]) for row in rows} == {(3, 6)}


def test_an_untrained_model_does_not_hide_that_the_others_agree():
    guess = np.array([0, 0, 0, 0, 0, 0])
    models = ("a", "b", "c", "d", "guess")
    said = [BEST, BEST, BEST, BEST, guess]
    words = {"method": ("m", "m", "m", "m", "random")}
    rows = rows_of(shared_errors(evidence_of(MadeImages(models, LABELS, said), words=words)))
    assert {row["models"] for row in rows} == {4}
    assert 1 in {row["sample"] for row in rows}  # which the untrained one got right


@pytest.mark.parametrize(
    ("models", "said", "reason"),
    [("a", [BEST], "two trained models"), ("ab", [BEST, LABELS], "is recognised by one of its 2")],
)
def test_no_shared_errors(models, said, reason):
    assert reason in shared_errors(evidence_of(MadeImages(models, LABELS, said))).attrs["withheld"]


def test_the_map_is_scikit_learns_principal_components():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(6, 5)) * [5, 1, 3, 1, 1] + 7
    images = MadeImages("a", LABELS, [BEST], features={"a": features})
    table = embedding_map(evidence_of(images))
    of = PCA(2, svd_solver="full").fit(features)
    expected = of.transform(features)
    found = np.stack([table["x"], table["y"]], axis=1)
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-9)
    shares = [float(table[name][0]) for name in ("share_x", "share_y")]
    np.testing.assert_allclose(shares, of.explained_variance_ratio_)
    assert table["right"].values.tolist() == (BEST == LABELS).tolist()


def test_the_map_is_the_same_for_mirrored_features():
    features = np.random.default_rng(0).normal(size=(20, 4))
    turned = principal_plane(features @ np.diag([1, 1, 1, 1.0]))
    np.testing.assert_array_equal(turned[0], principal_plane(features)[0])
    np.testing.assert_allclose(principal_plane(features[::-1])[0][::-1], turned[0], atol=1e-9)


@pytest.mark.parametrize("features", [np.ones((4, 3)), np.arange(4.0)[:, np.newaxis]])
def test_embeddings_without_two_directions(features):
    places, shares = principal_plane(features)
    assert np.isfinite(places).all()
    assert shares.tolist() == [float(np.ptp(features) > 0), 0]


def test_a_large_test_set_is_sampled_by_digest():
    labels = np.zeros(MOST_IMAGES + 200, np.int64)
    features = np.random.default_rng(0).normal(size=(len(labels), 3))
    images = MadeImages("a", labels, [labels], features={"a": features})
    table = embedding_map(evidence_of(images))
    assert table.sizes["row"] == MOST_IMAGES
    smallest = np.argsort(images.digests("d1"))[:MOST_IMAGES]
    assert table["sample"].values.tolist() == np.sort(smallest).tolist()


def test_without_embeddings_there_is_no_map():
    found = embedding_map(evidence_of(MadeImages("a", LABELS, [BEST])))
    assert "no outcomes of single images" in found.attrs["withheld"]
