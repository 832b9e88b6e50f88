"""Predictors are compared on what all of them have; nothing that has a score vanishes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_cubes import make_cube
from made_evidence import make_evidence
from scipy import stats

from pipeline.statistics import fidelity as fidelity_module
from pipeline.statistics.common_ground import common_ground
from pipeline.statistics.comparison import comparison
from pipeline.statistics.fidelity import fidelity
from pipeline.statistics.predictor_tests import predictor_differences

NAMES = ("knn/a", "linear/b", "predictors/c")


def scores_of(models=12, targets=4, seed=0, noises=(0.8, 0.3, 1.5)):
    """Of one in-domain data set and several targets; ability is shared, noise is each one's."""
    rng = np.random.default_rng(seed)
    ability = rng.normal(0, 1, (models, 1))
    return {
        name: 0.5 + 0.05 * (ability + noise * rng.normal(0, 1, (models, targets + 1)))
        for name, noise in zip(NAMES, noises, strict=True)
    }


def evidence_of(scores, **words):
    targets = next(iter(scores.values())).shape[1] - 1
    return make_evidence(
        make_cube(scores, role=["in_domain"] + ["out_of_domain"] * targets, **words)
    )


def by_hand(scores, predictor, protocols, rows):
    """Protocols alike, then targets alike, over given models of each target."""
    of = {
        protocol: [
            stats.spearmanr(scores[predictor][kept, 0], scores[protocol][kept, t]).statistic
            for t, kept in rows.items()
        ]
        for protocol in protocols
    }
    return np.mean([np.mean(values) for values in of.values()])


def test_all_are_judged_on_the_models_that_all_have():
    scores = scores_of()
    scores["knn/a"][2, 0] = scores["linear/b"][5, 0] = np.nan  # as predictors
    scores["linear/b"][7, 3] = np.nan  # a target
    found = comparison(evidence_of(scores))
    kept = np.delete(np.arange(12), [2, 5])
    rows = dict.fromkeys((1, 2, 4), kept) | {3: kept}
    knn = by_hand(scores, "knn/a", ["knn/a"], rows)
    assert found["mean"].sel(predictor="knn/a@d0", targets="knn") == pytest.approx(knn)
    rows[3] = np.delete(np.arange(12), [2, 5, 7])
    linear = by_hand(scores, "knn/a", ["linear/b"], rows)
    assert found["mean"].sel(predictor="knn/a@d0", targets="linear") == pytest.approx(linear)
    both = found.sel(predictor="knn/a@d0", targets="all")
    assert both["mean"] == pytest.approx((knn + linear) / 2)
    assert (both["n"], both["n_targets"]) == (9, 8)


def test_the_leader_on_the_same_targets_leads_though_means_over_others_say_otherwise():
    rng = np.random.default_rng(3)
    ability = rng.normal(0, 1, (30, 1))
    easy = ability + 0.1 * rng.normal(0, 1, (30, 5))  # linear targets follow the ability
    hard = ability + 3.0 * rng.normal(0, 1, (30, 5))  # kNN targets hardly do
    easy[:, 0] = ability[:, 0] + 0.1 * rng.normal(0, 1, 30)
    hard[:, 0] = ability[:, 0] + 0.4 * rng.normal(0, 1, 30)
    found = comparison(evidence_of({"linear/b": 0.5 + 0.03 * easy, "knn/a": 0.5 + 0.03 * hard}))[
        "mean"
    ].sel(targets="all")
    assert found.sel(predictor="linear/b@d0") > found.sel(predictor="knn/a@d0")


def test_who_costs_too_much_ground_is_taken_out_with_the_reason():
    scores = scores_of(models=14)
    scores["predictors/c"][6:] = np.nan  # six models have it
    found = comparison(evidence_of(scores)).sel(targets="all")
    assert found["compared"].sel(predictor="predictors/c@d0") == 0
    assert np.isnan(found["mean"].sel(predictor="predictors/c@d0"))
    assert "6 models" in found["reason"].sel(predictor="predictors/c@d0").item()
    rest = found.sel(predictor=["knn/a@d0", "linear/b@d0"])
    assert (rest["compared"] == 1).all()
    assert (rest["n"] == 14).all()
    assert (rest["reason"] == "").all()


def test_where_no_predictor_has_eight_models_all_are_compared_on_fewer():
    scores = scores_of(models=7)
    scores["predictors/c"][5:] = np.nan
    found = comparison(evidence_of(scores)).sel(targets="all")
    assert (found["compared"] == 1).all()
    assert (found["n"] == 5).all()


def test_with_the_scores_of_one_protocol_alone_no_predictor_vanishes():
    """The fault: a default for all members (targets of other protocols) that is empty for some."""
    scores = scores_of()
    scores["knn/a"][:, 1:] = np.nan  # targets are linear alone
    evidence = evidence_of(scores)
    found = comparison(evidence)
    assert found.attrs["headline_targets"] == "all"
    assert set(found["predictor"].values) == {
        "knn/a@d0", "linear/b@d0", "predictors/c@d0", "predictors/c@each target"
    }  # fmt: skip
    assert (found["compared"].sel(targets="all") == 1).all()


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_every_scored_predictor_is_compared_or_has_a_reason(data):
    seed = data.draw(st.integers(0, 10**6))
    models, targets = data.draw(st.integers(4, 14)), data.draw(st.integers(1, 5))
    scores = scores_of(models, targets, seed)
    rng = np.random.default_rng(seed)
    share = data.draw(st.sampled_from([0.0, 0.1, 0.5, 0.8]))
    for values in scores.values():
        values[rng.random(values.shape) < share] = np.nan
    if data.draw(st.booleans()):
        scores["knn/a"][:, 0] = 0.5  # does not vary
    evidence = evidence_of(scores)
    found = comparison(evidence)
    if not found.data_vars:
        assert isinstance(fidelity(evidence), str)
        return
    trusted = fidelity(evidence)
    for s, name in enumerate(found["targets"].values):
        table = found.isel(targets=s)
        told = (table["reason"] != "").values
        asked = trusted.found.members(name)[trusted.found.protocol_places]
        ground = common_ground(trusted.found, trusted.spearman, asked)
        for p in range(len(told)):
            assert told[p] != bool(table["compared"][p])
        # What is compared shares enough, or one is left.
        counts = ground.n[ground.targets]
        if ground.compared.sum() > 1:
            assert len(counts)
            assert counts.min() >= 4
        means = table["mean"].values[table["compared"].values == 1]
        assert np.isfinite(means).all() or np.isnan(means).all()


@pytest.fixture
def few_redraws(monkeypatch):
    monkeypatch.setattr(fidelity_module, "REPLICATES", 200)


@pytest.mark.parametrize("seed", range(20))
def test_an_identical_predictor_with_missing_cells_does_not_differ(few_redraws, seed):
    scores = scores_of(models=14, targets=5, seed=seed)
    rng = np.random.default_rng([seed, 1])
    scores["fewshot/d"] = scores["linear/b"].copy()
    for values in scores.values():
        values[rng.random(values.shape) < 0.15] = np.nan
    families = [f"f{i % 7}" for i in range(14)]
    found = predictor_differences(evidence_of(scores, family=families))
    told = found.sel(predictor="fewshot/d@d0", reference="linear/b@d0")
    known = np.isfinite(told["difference"].values)
    assert known.any()
    assert (told["difference"].values[known] == 0).all()
    assert (told["p"].values[known] == 1).all()


def test_a_paired_difference_is_over_the_models_that_both_have(few_redraws):
    scores = scores_of(models=14)
    scores["knn/a"][:3, 0] = np.nan
    scores["linear/b"][12, 0] = np.nan
    families = [f"f{i % 7}" for i in range(14)]
    found = predictor_differences(evidence_of(scores, family=families))
    kept = np.delete(np.arange(14), [0, 1, 2, 12])
    rows = dict.fromkeys((1, 2, 3, 4), kept)
    knn, linear = (by_hand(scores, p, ["knn/a", "linear/b"], rows) for p in ("knn/a", "linear/b"))
    pair = found.sel(predictor="knn/a@d0", reference="linear/b@d0", targets="all")
    assert pair["difference"] == pytest.approx(knn - linear)
    assert pair["low"] < pair["difference"] < pair["high"]
