"""Lines through baseline models, and which heads and data sets they may be used for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from made_cubes import make_cube, make_evidence
from named_variants import variants_named
from scipy import stats
from scipy.special import expit

from pipeline.statistics.baseline_fit import judge
from pipeline.statistics.panel import logit
from pipeline.statistics.robustness import Head, effective_robustness, heads_of, transfer_residual
from pipeline.statistics.shift_groups import correlations_by_shift

VARIANTS = ["linear/ridge_none", "transfer/from_d0_ridge_none"]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_equals_a_fit_per_model_without_that_model(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(3, 1, (2, 12))
    y[rng.random(12) < 0.1] = np.nan
    baseline = rng.random(12) < 0.7
    found = judge(x, y, baseline, 0.9)
    for model in range(12):
        used = baseline & np.isfinite(y) & (np.arange(12) != model)
        if not np.isfinite(y[model]) or used.sum() < 5 or (baseline & np.isfinite(y)).sum() < 5:
            assert np.isnan(found.expected[model])
            continue
        line = stats.linregress(x[used], y[used])
        n, u = used.sum(), x[used]
        rest = y[used] - line.intercept - line.slope * u
        band = np.sqrt(
            (rest @ rest) / (n - 2)
            * (1 + 1 / n + (x[model] - u.mean()) ** 2 / np.square(u - u.mean()).sum())
        ) * stats.t.ppf(0.95, n - 2)  # fmt: skip
        assert found.expected[model] == pytest.approx(line.intercept + line.slope * x[model])
        assert found.slope[model] == pytest.approx(line.slope)
        assert found.half[model] == pytest.approx(band)
        assert found.n[model] == n
        beyond = max(u.min() - x[model], x[model] - u.max(), 0)
        assert found.beyond[model] == pytest.approx(beyond)


def test_the_judged_model_has_no_part_in_its_line():
    x, y = np.random.default_rng(0).normal(size=(2, 10))
    before = judge(x, y, np.ones(10, bool), 0.95)
    y[3] += 100
    after = judge(x, y, np.ones(10, bool), 0.95)
    assert after.expected[3] == pytest.approx(before.expected[3])
    assert after.half[3] == pytest.approx(before.half[3])


@pytest.mark.slow
def test_the_prediction_band_covers():
    rng = np.random.default_rng(1)
    inside = []
    for _ in range(2_000):
        x = rng.normal(size=9)
        y = 0.8 * x - 1 + rng.normal(0, 0.3, 9)
        found = judge(x, y, np.arange(9) < 8, 0.95)
        inside.append(abs(y[8] - found.expected[8]) <= found.half[8])
    assert 0.94 <= np.mean(inside) <= 0.96


def test_heads_that_are_transferred():
    names = ["knn/study", "linear/ridge_none", "transfer/from_a_b_ridge_none",
             "transfer/from_a_knn_study", "transfer/from_a_ridge_target_zscore",
             "transfer/from_a_knn_dino_k10"]  # fmt: skip
    assert heads_of(variants_named(names)) == [
        Head("transfer/from_a_b_ridge_none", "linear/ridge_none", "a_b"),
        Head("transfer/from_a_knn_study", "knn/study", "a"),
    ]


def shifted(n=12, effect=1.5, unjudged=0):
    """Models on a line of slope .9, the last one above it by `effect` logits."""
    rng = np.random.default_rng(2)
    home = rng.normal(1.5, 0.8, n)
    away = 0.9 * home - 1 + rng.normal(0, 0.05, n)
    away[-1] += effect
    values = np.full((n, 2, 2), np.nan)
    values[:, 0, 0], values[:, 1, 0], values[:, 1, 1] = expit(home), 0.5, expit(away)
    supervision = np.where(np.arange(n) < n - 2, "supervised", "self_supervised")
    cube = make_cube(values, VARIANTS, supervision=supervision, n_test=100_000)
    hits = {(v, d): np.ones((n, 40)) for v in VARIANTS for d in ("d0", "d1")}
    hits[VARIANTS[1], "d1"][:, :unjudged] = np.nan
    return make_evidence(cube, hits=hits)


def test_a_planted_robust_model_is_above_the_band():
    found = effective_robustness(shifted()).sel(head=VARIANTS[1], dataset="d1")
    assert found["value"].sel(model="m11").item() == pytest.approx(1.5, abs=0.15)
    assert found["outside"].sel(model="m11") == 1
    assert found["outside"].sel(model="m10") == 0
    assert found["slope"].sel(model="m11").item() == pytest.approx(0.9, abs=0.1)
    assert found["n"].sel(model="m11") == 10
    assert found["n"].sel(model="m0") == 9  # a baseline model is judged without itself
    assert found.attrs["baseline"] == ", ".join(f"m{i}" for i in range(10))


def test_a_head_is_not_compared_over_other_classes():
    found = effective_robustness(shifted(unjudged=4))
    assert np.isnan(found["value"]).all()


def test_without_a_baseline_there_is_no_effective_robustness():
    evidence = shifted()
    reason = effective_robustness(evidence, ["m0", "m1"]).attrs["withheld"]
    assert "only 2 are declared" in reason


def test_on_each_side_of_a_pivot_there_is_a_line_of_its_own():
    """Weak models are near the floor; from the pivot on accuracy rises (Taori et al. 2020)."""
    rng = np.random.default_rng(5)
    home = np.linspace(-1, 2, 30)
    away = np.where(home <= home[14], -4 + 0.1 * home, -4 + 3 * (home - home[14]))
    away = away + rng.normal(0, 0.03, 30)
    away[[5, 25]] += 1
    values = np.stack([expit(home), expit(away)], axis=1)[:, :, np.newaxis]
    evidence = make_evidence(make_cube(values, ["classifier/plain"], n_test=10**6))
    settings = evidence.settings.model_copy(update={"pivot": {"d1": "m14"}})
    baseline = [f"m{i}" for i in range(30) if i not in (5, 25)]
    found = effective_robustness(replace(evidence, settings=settings), baseline)
    one, two = found["head"].values
    assert "each side of m14" in two
    for model in ("m5", "m25"):
        of = found.sel(head=two, dataset="d1", model=model)
        assert of["value"].item() == pytest.approx(1, abs=0.1)
        assert of["n"] == 14
        below = np.arange(30) <= 14 if model == "m5" else np.arange(30) > 14
        used = below & ~np.isin(np.arange(30), (5, 25))
        line = stats.linregress(home[used], away[used])
        assert of["slope"].item() == pytest.approx(line.slope, rel=1e-3)
    # One line through all is no line: it bends.
    assert (found["bend"].sel(head=one, dataset="d1").dropna("model") < 1e-6).all()
    xr.testing.assert_identical(
        found.sel(head=one, drop=True).drop_attrs(),
        effective_robustness(evidence, baseline).isel(head=0, drop=True).drop_attrs(),
    )


def test_residuals_of_heads_per_data_set_have_their_own_name():
    rng = np.random.default_rng(3)
    values = rng.uniform(0.2, 0.9, (9, 3, 1))
    found = transfer_residual(make_evidence(make_cube(values, VARIANTS[:1])))
    found = found.sel(protocol="linear", in_domain="d0")
    x, y = (logit(values[:, d, 0], np.array(1_000)) for d in (0, 2))
    others = np.arange(9) != 5
    line = stats.linregress(x[others], y[others])
    expected = y[5] - line.intercept - line.slope * x[5]
    assert found["value"].sel(dataset="d2", model="m5").item() == pytest.approx(expected)
    assert np.isnan(found["value"].sel(dataset="d0")).all()


def test_correlations_by_kind_of_shift():
    rng = np.random.default_rng(4)
    values = rng.uniform(0, 1, (10, 5, 1))
    cube = make_cube(values, VARIANTS[:1], shift=["", "sketch", "sketch", "noise", ""])
    found = correlations_by_shift(make_evidence(cube)).sel(predictor="linear", protocol="linear")
    rho = [stats.spearmanr(values[:, 0, 0], values[:, d, 0])[0] for d in range(5)]
    sketch = found.sel(shift="sketch", in_domain="d0")
    assert sketch["value"].item() == pytest.approx(np.mean(rho[1:3]))
    assert sketch["lowest"].item() == pytest.approx(min(rho[1:3]))
    assert sketch["datasets"].item() == 2
    assert found.sel(shift="noise", in_domain="d0")["value"].item() == pytest.approx(rho[3])
    assert sorted(found["shift"].values) == ["noise", "sketch"]
