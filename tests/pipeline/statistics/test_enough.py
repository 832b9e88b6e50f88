"""How much data is enough, against enumeration and against simulated experiments."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from made_cubes import make_cube, make_evidence

from pipeline.statistics.enough_images import (
    choices,
    enough_images,
    subset_scores,
)
from pipeline.statistics.enough_labels import enough_labels
from pipeline.statistics.image_noise import image_noise

VARIANT = "knn/study"


def evidence_of(hits):
    cube = make_cube(hits.mean(axis=1)[:, None, None], [VARIANT], n_test=hits.shape[1])
    return make_evidence(cube, hits={(VARIANT, "d0"): hits})


def outcomes(truth, n, seed=0):
    return np.random.default_rng(seed).random((len(truth), n)) < np.asarray(truth)[:, None]


def test_subsets_equal_all_subsets():
    hits = outcomes([0.7, 0.5, 0.5], 9, seed=1).astype(float)
    column = image_noise(evidence_of(hits)).columns[VARIANT, "d0"]
    rng = np.random.default_rng(0)
    drawn = np.concatenate([subset_scores(column, 4, rng) for _ in range(20)])
    best, regret = choices(drawn, hits.mean(axis=1))
    every = np.array([hits[:, s].mean(axis=1) for s in itertools.combinations(range(9), 4)])
    all_best, all_regret = choices(every, hits.mean(axis=1))
    assert best.mean() == pytest.approx(all_best.mean(), abs=0.02)
    assert regret.mean() == pytest.approx(all_regret.mean(), abs=0.01)
    assert drawn.mean(axis=0) == pytest.approx(hits.mean(axis=1), abs=0.01)


def test_normal_draws_of_large_test_sets_have_the_right_spread():
    hits = outcomes([0.7, 0.5], 2_500, seed=2).astype(float)
    column = image_noise(evidence_of(hits)).columns[VARIANT, "d0"]
    rng = np.random.default_rng(0)
    assert subset_scores(column, 50, rng) is None
    assert subset_scores(column, 2_500, rng) is None
    drawn = np.concatenate([subset_scores(column, 1_000, rng) for _ in range(10)])
    exact = [hits[:, rng.choice(2_500, 1_000, replace=False)].mean(axis=1) for _ in range(3_000)]
    assert np.cov(drawn.T) == pytest.approx(np.cov(np.transpose(exact)), abs=1e-5)


def test_equal_models_are_chosen_by_lot():
    best, regret = choices(np.array([[0.5, 0.5, 0.1], [0.2, 0.4, 0.3]]), np.array([0.9, 0.8, 0.7]))
    assert best.tolist() == [0.5, 0]
    assert regret.tolist() == pytest.approx([0.05, 0.1])


def test_more_images_choose_better():
    found = enough_images(evidence_of(outcomes([0.8, 0.7, 0.6], 1_500)))
    p = found["p_best"].sel(protocol="knn", dataset="d0").dropna("images")
    assert p["images"].values.tolist() == [10, 20, 50, 100, 200, 500, 1_000]
    assert (np.diff(p.values) > -0.03).all()
    assert p.values[0] < 0.75 < 0.99 < p.values[-1]
    regret = found["regret"].sel(protocol="knn", dataset="d0").dropna("images")
    assert regret.values[0] > 5 * regret.values[-1]


def test_labels_by_draws():
    variants = ["linear/ridge_none", "fewshot/ridge_1_shot", "fewshot/ridge_5_shots"]
    values = np.array([[0.9, 0, 0], [0.8, 0, 0], [0.5, 0, 0]])[:, None]
    one = np.array([[0.5, 0.2, 0.5, 0.1], [0.4, 0.3, 0.5, 0.2], [0.1, 0.1, 0.1, 0.9]])
    five = one + np.array([[0.9], [0.0], [0.0]])
    evidence = make_evidence(
        make_cube(values, variants),
        draws={(variants[1], "d0"): one, (variants[2], "d0"): five[:, :2]},
    )
    found = enough_labels(evidence).sel(head="ridge", dataset="d0")
    first = found.sel(budget="1_shot")
    # Draws choose m0, m1, one of the two by lot, m2.
    assert first["p_best"].item() == pytest.approx((1 + 0 + 0.5 + 0) / 4)
    assert first["regret"].item() == pytest.approx((0 + 0.1 + 0.05 + 0.4) / 4)
    assert (first["labels"].item(), first["draws"].item()) == (1, 4)
    assert found.sel(budget="5_shots")["p_best"].item() == 1
    assert found.sel(budget="5_shots")["draws"].item() == 2
