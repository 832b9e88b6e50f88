"""Null models: who beats them, and that what is equal to them is not said to."""

from __future__ import annotations

import numpy as np
import pytest
from made_cubes import make_cube
from made_evidence import make_evidence
from scipy import stats

from pipeline.statistics import fidelity as fidelity_module
from pipeline.statistics.against_null import against_null_models, null_models, without_strongest
from pipeline.statistics.fidelity import fidelity
from pipeline.statistics.null_models import null_columns, rank_elsewhere

MODELS = 18


@pytest.fixture(autouse=True)
def few_redraws(monkeypatch):
    monkeypatch.setattr(fidelity_module, "REPLICATES", 1000)


def study(seed=0, knn=0.2, size=1.5, clusters=""):
    """Targets are ability with noise; kNN sees it with noise `knn`, parameters with `size`."""
    rng = np.random.default_rng(seed)
    ability = rng.normal(0, 1, (MODELS, 1))
    targets = ability + 1.2 * rng.normal(0, 1, (MODELS, 5))
    scores = {n: (0.5 + 0.03 * targets).copy() for n in ("linear/b", "knn/a")}
    truth = targets[:, 1:].mean(axis=1)
    for name, noise in (("knn/a", knn), ("linear/b", 3.0)):
        scores[name][:, 0] = 0.5 + 0.03 * (truth + noise * rng.normal(0, 1, MODELS))
    cube = make_cube(scores, role=["in_domain"] + ["out_of_domain"] * 4, cluster=clusters)
    parameters = np.exp(ability[:, 0] + size * rng.normal(0, 1, MODELS))
    return make_evidence(cube.assign_coords(parameters=("model", parameters)))


def test_the_rank_elsewhere_leaves_out_the_target_and_its_cluster():
    evidence = study(clusters=["", "a", "a", "", ""])
    found = fidelity(evidence).found
    value = evidence.cube["value"].sel(metric="top1")
    told = rank_elsewhere(evidence, found)
    for t, target in enumerate(found.targets):
        table = value.sel(variant=target.key[0]).values
        share = [stats.rankdata(table[:, d]) / MODELS for d in range(5)]
        groups = {"d1": (3, 4), "d2": (3, 4), "d3": ((1, 2), 4), "d4": ((1, 2), 3)}
        parts = [
            np.mean([share[i] for i in d], axis=0) if isinstance(d, tuple) else share[d]
            for d in groups[target.dataset]
        ]
        np.testing.assert_allclose(told[:, t], np.mean(parts, axis=0))


def test_what_beats_all_null_models_is_told_apart_from_what_does_not():
    found = against_null_models(study(3, 0.05, 6.0)).sel(targets="linear")
    knn, linear = (found.sel(predictor=f"{name}@d0") for name in ("knn/a", "linear/b"))
    for null in ("parameters", "rank_elsewhere", "random"):
        assert knn["difference"].sel(null_model=null) > 0
        assert linear["p_max_t"].sel(null_model="rank_elsewhere") > 0.05 or (
            linear["difference"].sel(null_model="rank_elsewhere") < 0
        )
    assert (knn["p_max_t"] < 0.05).all()
    assert (found["p_max_t"] >= found["p"] - 1e-12).all()


def test_an_evaluation_that_is_a_null_model_does_not_differ_from_it():
    evidence = study()
    size = evidence.cube["parameters"].values
    value = evidence.cube["value"].copy()
    value.loc[{"variant": "knn/a", "dataset": "d0", "metric": "top1"}] = size / size.max()
    same = make_evidence(evidence.cube.assign(value=value))
    row = against_null_models(same).sel(predictor="knn/a@d0", null_model="parameters")
    assert (row["difference"] == 0).all()
    assert (row["p"] == 1).all()


def test_null_models_without_values_are_named_with_the_reason():
    found = null_models(study())
    unknown = found["unknown"].isel(targets=0)
    assert unknown.sel(null_model="gmacs") == f"known of 0 of {MODELS} models"
    assert unknown.sel(null_model="parameters") == ""
    assert np.isnan(found["mean"].sel(null_model="imagenet_top1")).all()
    assert (found["mean"].sel(null_model="random") == 0).all()
    tested = against_null_models(study())["null_model"].values.tolist()
    assert tested == ["parameters", "rank_elsewhere", "random"]


def test_with_one_cluster_of_targets_there_is_no_rank_elsewhere():
    evidence = study(clusters=["", "a", "a", "a", "a"])
    nulls = null_columns(evidence, fidelity(evidence).found)
    assert "rank_elsewhere" in nulls.unknown


def test_a_null_model_that_is_known_of_some_models_is_compared_on_these():
    evidence = study()
    size = evidence.cube["parameters"].values.copy()
    size[:6] = np.nan
    cube = evidence.cube.assign_coords(parameters=("model", size))
    found = null_models(make_evidence(cube)).sel(null_model="parameters", targets="linear")
    assert found["n"] == MODELS - 6
    linear = cube["value"].sel(variant="linear/b", metric="top1").values
    by_hand = np.mean([stats.spearmanr(size[6:], linear[6:, d]).statistic for d in range(1, 5)])
    assert found["mean"] == pytest.approx(by_hand)


def test_without_the_strongest_models():
    evidence = study()
    found = without_strongest(evidence)["mean"].sel(order="knn/a@d0", targets="linear")
    value = evidence.cube["value"].sel(metric="top1")
    linear, knn = value.sel(variant="linear/b").values, value.sel(variant="knn/a").values[:, 0]
    strongest = np.argsort(-stats.rankdata(linear[:, 1:], axis=0).mean(axis=1), kind="stable")
    kept = np.setdiff1d(np.arange(MODELS), strongest[:2])
    by_hand = np.mean([stats.spearmanr(knn[kept], linear[kept, d]).statistic for d in range(1, 5)])
    assert found.sel(left_out=2) == pytest.approx(by_hand)
