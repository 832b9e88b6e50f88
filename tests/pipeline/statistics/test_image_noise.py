"""Noise of the test images: covariances against numpy's and against redrawn images."""

from __future__ import annotations

import numpy as np
import pytest
from made_cubes import make_cube
from made_evidence import make_evidence

from pipeline.statistics.evidence import Hits, ValSplit
from pipeline.statistics.image_draws import multinomial_draws, normal_draws
from pipeline.statistics.image_noise import draw_together, image_noise, measure


def outcomes(models=5, images=300, seed=0, difficulty=1.0):
    rng = np.random.default_rng(seed)
    ability = rng.normal(0, 1, (models, 1)) + difficulty * rng.normal(0, 1, (1, images))
    return (rng.random((models, images)) < 1 / (1 + np.exp(-ability))).astype(np.float32)


def column(hits, labels=None, metric="top1"):
    labels = np.zeros(hits.shape[1], np.int64) if labels is None else labels
    test = ValSplit(tuple(map(str, range(len(labels)))), labels, 10, 3, ())
    halving = np.arange(len(labels))[np.newaxis] % 2 == 0
    return measure(Hits(tuple("abcdefgh"[: len(hits)]), hits), test, metric, halving, 0)


def test_covariance_of_accuracies_is_numpys():
    hits = outcomes()
    found, residuals = column(hits)
    expected = np.cov(hits.astype(float)) / hits.shape[1]
    np.testing.assert_allclose(found.covariance, expected, rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(residuals @ residuals.T, expected, rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(found.scores, hits.mean(axis=1), rtol=1e-6)
    for i, j in np.ndindex(5, 5):
        assert found.wins[i, j] == ((hits[i] == 1) & (hits[j] == 0)).sum()


def test_mean_per_class_is_of_images_redrawn_within_classes():
    rng = np.random.default_rng(2)
    labels = np.repeat([0, 1, 2], [20, 60, 120])
    hits = outcomes(images=200)
    found, _ = column(hits, labels, "mean_per_class")
    expected = np.mean([hits[:, labels == c].mean(axis=1) for c in range(3)], axis=0)
    np.testing.assert_allclose(found.scores, expected, rtol=1e-6)
    assert not found.hits
    exact = sum(np.cov(hits[:, labels == c].astype(float)) / (labels == c).sum() for c in range(3))
    np.testing.assert_allclose(found.covariance, exact / 9, rtol=1e-4, atol=1e-9)
    drawn = draw_together([found], 20_000, rng)[0]
    biased = sum(
        np.cov(hits[:, labels == c].astype(float), ddof=0) / (labels == c).sum() for c in range(3)
    )
    np.testing.assert_allclose(np.cov(drawn.T), biased / 9, atol=4e-2 * biased.max() / 9)


def test_images_that_were_not_judged_are_left_out():
    hits = outcomes()
    gaps = hits.copy()
    gaps[:, 250:] = np.nan
    found, residuals = column(gaps)
    expected, _ = column(hits[:, :250])
    assert found.images == 250
    np.testing.assert_allclose(found.scores, expected.scores)
    np.testing.assert_allclose(found.covariance, expected.covariance, rtol=1e-5)
    assert (residuals[:, 250:] == 0).all()


def test_halves_are_scores_of_either_half():
    hits = outcomes()
    found, _ = column(hits)
    np.testing.assert_allclose(found.halves[0, 0], hits[:, ::2].mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(found.halves[1, 0], hits[:, 1::2].mean(axis=1), rtol=1e-5)


@pytest.mark.parametrize("exact", [True, False])
def test_drawn_accuracies_vary_as_much_as_images_say(exact):
    hits = outcomes(images=400)
    rng = np.random.default_rng(1)
    expected = np.cov(hits.astype(float), ddof=0) / 400
    if exact:
        drawn = multinomial_draws(hits / 400, np.zeros(400, np.int64), 20_000, rng)
    else:
        drawn = normal_draws(hits.mean(axis=1), expected, 20_000, rng)
    np.testing.assert_allclose(drawn.mean(axis=0), hits.mean(axis=1), atol=1e-3)
    np.testing.assert_allclose(np.cov(drawn.T), expected, atol=4e-2 * expected.max())


def test_many_images_are_drawn_normally_and_few_exactly():
    few, many = column(outcomes(images=2_000))[0], column(outcomes(images=2_001))[0]
    assert few.units is not None
    assert many.units is None
    drawn = draw_together([few], 50, np.random.default_rng(0))[0]
    np.testing.assert_allclose(drawn * 2_000, np.round(drawn * 2_000), atol=1e-3)


def test_columns_on_the_same_images_share_noise_and_draws():
    first, second = outcomes(seed=1), outcomes(seed=1)
    cube = make_cube(
        {"knn/a": np.tile(first.mean(axis=1)[:, np.newaxis], 2), "linear/b": np.full((5, 2), 0.5)},
        role=["in_domain", "out_of_domain"],
    )
    hits = {("knn/a", "d0"): first, ("linear/b", "d0"): second, ("knn/a", "d1"): first}
    apart = image_noise(make_evidence(cube, hits))
    assert (("knn/a", "d0"), ("knn/a", "d1")) not in apart.shared
    together = image_noise(make_evidence(cube, hits, shared=True))
    shared = together.shared[("knn/a", "d0"), ("knn/a", "d1")]
    np.testing.assert_allclose(shared, np.cov(first.astype(float)) / 300, rtol=1e-4, atol=1e-9)
    columns = [together.columns["knn/a", "d0"], together.columns["linear/b", "d0"]]
    assert columns[0].sample == columns[1].sample
    a, b = draw_together(columns, 20, np.random.default_rng(0))
    np.testing.assert_array_equal(a, b)  # equal outcomes, equal draws of images


def test_reading_happens_once():
    cube = make_cube({"knn/a": np.full((5, 1), 0.5)}, role=["in_domain"])
    evidence = make_evidence(cube, {("knn/a", "d0"): outcomes()})
    assert image_noise(evidence) is image_noise(evidence)
