"""Pairs of models: McNemar against scipy, max-T against draws written out."""

from __future__ import annotations

import numpy as np
import pytest
from made_cubes import make_cube
from made_evidence import make_evidence
from scipy import stats

from pipeline.statistics.model_pairs import model_pairs
from pipeline.statistics.multiplicity import benjamini_hochberg


def study(hits):
    cube = make_cube({"knn/a": hits.mean(axis=1)[:, np.newaxis]}, role=["in_domain"])
    return make_evidence(cube, {("knn/a", "d0"): hits})


def outcomes(right, images=300, seed=0):
    rng = np.random.default_rng(seed)
    hard = rng.random(images)
    return np.array([(0.5 * hard + 0.5 * rng.random(images)) < r for r in right])


HITS = outcomes([0.5, 0.52, 0.6, 0.75])


def pair(found, i, j):
    return found.sel(variant="knn/a", dataset="d0", model=f"m{i}", rival=f"m{j}")


def test_p_is_exact_mcnemars():
    found = model_pairs(study(HITS))
    raw = []
    for i, j in zip(*np.triu_indices(4, 1), strict=True):
        wins = int((HITS[i] & ~HITS[j]).sum()), int((~HITS[i] & HITS[j]).sum())
        raw.append(stats.binomtest(wins[0], sum(wins)).pvalue)
        assert pair(found, i, j)["p"] == pytest.approx(raw[-1])
        difference = HITS[i].mean() - HITS[j].mean()
        assert pair(found, i, j)["difference"] == pytest.approx(difference, abs=1e-6)
        assert np.isnan(pair(found, j, i)["p"])
    values = [pair(found, i, j) for i, j in zip(*np.triu_indices(4, 1), strict=True)]
    np.testing.assert_allclose(
        [float(v["p_bh"]) for v in values], benjamini_hochberg(np.array(raw))
    )


def test_max_t_equals_draws_of_images_written_out():
    found = model_pairs(study(HITS))
    rng = np.random.default_rng(99)
    first, second = np.triu_indices(4, 1)
    errors = np.std(HITS[first] * 1.0 - HITS[second], ddof=1, axis=1) / np.sqrt(300)
    means = HITS.mean(axis=1)
    maxima = []
    for _ in range(3000):
        drawn = HITS[:, rng.integers(0, 300, 300)].mean(axis=1) - means
        maxima.append((drawn[first] - drawn[second]) / errors)
    signs = np.sign(means[first] - means[second])
    t = signs * (means[first] - means[second]) / errors
    noise = np.array(maxima) * signs  # of the better model over the worse
    previous = 0.0
    for k in np.argsort(-t):
        # Of those not told apart yet both directions are open, of the others the reverse one.
        left = np.where(t <= t[k], np.abs(noise), -noise)
        previous = max(previous, np.mean(left.max(axis=1) >= t[k]))
        found_p = pair(found, first[k], second[k])["p_corrected"].item()
        assert found_p == pytest.approx(previous, abs=0.03)
    half = np.quantile(np.abs(noise).max(axis=1), 0.95) * errors[0]
    assert pair(found, 0, 1)["high"] - pair(found, 0, 1)["low"] == pytest.approx(2 * half, rel=0.05)


def test_equal_models_are_within_chance():
    hits = outcomes([0.5, 0.5, 0.7])
    hits[1] = hits[0]
    found = pair(model_pairs(study(hits)), 0, 1)
    assert found["difference"] == found["differs"] == 0
    assert found["p"] == found["p_corrected"] == 1
    assert found["low"].item() == pytest.approx(-found["high"].item())


def test_all_right_against_all_wrong():
    hits = np.array([[True] * 100, [False] * 100])
    found = pair(model_pairs(study(hits)), 0, 1)
    assert found["p"] < 1e-20
    assert found["p_corrected"] == found["p"]  # exact: it varies by nothing
    assert found["differs"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("images", [150, 2_500])
def test_false_alarms_are_as_rare_as_promised(images):
    wrong = 0
    for seed in range(60):
        found = model_pairs(study(outcomes([0.5] * 5, images, seed)))
        wrong += bool((found["differs"] == 1).any())
    assert wrong <= 9  # 3 expected


def test_shares_of_draws_are_tested_normally():
    hits = np.random.default_rng(0).integers(0, 6, (3, 200)) / 5
    found = pair(model_pairs(study(hits)), 0, 1)
    difference = hits[0] - hits[1]
    z = difference.mean() / (difference.std(ddof=1) / np.sqrt(200))
    assert found["p"] == pytest.approx(2 * stats.norm.sf(abs(z)), rel=1e-3)


def test_without_outcomes_it_says_so():
    cube = make_cube({"knn/a": np.full((5, 1), 0.5)}, role=["in_domain"])
    assert "outcomes" in model_pairs(make_evidence(cube)).attrs["withheld"]
