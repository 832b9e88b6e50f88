"""Kind against backbone: planted effects, designs that can't tell, variance shares."""

from __future__ import annotations

import numpy as np
import pytest
from made_cubes import make_cube, make_evidence
from scipy.special import expit

from pipeline.statistics.design import obstacle
from pipeline.statistics.explained import (
    adjusted_r2,
    divide_variance,
    objective_share,
    variance_explained,
)
from pipeline.statistics.why import gap_sensitivity, gaps

VARIANTS = ["linear/ridge_none"]
GAP = "generative - discriminative"


def filled(kind_effect, backbone_effect, cells=(3, 9, 9, 3), noise=0.15, seed=0):
    """Models of both kinds on both backbones: generative ones are mostly vits.

    `cells` are numbers of generative resnets, generative vits, discriminative resnets and vits.
    """
    kind = np.repeat(["generative", "generative", "discriminative", "discriminative"], cells)
    backbone = np.repeat(["resnet", "vit", "resnet", "vit"], cells)
    rng = np.random.default_rng(seed)
    logits = (kind_effect * (kind == "generative") + backbone_effect * (backbone == "vit"))[:, None]
    logits = logits + rng.normal(0, noise, (len(kind), 1)) + rng.normal(0, 0.05, (len(kind), 3))
    cube = make_cube(expit(logits)[:, :, None], VARIANTS, objective=kind, backbone=backbone,
                     n_test=100_000)  # fmt: skip
    return make_evidence(cube)


def test_a_planted_backbone_effect_explains_the_gap():
    found = objective_share(filled(0.0, 1.0)).sel(protocol="linear", dataset="mean")
    assert found["verdict"] == ""
    assert found["gap"] == pytest.approx(0.5, abs=0.15)  # 75% less 25% vits
    assert found["adjusted_low"] < 0 < found["adjusted_high"]
    assert found["share"] == pytest.approx(1, abs=0.25)
    parts = variance_explained(filled(0.0, 1.0)).sel(protocol="linear", dataset="mean")
    assert parts["last_in"].sel(factor="backbone") > 0.5
    assert parts["last_in"].sel(factor="objective") < 0.05
    assert parts["p"].sel(factor="backbone") < 0.01


def test_a_planted_kind_effect_is_not_put_down_to_the_backbone():
    evidence = filled(1.0, 0.0)
    found = objective_share(evidence).sel(protocol="linear", dataset="mean")
    assert found["adjusted"] == pytest.approx(1, abs=0.15)
    assert abs(found["share"]) < 0.25
    parts = variance_explained(evidence).sel(protocol="linear", dataset="mean")
    assert parts["lmg"].sel(factor="objective") > 0.5
    assert parts["p"].sel(factor="objective") < 0.01


@pytest.mark.slow
def test_the_adjusted_gap_is_unbiased_and_its_interval_covers():
    found = [objective_share(filled(0.3, 1.0, seed=s)).sel(dataset="mean") for s in range(300)]
    gap, low, high = (np.array([f[n].item() for f in found])
                      for n in ("adjusted", "adjusted_low", "adjusted_high"))  # fmt: skip
    assert gap.mean() == pytest.approx(0.3, abs=0.02)
    assert 0.9 <= ((low <= 0.3) & (high >= 0.3)).mean() <= 0.99


@pytest.mark.parametrize("cells", [(0, 6, 17, 3), (1, 6, 17, 3), (0, 9, 17, 0)])
def test_a_confounded_design_is_not_estimable_and_gives_no_number(cells):
    evidence = filled(0.0, 1.0, cells)
    share = objective_share(evidence)
    assert all("not estimable" in v and "generative resnet" in v
               for v in share["verdict"].values.ravel())  # fmt: skip
    assert np.isnan(share[["adjusted", "adjusted_low", "share", "share_low"]].to_array()).all()
    assert np.isfinite(share["gap"]).all()  # what all models differ by is known
    parts = variance_explained(evidence)
    assert all("not estimable" in v for v in parts["verdict"].values.ravel())
    assert np.isnan(parts[["first_in", "last_in", "lmg", "p"]].to_array()).all()


def test_a_gap_that_may_be_none_has_no_share():
    found = objective_share(filled(0.0, 0.0, cells=(6, 6, 6, 6)))
    assert np.isnan(found["share"]).all()
    assert all("contains 0" in v for v in found["verdict"].values.ravel())
    assert np.isfinite(found["adjusted"]).all()


def test_a_single_backbone_and_unknown_words_can_tell_nothing():
    kind, backbone = np.repeat(["generative", "discriminative"], 4), np.repeat("vit", 8)
    assert "single backbone" in obstacle(kind, backbone)
    assert "no model" in obstacle(np.repeat("unknown", 8), backbone)


def test_the_studys_design_within_vits():
    # 17 discriminative resnets, 3 + 6 vits, of which two methods were trained on both.
    kind = np.repeat(["discriminative", "discriminative", "generative"], [17, 3, 6])
    backbone = np.repeat(["resnet50", "vit"], [17, 9])
    method = [f"m{i}" for i in range(26)]
    method[17], method[18] = "m0", "m1"
    logits = 1.0 * (backbone == "vit") + np.linspace(-0.2, 0.2, 26)
    logits[17:20] += 10  # all discriminative vits before all generative ones
    cube = make_cube(expit(logits)[:, None, None], VARIANTS, objective=kind, backbone=backbone,
                     method=method, n_test=10**9)  # fmt: skip
    found = gaps(make_evidence(cube)).sel(scale="logit", protocol="linear", dataset="d0")
    within = found.sel(contrast=f"{GAP} within vit")
    assert within["p"].item() == within["p_smallest"].item() == pytest.approx(1 / 84)
    assert (within["n_left"].item(), within["n_right"].item()) == (6, 3)
    assert np.isnan(found.sel(contrast=GAP)["p"])
    assert found.sel(contrast=GAP)["methods"] == 24
    pairs = found.sel(contrast="vit - resnet50 within methods")
    expected = (logits[17] - logits[0] + logits[18] - logits[1]) / 2
    assert pairs["value"].item() == pytest.approx(expected, abs=1e-3)
    assert (pairs["p_smallest"].item(), pairs["methods"].item()) == (0.5, 2)
    assert "fewer than 5 methods" in pairs["verdict"].item()
    assert np.isnan(pairs["low"])
    inside = found.sel(contrast="vit - resnet50 within discriminative")
    assert (inside["n_left"].item(), inside["n_right"].item()) == (3, 17)


def test_sensitivity_recodes_and_leaves_out():
    kind = np.repeat(["generative", "discriminative"], 5)
    method = ["mae", "milan", "beit_v2", "simmim", "eva", "ibot", "dino", "moco", "byol", "swav"]
    y = np.arange(10) / 20
    cube = make_cube(y[:, None, None], VARIANTS, objective=kind, method=method,
                     family=["mim"] * 5 + list("abcde"))  # fmt: skip
    found = gap_sensitivity(make_evidence(cube))["value"].sel(contrast=GAP, protocol="linear")
    left, right = y[:5], y[5:]
    expected = {
        "none": left.mean() - right.mean(),
        "ibot recoded": np.r_[left, y[5]].mean() - y[6:].mean(),
        "without targets from CLIP": y[[0, 3]].mean() - right.mean(),
        "without model m9": left.mean() - y[5:9].mean(),
        "without family a": left.mean() - y[6:].mean(),
    }
    for change, value in expected.items():
        assert found.sel(change=change).item() == pytest.approx(value), change
    assert np.isnan(found.sel(change="without family mim"))


def test_adjusted_r2_and_its_division():
    rng = np.random.default_rng(0)
    a, b = rng.choice(list("xyz"), 30), rng.choice(list("pq"), 30)
    y = rng.normal(size=30) + (a == "x") + 2 * (b == "p")
    design = np.column_stack([a == "x", a == "y", b == "p", np.ones(30)]).astype(float)
    rest = np.linalg.lstsq(design, y, rcond=None)[1][0]
    expected = 1 - (rest / 26) / (np.var(y) * 30 / 29)
    assert adjusted_r2(y[:, None], a, b)[0] == pytest.approx(expected)
    parts = divide_variance(y, a, b, rng)
    assert sum(part.lmg for part in parts) == pytest.approx(expected)  # LMG divides it all


@pytest.mark.slow
def test_the_permutation_null_of_variance_shares_holds():
    rng = np.random.default_rng(1)
    kind, backbone = np.tile(["g", "d"], 12), np.repeat(["r", "v"], 12)
    p = []
    for _ in range(120):  # a backbone effect, and none of the kind
        y = rng.normal(size=24) + 2 * (backbone == "v")
        p.append(divide_variance(y, kind, backbone, rng)[0].p)
    assert 0.4 < np.mean(p) < 0.6
    assert np.mean(np.array(p) < 0.1) < 0.2
