"""Means over data sets and their noise, against computations of their own on the outcomes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_cubes import make_cube
from made_evidence import make_evidence
from scipy import stats

from pipeline.statistics.mean_scores import mean_scores

VARIANT = "knn/study"


def found_of(outcomes, *, shared=False, metric="top1", labels=None, scope="all"):
    """The statistic for outcomes of shape (n_datasets, n_models, n_images)."""
    outcomes = np.asarray(outcomes, float)
    scores = {VARIANT: np.nanmean(outcomes, axis=2).T}
    roles = ["in_domain"] + ["out_of_domain"] * (len(outcomes) - 1)
    hits = {(VARIANT, f"d{d}"): of for d, of in enumerate(outcomes)}
    cube = make_cube(scores, role=roles).assign_coords(metric=[metric, "promise"])
    evidence = make_evidence(cube, hits, shared=shared, labels=labels, metric=metric)
    return mean_scores(evidence).sel(protocol="knn", scope=scope)


def drawn(datasets, rates, images=200, seed=0):
    rng = np.random.default_rng(seed)
    common = rng.random((datasets, 1, images))
    mixed = 0.7 * common + 0.3 * rng.random((datasets, len(rates), images))
    return mixed < np.array(rates)[:, np.newaxis]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.integers(2, 5), st.integers(5, 40), st.booleans(), st.integers(0, 99))
def test_noise_is_that_of_the_images_own_sums(datasets, models, images, shared, seed):
    outcomes = drawn(datasets, np.linspace(0.7, 0.4, models), images, seed)
    found = found_of(outcomes, shared=shared)
    if shared:  # one unit an image: what it adds to the mean over all data sets
        units = outcomes.sum(axis=0) / datasets
        error = units.std(axis=1, ddof=1) / np.sqrt(images)
    else:
        error = np.sqrt((outcomes.var(axis=2, ddof=1) / images).sum(axis=0)) / datasets
    mean = outcomes.mean(axis=(0, 2))
    np.testing.assert_allclose(found["mean"], mean, rtol=1e-6)
    half = stats.norm.ppf(0.975) * np.where(error > 0, error, np.nan)
    np.testing.assert_allclose(found["low"], np.maximum(mean - half, 0), atol=1e-5)
    np.testing.assert_allclose(found["high"], np.minimum(mean + half, 1), atol=1e-5)
    best = int(mean.argmax())
    gaps = outcomes[:, [best]].astype(float) - outcomes
    if shared:
        error = (gaps.sum(axis=0) / datasets).std(axis=1, ddof=1) / np.sqrt(images)
    else:
        error = np.sqrt((gaps.var(axis=2, ddof=1) / images).sum(axis=0)) / datasets
    pairs = models * (models - 1) / 2
    half = stats.norm.isf(0.025 / pairs) * error
    np.testing.assert_allclose(found["behind"], mean[best] - mean, atol=1e-6)
    np.testing.assert_allclose(
        found["behind_high"], np.minimum(mean[best] - mean + half, 1), atol=1e-3
    )


def test_two_models_are_told_apart_as_by_a_z_test():
    """With two models T_max of the confidence set is the two-sided z test of their difference."""
    for seed in range(6):
        a, b = drawn(1, (0.55, 0.5), 400, seed)[0].astype(float)
        p = found_of([[a, b]])["p_best"].values
        gap = a - b
        z = gap.mean() / (gap.std(ddof=1) / 20)
        assert p.max() == 1
        assert p.min() == pytest.approx(2 * stats.norm.sf(abs(z)), abs=0.02)


def test_identical_models_are_not_told_apart():
    (a,) = drawn(1, (0.5,))[0]
    found = found_of([[a, a]])
    assert (found["p_best"] == 1).all()
    assert (found["behind_low"] == 0).all()


def test_a_clear_winner_is_alone():
    found = found_of(drawn(3, (0.9, 0.3, 0.3)))
    assert found["p_best"].values[0] == 1
    assert (found["p_best"].values[1:] < 0.01).all()


def test_perfect_model_has_no_interval():
    found = found_of(np.ones((1, 1, 50)))
    assert found["mean"] == 1
    assert np.isnan([found["low"].item(), found["high"].item()]).all()


def test_mean_per_class_weighs_classes_equally():
    labels = np.array([0] * 90 + [1] * 10)
    found = found_of([[labels == 0]], metric="mean_per_class", labels=labels)
    assert found["mean"].item() == pytest.approx(0.5)


def test_scope_leaves_in_domain_data_sets_out():
    outcomes = drawn(3, (0.8, 0.4))
    inside = found_of(outcomes, scope="out_of_domain")
    np.testing.assert_allclose(inside["mean"], outcomes[1:].mean(axis=(0, 2)), rtol=1e-6)
    assert (inside["datasets"] == 2).all()


def test_models_without_a_data_set_have_no_mean_and_scores_without_outcomes_withhold_it():
    outcomes = drawn(2, (0.8, 0.4)).astype(float)
    scores = {VARIANT: outcomes.mean(axis=2).T}
    cube = make_cube(scores, role=["in_domain", "out_of_domain"])
    only_one = {(VARIANT, "d0"): outcomes[0]}
    assert np.isnan(mean_scores(make_evidence(cube, only_one)).sel(scope="all")["mean"]).all()
    assert not mean_scores(make_evidence(cube)).data_vars


@pytest.mark.slow
def test_interval_covers_the_truth():
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(400):
        found = found_of(rng.random((2, 1, 300)) < np.array([0.3, 0.5])[:, None, None])
        covered += bool(found["low"] <= 0.4 <= found["high"])
    assert 0.92 <= covered / 400 <= 0.98
