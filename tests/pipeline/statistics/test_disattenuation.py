"""Reliability and disattenuated r: planted truths, and formulas written out."""

from __future__ import annotations

import numpy as np
import pytest
from made_cubes import make_cube
from made_evidence import make_evidence

from pipeline.statistics.disattenuation import (
    NoisyScores,
    disattenuate,
    disattenuated_pearson,
    error_moment,
    reliability,
)


def test_error_moment_is_what_noise_adds_to_the_variance_over_models():
    rng = np.random.default_rng(0)
    root = rng.normal(0, 1, (6, 6))
    covariance = root @ root.T
    errors = rng.standard_normal((200_000, 6)) @ root.T
    found = error_moment(covariance)
    assert found == pytest.approx(np.var(errors, axis=1, ddof=1).mean(), rel=0.02)
    # What all models share adds nothing.
    assert error_moment(covariance + 100) == pytest.approx(found)


def test_formula_written_out():
    rng = np.random.default_rng(1)
    x, y = rng.random((2, 8))
    noise_x, noise_y, crossed = (np.diag(rng.random(8) * scale) for scale in (0.01, 0.02, 0.005))
    noisy = NoisyScores(
        np.stack([x, y], axis=1),
        {(0, 0): noise_x, (1, 1): noise_y, (0, 1): crossed, (1, 0): crossed.T},
    )
    r, reliable = disattenuate(noisy)
    # Of independent errors the moment is the mean variance.
    e_x, e_y, e_xy = (np.diag(n).mean() for n in (noise_x, noise_y, crossed))
    s = np.cov(x, y)
    expected = (s[0, 1] - e_xy) / np.sqrt((s[0, 0] - e_x) * (s[1, 1] - e_y))
    assert r[0, 1] == pytest.approx(expected)
    assert r[1, 0] == pytest.approx(expected)
    assert reliable[0, 1] == pytest.approx(1 - e_x / s[0, 0])
    assert reliable[1, 0] == pytest.approx(1 - e_y / s[1, 1])


def test_gaps_use_the_models_that_both_have():
    rng = np.random.default_rng(2)
    scores = rng.random((9, 2))
    noise = {(0, 0): np.diag(rng.random(9) * 0.01), (1, 1): np.diag(rng.random(9) * 0.01)}
    gaps = scores.copy()
    gaps[6:, 1] = np.nan
    found = disattenuate(NoisyScores(gaps, noise))
    gone = np.arange(9) >= 6
    expected = disattenuate(NoisyScores(scores, noise).without(gone))
    for a, b in zip(found, expected, strict=True):
        assert a[0, 1] == pytest.approx(b[0, 1])


def test_more_noise_than_spread_is_no_number():
    noise = {(0, 0): np.eye(5), (1, 1): np.eye(5)}
    r, reliable = disattenuate(NoisyScores(np.random.default_rng(0).random((5, 2)), noise))
    assert np.isnan(r).all()
    assert (reliable < 0).all()


def study(images, models=40, seed=0, shared=False):
    """Two protocols that both see the same true ability; the second data set is another sample."""
    rng = np.random.default_rng(seed)
    true = np.clip(0.5 + 0.1 * rng.standard_normal((models, 1)), 0, 1)
    first = rng.random((models, images)) < true
    second = rng.random((models, images)) < true
    if shared:
        second[:, ::2] = first[:, ::2]
    scores = {
        "knn/a": np.stack([first.mean(axis=1), np.full(models, np.nan)], axis=1),
        "linear/b": np.stack([np.full(models, np.nan), second.mean(axis=1)], axis=1),
    }
    families = [f"f{i % 8}" for i in range(models)]
    roles = ["in_domain", "out_of_domain"]
    cube = make_cube(scores, role=roles, family=families, n_test=images)
    hits = {("knn/a", "d0"): first, ("linear/b", "d1"): second}
    return make_evidence(cube, hits, shared=shared)


@pytest.mark.parametrize("shared", [False, True])
def test_noise_is_taken_out_of_the_correlation(shared):
    found = [
        disattenuated_pearson(study(300, seed=s, shared=shared)).sel(
            predictor="knn/a@d0", target="linear/b@d1"
        )
        for s in range(15)
    ]
    observed = np.nanmean([f["observed"] for f in found])
    value = np.nanmean([f["value"] for f in found])
    assert observed < 0.97
    assert value == pytest.approx(1, abs=0.015)
    assert all(f["shared_images"] == shared for f in found)


def test_below_reliability_of_nine_tenths_it_is_withheld():
    evidence = study(60)
    reliable = reliability(evidence)["reliability"].sel(variant="knn/a", dataset="d0")
    assert 0.5 < reliable < 0.9
    found = disattenuated_pearson(evidence).sel(predictor="knn/a@d0", target="linear/b@d1")
    assert np.isnan(found["value"])
    assert np.isfinite(found["observed"])
    assert found["reliability_predictor"] == pytest.approx(float(reliable), abs=1e-6)


def test_without_outcomes_it_says_so():
    cube = make_cube({"knn/a": np.full((5, 1), 0.5)}, role=["in_domain"])
    for statistic in (reliability, disattenuated_pearson):
        found = statistic(make_evidence(cube))
        assert not found.data_vars
        assert "outcomes" in found.attrs["withheld"]


def test_constant_scores_have_no_reliability():
    hits = np.ones((6, 50), bool)
    cube = make_cube({"knn/a": np.ones((6, 1))}, role=["in_domain"])
    found = reliability(make_evidence(cube, {("knn/a", "d0"): hits}))
    assert np.isnan(found["reliability"]).all()
