"""Label counts at which supervised and self-supervised models change places."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_cubes import make_cube, make_evidence
from scipy import stats

from pipeline.statistics.budgets import curves, label_curves
from pipeline.statistics.crossing import crossings, probability_of_none, undecided
from pipeline.statistics.label_crossing import label_crossing
from pipeline.statistics.label_gap import label_gap
from pipeline.study.budget import Budget

SHOTS = (1, 2, 5, 10, 20, 50)
VARIANTS = [f"fewshot/ridge_{s}_shot{'s' if s > 1 else ''}" for s in SHOTS]


def study(slope, crossing, models=20, noise=0.02, seed=0, draws=8, draw_noise=0.02, datasets=2):
    """Half supervised: their lead grows by `slope` per factor e of labels, from 0 at `crossing`."""
    rng = np.random.default_rng(seed)
    supervised = np.arange(models) % 2 == 0
    backbone = np.where(np.arange(models) // 2 % 2, "vit", "resnet")
    lead = slope * (np.log(SHOTS) - np.log(crossing))
    base = 0.4 + 0.05 * np.log(SHOTS) + 0.1 * (backbone == "vit")[:, None]
    truth = base + np.where(supervised[:, None], lead / 2, -lead / 2)
    truth = truth + rng.normal(0, noise, (models, 1))
    shared = rng.normal(0, 0.1, (draws, datasets, len(SHOTS)))  # a draw is lucky for all models
    own = rng.normal(0, draw_noise, (draws, models, datasets, len(SHOTS)))
    each = truth[None, :, None] + shared[:, None] + own
    cube = make_cube(each.mean(axis=0), VARIANTS, backbone=backbone,
                     supervision=np.where(supervised, "supervised", "self_supervised"))  # fmt: skip
    held = {
        (v, f"d{d}"): each[:, :, d, s].T for s, v in enumerate(VARIANTS) for d in range(datasets)
    }
    return make_evidence(cube, draws=held), truth


def test_a_planted_crossing_is_found():
    evidence, _ = study(slope=0.06, crossing=7)
    found = label_crossing(evidence).sel(head="ridge", group="all backbones", dataset="mean")
    assert found["claim"].item() == "families"
    assert found["crossings"] == 1
    assert found["crossing"].item() == pytest.approx(7, rel=0.5)
    assert found["low"] < 7 < found["high"]
    assert (found["below"].item(), found["above"].item()) == (0, 0)
    assert found["p_none"] < 0.01
    gap = label_gap(evidence).sel(head="ridge", group="all backbones", dataset="mean")
    assert gap["difference"].sel(budget="1_shot") < 0 < gap["difference"].sel(budget="50_shots")


def test_a_lead_at_all_counts_has_no_crossing():
    evidence, _ = study(slope=0.0, crossing=7, noise=0.01)
    cube = evidence.cube.copy(deep=True)
    cube["value"][{"model": slice(0, None, 2)}] += 0.1
    found = label_crossing(make_evidence(cube, draws={(v, "d0"): np.zeros((20, 2)) + 0.5
                                                      for v in VARIANTS}))  # fmt: skip
    found = found.sel(group="all backbones", dataset="d0", head="ridge")
    assert found["p_none"] > 0.99
    assert np.isnan([found["crossing"], found["low"], found["high"]]).all()


@pytest.mark.slow
def test_the_planted_crossing_lies_in_the_set():
    held, none = [], []
    for seed in range(150):
        evidence, _ = study(slope=0.03, crossing=7, noise=0.04, seed=seed, datasets=1)
        found = label_crossing(evidence).sel(head="ridge", group="all backbones", dataset="d0")
        held.append(found["low"].item() <= 7 <= found["high"].item())
        none.append(found["p_none"].item())
    assert 0.90 <= np.mean(held) <= 0.99
    assert np.mean(none) < 0.6


def test_below_eight_models_a_side_the_claim_is_about_the_models_named():
    evidence, truth = study(slope=0.06, crossing=7, models=8)
    found = label_gap(evidence).sel(head="ridge", group="all backbones")
    assert set(found["claim"].values.ravel()) == {"the models named"}
    # Their own true difference, whatever the families: draws are shared, so the noise common to
    # all models is not in the interval.
    true = (truth[::2].mean(axis=0) - truth[1::2].mean(axis=0)) / 0.9
    here = found.sel(dataset="d0")
    assert (np.abs(here["difference"] - true) < 0.05).all()
    assert (here["high"] - here["low"] < 0.1).all()


def test_named_models_interval_is_the_paired_t_over_draws():
    evidence, _ = study(slope=0.06, crossing=7, models=4, datasets=1)
    found = label_gap(evidence).sel(head="ridge", dataset="d0", budget="5_shots")
    draws = evidence.read_draws("fewshot/ridge_5_shots", "d0").scores
    resnet, vit = (draws[0] - draws[1]) / 0.9, (draws[2] - draws[3]) / 0.9  # 10 classes
    for group, each in (
        ("resnet", resnet), ("vit", vit), ("all backbones", (resnet + vit) / 2),
        ("vit - resnet", vit - resnet),
    ):  # fmt: skip
        low, high = stats.t.interval(0.95, len(each) - 1, each.mean(), stats.sem(each))
        here = found.sel(group=group)
        assert here["difference"].item() == pytest.approx(each.mean())
        assert here["low"].item() == pytest.approx(low)
        assert here["high"].item() == pytest.approx(high)


def test_models_without_a_match_do_not_count():
    evidence, _ = study(slope=0.06, crossing=7, models=4)
    cube = evidence.cube
    cube["supervision"][:] = ["supervised", "self_supervised", "supervised", "supervised"]
    found = label_gap(evidence).sel(group="all backbones", head="ridge", dataset="d0")
    assert set(found["supervised"].values) == {1}
    cube["backbone"][:] = ["resnet", "vit", "resnet", "resnet"]
    alone = make_evidence(cube, draws={(VARIANTS[0], "d0"): np.zeros((4, 3))})
    assert "no backbone" in label_gap(alone).attrs["withheld"]


def test_labels_of_a_budget():
    assert Budget(shots=25).labels(500, 10) == 25
    assert Budget(share=0.1).labels(500, 10) == 5
    assert Budget(share=0.001).labels(500, 10) == 1


def test_a_share_counts_the_images_that_were_drawn():
    """1% of 14 images a class is one image, and no sixth part of one."""
    names = ["fewshot/ridge_1_shot", "fewshot/ridge_1_percent", "fewshot/ridge_10_percent"]
    told = dict(zip(names, (3.0, 3.0, np.nan), strict=True))
    draws = {(name, "d0"): np.full((4, 5), 0.5) for name in names}
    evidence = make_evidence(make_cube(np.full((4, 1, 3), 0.5), names), draws=draws, classes=3)

    def read(variant, dataset):
        return dataclasses.replace(evidence.read_draws(variant, dataset), images=told[variant])

    found = curves(dataclasses.replace(evidence, read_draws=read))
    assert [b.name for b in found.budgets] == ["1_shot", "1_percent", "10_percent"]
    # 300 train images of 3 classes: where nobody counted, by the share itself.
    assert found.labels[0].tolist() == [1, 1, 10]


def test_curves_are_corrected_for_chance():
    values = np.array([[[0.1]], [[0.55]], [[1.0]]])
    evidence = make_evidence(make_cube(values, VARIANTS[:1]),
                             draws={(VARIANTS[0], "d0"): values[:, :, 0]}, classes=10)  # fmt: skip
    found = label_curves(evidence)["corrected"].sel(head="ridge", budget="1_shot", dataset="d0")
    assert found.values.tolist() == pytest.approx([0, 0.5, 1])


LABELS = np.array([1.0, 3, 9, 27, 81])


@settings(max_examples=80, deadline=None)
@given(
    middle=st.lists(st.floats(-1, 1), min_size=5, max_size=5),
    half=st.lists(st.floats(0.05, 0.5), min_size=5, max_size=5),
)
def test_the_undecided_set_equals_a_fine_grid(middle, half):
    low, high = np.subtract(middle, half), np.add(middle, half)
    found = undecided(LABELS, low, high)
    x = np.union1d(np.linspace(0, np.log(81), 40_001), np.log(LABELS))  # may touch 0 just there
    inside = (np.interp(x, np.log(LABELS), low) <= 1e-12) & (
        np.interp(x, np.log(LABELS), high) >= -1e-12
    )
    if inside.any():
        assert found.low == pytest.approx(np.exp(x[inside][0]), rel=1e-3)
        assert found.high == pytest.approx(np.exp(x[inside][-1]), rel=1e-3)
        assert found.pieces >= np.count_nonzero(np.diff(inside.astype(int)) == 1) + inside[0]
    else:
        assert np.isnan(found.low) or found.high / found.low < 1.001  # touches between grid points
    assert found.below == (low[0] <= 1e-12 and high[0] >= -1e-12)
    assert found.above == (low[-1] <= 1e-12 and high[-1] >= -1e-12)


def test_two_pieces():
    found = undecided(LABELS, np.array([-1.0, 1, 1, 1, -1]), np.array([1.0, 2, 2, 2, 1]))
    assert (found.pieces, found.below, found.above) == (2, True, True)


def test_crossings_on_the_logarithmic_scale():
    assert crossings(LABELS, np.array([-1.0, 1, 1, 1, 1])) == [pytest.approx(np.sqrt(3))]
    assert crossings(LABELS, np.array([-1.0, 0, 1, 1, 1])) == [pytest.approx(3)]
    assert crossings(LABELS, np.array([1.0, 0, 1, 1, 1])) == []
    assert len(crossings(LABELS, np.array([-1.0, 1, -1, 1, -1]))) == 4


def test_probability_of_no_crossing_is_that_of_independent_signs():
    rng = np.random.default_rng(0)
    p = stats.norm.cdf([1.0, 0.5])
    found = probability_of_none(np.array([1.0, 0.5]), np.eye(2), 100_000, rng)
    assert found == pytest.approx(p.prod() + (1 - p).prod(), abs=0.01)
    together = probability_of_none(np.array([1.0, 1.0]), np.ones((2, 2)), 1_000, rng)
    assert together == 1  # what moves together changes its sign together
