"""All pairs of headline scores: against scipy and redraws written out; poor studies."""

from __future__ import annotations

import numpy as np
import pytest
from made_cubes import make_cube
from made_evidence import make_evidence
from scipy import stats

from pipeline.statistics.headline_pairs import headline_pairs

ROLES = ["in_domain", "out_of_domain", "out_of_domain"]


def study(models=12, families=6, gaps=True, change=lambda s: s):
    rng = np.random.default_rng(0)
    ability = rng.normal(0, 1, (models, 1))
    scores = {
        n: change(0.5 + 0.1 * (ability + rng.normal(0, 1, (models, 3)))).clip(0, 1)
        for n in ("knn/a", "linear/b")
    }
    if gaps:
        scores["knn/a"][0, 1] = np.nan
    words = [f"f{i % families}" for i in range(models)]
    return make_evidence(make_cube(scores, role=ROLES, family=words))


def test_every_coefficient_is_scipys():
    evidence = study()
    found = headline_pairs(evidence)
    value = evidence.cube["value"].sel(metric="top1")
    x, y = (value.sel(variant=v, dataset=d).values for v, d in PAIR)
    x, y = x[1:], y[1:]
    of = found.sel(predictor="knn/a@d1", target="linear/b@d2")
    logit = [np.log((1000 * v + 0.5) / (1000 - 1000 * v + 0.5)) for v in (x, y)]
    expected = {
        "pearson": stats.pearsonr(x, y)[0],
        "pearson_logit": stats.pearsonr(*logit)[0],
        "spearman": stats.spearmanr(x, y)[0],
        "kendall": stats.kendalltau(x, y)[0],
        "weighted_tau": stats.weightedtau(x, y)[0],
    }
    for name, number in expected.items():
        assert of["value"].sel(coefficient=name) == pytest.approx(number, abs=1e-12)
        assert of["low"].sel(coefficient=name) < number < of["high"].sel(coefficient=name)
    assert (of["n"] == 11).all()
    assert (of["few_families"] == 1).all()
    assert 0 < of["p_zero"].sel(coefficient="spearman") <= 1


PAIR = (("knn/a", "d1"), ("linear/b", "d2"))


def test_common_models_are_those_with_every_score():
    evidence = study()  # one model lacks one score: all other pairs are over all twelve
    found = headline_pairs(evidence)
    assert found.attrs["common_models"] == 11
    value = evidence.cube["value"].sel(metric="top1")
    for (v, d), (w, e) in ((PAIR[0], PAIR[1]), (("knn/a", "d0"), ("linear/b", "d0"))):
        x, y = (
            value.sel(variant=v, dataset=d).values[1:],
            value.sel(variant=w, dataset=e).values[1:],
        )
        of = found.sel(predictor=f"{v}@{d}", target=f"{w}@{e}")["common"]
        assert of.sel(coefficient="spearman") == pytest.approx(stats.spearmanr(x, y)[0], abs=1e-12)
        assert of.sel(coefficient="kendall") == pytest.approx(stats.kendalltau(x, y)[0], abs=1e-12)
        assert of.sel(coefficient="weighted_tau") == pytest.approx(
            stats.weightedtau(x, y)[0], abs=1e-12
        )
    whole = headline_pairs(study(gaps=False))
    np.testing.assert_array_equal(whole["common"], whole["value"])


def test_without_enough_common_models_there_is_no_common_coefficient():
    evidence = study()
    cube = evidence.cube.copy(deep=True)
    cube["value"][:9, 0, 1] = np.nan
    found = headline_pairs(make_evidence(cube))
    assert found.attrs["common_models"] == 3
    assert np.isnan(found["common"]).all()
    assert np.isfinite(found["value"]).any()


def test_the_check_is_of_redrawn_families():
    evidence = study(gaps=False)
    found = headline_pairs(evidence).sel(predictor="knn/a@d1", target="linear/b@d2")
    value = evidence.cube["value"].sel(metric="top1")
    x, y = (value.sel(variant=v, dataset=d).values for v, d in PAIR)
    rng = np.random.default_rng(7)
    families = evidence.cube["family"].values
    names = np.unique(families)
    draws = []
    for _ in range(800):
        rows = np.concatenate([np.flatnonzero(families == f) for f in rng.choice(names, 6)])
        draws.append(
            (
                stats.pearsonr(x[rows], y[rows])[0],
                stats.spearmanr(x[rows], y[rows])[0],
                stats.kendalltau(x[rows], y[rows])[0],
            )
        )
    for name, drawn in zip(("pearson", "spearman", "kendall"), np.transpose(draws), strict=True):
        low, high = np.quantile(drawn, [0.025, 0.975])
        assert found["cluster_low"].sel(coefficient=name) == pytest.approx(low, abs=0.08)
        assert found["cluster_high"].sel(coefficient=name) == pytest.approx(high, abs=0.08)
    assert np.isnan(found["cluster_low"].sel(coefficient="weighted_tau"))


def test_tables_are_symmetric():
    found = headline_pairs(study())
    for name in found.data_vars:
        np.testing.assert_allclose(
            found[name], found[name].transpose("coefficient", "target", "predictor"), atol=1e-12
        )


@pytest.mark.parametrize(
    "evidence",
    [
        study(models=3, gaps=False),
        study(change=lambda s: np.full_like(s, 0.5), gaps=False),
        study(change=lambda s: np.where([[True, True, False]], s, np.nan)),
    ],
    ids=["three models", "constant scores", "all-missing data set"],
)
def test_poor_studies_withhold_numbers_without_breaking(evidence):
    found = headline_pairs(evidence)
    other = found.where(found["predictor"] != found["target"])
    if "linear/b@d2" not in found["predictor"].values:  # nothing is said of what is missing
        assert np.isfinite(other["value"]).any()
    else:
        for name in ("value", "low", "high", "cluster_low", "p_zero"):
            assert np.isnan(other[name]).all()
    assert "4 models" in found.attrs["withheld"]


def test_eight_families_are_not_few_and_four_leave_intervals_over_models():
    assert (headline_pairs(study(families=8))["few_families"].max()) == 0
    few = headline_pairs(study(families=4))
    shown = np.isfinite(few["low"])
    assert shown.any()
    assert (few["over_models"].where(shown, 1) == 1).all()
    assert np.isnan(few["cluster_low"]).all()
    assert np.isfinite(few["value"]).any()
