"""Differences between predictors: planted ones are found, absent ones are not, max-T by hand."""

from __future__ import annotations

import numpy as np
import pytest
from made_cubes import make_cube
from made_evidence import make_evidence

from pipeline.statistics.differences import judged_together
from pipeline.statistics.fidelity import fidelity
from pipeline.statistics.multiplicity import holm
from pipeline.statistics.predictor_tests import (
    normalization_tests,
    predictor_differences,
)
from pipeline.statistics.trust import trust

ROLES = ["in_domain"] + ["out_of_domain"] * 6


def study(seed=0, noises=(("knn/a", 0.3), ("linear/b", 0.3), ("fewshot/c", 3.0)), families=13):
    rng = np.random.default_rng(seed)
    ability = rng.normal(0, 1, (26, 1))
    scores = {}
    for name, noise in noises:
        values = ability + 0.3 * rng.normal(0, 1, (26, 7))
        values[:, 0] = ability[:, 0] + noise * rng.normal(0, 1, 26)  # as a predictor
        scores[name] = 0.5 + 0.05 * values
    words = [f"f{i % families:02}" for i in range(26)]
    return make_evidence(make_cube(scores, role=ROLES, family=words))


def test_max_t_and_holm_by_hand():
    rng = np.random.default_rng(0)
    shared = rng.normal(0, 1, (999, 1))
    draws = 0.1 * (shared + rng.normal(0, 1, (999, 3))) + [0.5, 0.2, 0.0]
    value = np.array([0.5, 0.2, 0.01])
    found = judged_together(value, [draws], 0.95)
    error = draws.std(axis=0, ddof=1)
    null = np.abs(draws - draws.mean(axis=0)) / error
    for i in range(3):
        t = abs(value[i]) / error[i]
        assert found.p[i] == (sum(null[:, i] >= t) + 1) / 1000
        assert found.p_max_t[i] == (sum(null.max(axis=1) >= t) + 1) / 1000
    np.testing.assert_allclose(found.p_holm, holm(found.p))
    np.testing.assert_allclose(found.low, np.quantile(draws, 0.025, axis=0))
    np.testing.assert_allclose(found.high, np.quantile(draws, 0.975, axis=0))


def test_the_more_careful_redraw_is_quoted():
    rng = np.random.default_rng(0)
    narrow, wide = rng.normal(0.3, 0.1, (999, 1)), rng.normal(0.3, 0.3, (999, 1))
    value = np.array([0.3])
    both = judged_together(value, [narrow, wide], 0.95)
    alone = judged_together(value, [wide], 0.95)
    assert (both.low, both.high, both.p) == (alone.low, alone.high, alone.p)
    assert both.detectable == alone.detectable


def test_a_predictor_does_not_differ_from_its_equal():
    found = judged_together(np.zeros(1), [np.zeros((99, 1))], 0.95)
    assert found.p == found.p_max_t == found.p_holm == 1
    assert np.isnan(found.detectable)


@pytest.mark.slow
def test_the_detectable_difference_is_found_in_four_of_five_studies():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1, (4000, 5))
    size = judged_together(np.zeros(5), [noise], 0.95).detectable[0]
    shift = np.array([size, 0, 0, 0, 0])
    hits = [
        judged_together(rng.normal(shift, 1), [noise], 0.95).p_max_t[0] < 0.05 for _ in range(400)
    ]
    assert 0.72 < np.mean(hits) < 0.88


def test_a_planted_difference_is_found():
    evidence = study()
    found = predictor_differences(evidence)
    assert found.attrs["reference"] == "linear/b@d0"
    against = found.sel(reference="linear/b@d0", targets="other_protocols")
    bad, good = against.sel(predictor="fewshot/c@d0"), against.sel(predictor="knn/a@d0")
    assert bad["difference"] < -0.3
    assert bad["high"] < 0
    assert bad["p_max_t"] < 0.05
    assert good["p_max_t"] > 0.2
    assert good["low"] < 0 < good["high"]
    assert 0 < good["detectable"] < 0.5


def test_differences_are_of_the_means_over_shared_targets():
    evidence = study()
    means = trust(evidence)["mean"].sel(coefficient="spearman")
    found = predictor_differences(evidence)["difference"]
    pair = {"predictor": "knn/a@d0", "reference": "linear/b@d0"}
    # Neither's own targets: those of few-shot alone.
    shots = [float(means.sel(predictor=p, targets="fewshot")) for p in pair.values()]
    assert found.sel(targets="other_protocols", **pair) == pytest.approx(shots[0] - shots[1])
    every = [float(means.sel(predictor=p, targets="all")) for p in pair.values()]
    assert found.sel(targets="all", **pair) == pytest.approx(every[0] - every[1])
    explored = found.sel(targets=["other_protocols", "all"])
    np.testing.assert_allclose(explored, -explored.values.transpose(1, 0, 2))
    # On targets of one protocol: only the declared comparisons.
    one = found.sel(targets="fewshot")
    assert np.isfinite(one.sel(predictor="knn/a@d0", reference="linear/b@d0"))
    assert np.isnan(one.sel(predictor="linear/b@d0", reference="knn/a@d0"))


def test_predictors_are_compared_on_the_targets_that_both_have():
    evidence = study()
    cube = evidence.cube.copy(deep=True)
    promise = np.full((26, 7), np.nan)
    promise[:, :3] = np.random.default_rng(0).random((26, 3))
    cube = make_cube(
        {v: cube["value"].sel(variant=v, metric="top1").values for v in cube["variant"].values}
        | {"predictors/p": promise},
        role=ROLES,
        family=cube["family"].values.tolist(),
    )
    found = predictor_differences(make_evidence(cube))["difference"]
    pair = found.sel(predictor="predictors/p@each target", reference="linear/b@d0", targets="knn")
    evidence = make_evidence(cube)
    trusted = fidelity(evidence)
    names = [p.name for p in trusted.found.predictors]
    on = [t.key in (("knn/a", "d1"), ("knn/a", "d2")) for t in trusted.found.targets]
    cheap, linear = (
        trusted.spearman[names.index(name), on].mean()
        for name in ("predictors/p@each target", "linear/b@d0")
    )
    assert pair == pytest.approx(cheap - linear)
    inside = found.sel(predictor="predictors/p@d0", reference="linear/b@d0")
    assert np.isfinite(inside).all()


def test_below_five_families_differences_have_no_interval():
    found = predictor_differences(study(families=4))
    assert np.isfinite(found["difference"]).any()
    assert np.isnan(found["low"]).all()
    assert np.isnan(found["p_max_t"]).all()


@pytest.mark.slow
def test_equal_predictors_are_rarely_called_different():
    wrong = 0
    for seed in range(25):
        equal = (("knn/a", 0.6), ("linear/b", 0.6), ("fewshot/c", 0.6))
        against = predictor_differences(study(seed, equal)).sel(
            reference="linear/b@d0", targets="all"
        )
        wrong += bool((against["p_max_t"] < 0.05).any())
    assert wrong <= 4


def test_normalisation_that_spoils_a_predictor_is_found():
    noises = (("knn/study", 0.2), ("knn/study_zscore", 4.0), ("linear/b", 0.3))
    found = normalization_tests(study(noises=noises)).sel(targets="other_protocols")
    assert found["plain"].values.tolist() == ["knn/study@d0"]
    assert found["difference"].item() < -0.3
    assert found["p_max_t"].item() < 0.05


def test_without_pairs_it_says_so():
    assert "normalization" in normalization_tests(study()).attrs["withheld"]


def test_redraws_do_not_depend_on_chance():
    one, two = (predictor_differences(study()) for _ in range(2))
    assert one.equals(two)
    assert fidelity(study()) is not fidelity(study())
