"""What choosing by a predictor costs: planted regret, hit rates, decisions, Pareto fronts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_cubes import make_cube
from made_evidence import make_evidence
from scipy import stats

from pipeline.statistics.choosing import choosing
from pipeline.statistics.fidelity_cost import fidelity_cost, pareto_front
from pipeline.statistics.model_pairs import model_pairs
from pipeline.statistics.regret import (
    choice,
    crossed_regret,
    decision_accuracy,
    hit_rates,
    naive_regret,
    top_half,
)


def test_naive_and_crossed_regret_bracket_a_planted_regret():
    rng = np.random.default_rng(0)
    images, models = 300, 12
    sums = np.zeros(3)
    for _ in range(400):
        p = rng.normal(0.6, 0.04, models).clip(0, 1)
        hits = rng.random((models, images)) < p[:, np.newaxis]
        side = rng.permutation(images) < images // 2
        halves = np.stack([hits[:, s].mean(axis=1)[np.newaxis] for s in (side, ~side)])
        chosen = choice(p + rng.normal(0, 0.04, models))
        sums += (
            crossed_regret(chosen, halves),
            p.max() - chosen @ p,
            naive_regret(chosen, hits.mean(axis=1)),
        )
    crossed, true, naive = sums / 400
    assert crossed < true < naive
    assert naive - crossed < 0.05


def test_ties_of_the_choice_are_shared():
    proxy, truth = np.array([1.0, 1.0, 0.0]), np.array([0.9, 0.5, 0.1])
    np.testing.assert_allclose(choice(proxy), [0.5, 0.5, 0])
    assert naive_regret(choice(proxy), truth) == pytest.approx(0.2)
    assert hit_rates(proxy, truth) == {"top1": 0.5, "top3": 1.0}


def test_hit_rates():
    truth = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    assert hit_rates(np.array([5, 4, 3, 2, 1.0]), truth) == {"top1": 1, "top3": 1}
    assert hit_rates(np.array([3, 5, 4, 2, 1.0]), truth) == {"top1": 0, "top3": 1}
    assert hit_rates(np.array([2, 5, 4, 3, 1.0]), truth) == {"top1": 0, "top3": 0}
    assert hit_rates(np.ones(5), truth) == {"top1": 1 / 5, "top3": 3 / 5}
    # Two models are the best: either will do.
    assert hit_rates(np.array([1, 5, 0, 0, 0.0]), np.array([9, 9, 1, 1, 1.0]))["top1"] == 1


def test_top_half_is_spearman_among_the_better_ones():
    rng = np.random.default_rng(0)
    proxy, truth = rng.random((2, 11))
    upper = np.argsort(proxy)[-6:]
    assert top_half(proxy, truth) == pytest.approx(
        stats.spearmanr(proxy[upper], truth[upper]).statistic
    )
    assert np.isnan(top_half(proxy[:6], truth[:6]))
    assert np.isnan(top_half(np.ones(9), truth[:9]))


def test_decisions():
    first, second = np.array([1.0, 2, 3, 1]), np.array([0.0, 3, 3, 2])
    assert decision_accuracy(first, second, np.array([0.1, 0.1, 0.1, -0.2])) == 2.5 / 4
    assert np.isnan(decision_accuracy(np.zeros(0), np.zeros(0), np.zeros(0)))


ROLES = ["in_domain", "out_of_domain", "out_of_domain"]


def study(models=10, images=400, outcomes=True):
    rng = np.random.default_rng(0)
    p = np.linspace(0.3, 0.8, models)[:, np.newaxis]
    scores, hits = {}, {}
    for name in ("knn/a", "linear/b"):
        own = [rng.random((models, images)) < p for _ in ROLES]
        scores[name] = np.stack([h.mean(axis=1) for h in own], axis=1)
        if outcomes:
            hits |= {(name, f"d{d}"): h for d, h in enumerate(own)}
    scores["predictors/c"] = -scores["knn/a"]
    return make_evidence(make_cube(scores, role=ROLES), hits)


def test_a_good_predictor_decides_rightly_and_a_reversed_one_wrongly():
    evidence = study()
    found = choosing(evidence).sel(targets="other_protocols")
    good, bad = found.sel(predictor="knn/a@d0"), found.sel(predictor="predictors/c@d0")
    assert good["decision_accuracy"] > 0.97
    assert bad["decision_accuracy"] < 0.03
    assert good["relative_naive"] < 0.3 < 1 < bad["relative_naive"]
    assert bad["top3"] == 0
    tests = model_pairs(evidence).sel(variant="linear/b", dataset=["d1", "d2"])
    assert good["decided_pairs"] == tests["differs"].sum()
    assert good["n_targets"] == 2
    assert good["regret_crossed"] <= good["regret_naive"] + 0.02


def test_regret_by_hand():
    evidence = study()
    value = evidence.cube["value"].sel(metric="top1")
    proxy = value.sel(variant="knn/a", dataset="d0").values
    regrets, scales = [], []
    for dataset in ("d1", "d2"):
        truth = value.sel(variant="linear/b", dataset=dataset).values
        regrets.append(truth.max() - truth[np.argmax(proxy)])
        scales.append(truth.max() - np.median(truth))
    found = choosing(evidence).sel(predictor="knn/a@d0", targets="linear")
    assert found["regret_naive"] == pytest.approx(np.mean(regrets))
    assert found["relative_naive"] == pytest.approx(np.mean(regrets) / np.mean(scales))


def test_imported_scores_have_naive_regret_only():
    found = choosing(study(outcomes=False)).sel(predictor="knn/a@d0", targets="linear")
    assert np.isfinite(found["regret_naive"])
    assert np.isnan(found["regret_crossed"])
    assert np.isnan(found["decision_accuracy"])
    assert found["decided_pairs"] == 0


points = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=8)


@given(points)
def test_nothing_beats_the_front_and_something_beats_the_rest(found):
    fidelities, costs = np.array(found, float).T
    front = pareto_front(fidelities, costs)
    for i, (f, c) in enumerate(found):
        beaten = any(f2 >= f and c2 <= c and (f2, c2) != (f, c) for f2, c2 in found)
        assert front[i] == (not beaten)


def test_what_has_no_cost_is_on_no_front():
    front = pareto_front(np.array([1.0, 0.5, np.nan]), np.array([np.nan, 1.0, 1.0]))
    np.testing.assert_array_equal(front, [np.nan, 1, np.nan])


def test_costs():
    found = fidelity_cost(study()).sel(targets="all")
    knn, cheap = found.sel(predictor="knn/a@d0"), found.sel(predictor="predictors/c@d0")
    each = found.sel(predictor="predictors/c@each target")
    assert knn["forward_passes"] == 1200 + 400
    assert cheap["forward_passes"] == 1200
    assert each["forward_passes"] == 2400
    assert (knn["seconds"], each["seconds"]) == (2, 4)
    imported = fidelity_cost(study(outcomes=False)).sel(targets="all", predictor="knn/a@d0")
    assert np.isnan(imported["forward_passes"])
    assert np.isnan(imported["pareto_forward_passes"])
