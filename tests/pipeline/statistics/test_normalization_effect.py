"""With and without normalisation: pairs, planted differences, ranks against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from made_cubes import make_cube, make_evidence
from named_variants import variants_named
from scipy import stats

from pipeline.statistics.normalization_effect import (
    normalization_effect,
    normalization_ranking,
)
from pipeline.statistics.panel import cluster_weights
from pipeline.statistics.predictor_tests import normalization_tests
from pipeline.statistics.twins import plain_twins

VARIANTS = ["knn/study", "knn/study_zscore"]


def test_twins():
    names = [
        "knn/study", "knn/study_zscore", "knn/k5_euclidean_uniform_none",
        "knn/k5_euclidean_uniform_zscore", "knn/dino_k10", "linear/ridge_none",
        "linear/ridge_zscore", "linear/ridge_l2", "linear/logistic_zscore", "linear/sgd_cached",
        "linear/sgd_cached_bn", "linear/sgd_cached_tuned", "linear/sgd_cached_bn_tuned",
        "transfer/from_d0_knn_study_zscore", "transfer/from_d0_knn_study_target_zscore",
    ]  # fmt: skip
    twins = {
        "knn/study_zscore": "knn/study",
        "knn/k5_euclidean_uniform_zscore": "knn/k5_euclidean_uniform_none",
        "linear/ridge_zscore": "linear/ridge_none",
        "linear/ridge_l2": "linear/ridge_none",
        "linear/sgd_cached_bn": "linear/sgd_cached",
        "linear/sgd_cached_bn_tuned": "linear/sgd_cached_tuned",
    }
    found = plain_twins(variants_named(names))
    assert {v.full_name: twin.full_name for v, twin in found.items()} == twins
    # How z-scoring and BatchNorm change scores is a table of its own.
    values = np.random.default_rng(0).uniform(0.3, 0.7, (9, 3, len(names)))
    effect = normalization_effect(make_evidence(make_cube(values, names)))
    shown = dict(zip(effect["variant"].values, effect["plain"].values, strict=True))
    assert shown == {name: twin for name, twin in twins.items() if name != "linear/ridge_l2"}


def test_a_planted_difference_with_its_interval():
    rng = np.random.default_rng(0)
    plain = rng.uniform(0.3, 0.7, (9, 3))
    change = 0.05 + rng.normal(0, 0.01, (9, 3))
    values = np.stack([plain, plain + change], axis=-1)
    values[4, 1, 0] = np.nan  # one of the pair is missing: the model is out
    found = normalization_effect(make_evidence(make_cube(values, VARIANTS)))
    found = found.sel(variant="knn/study_zscore")
    low, high = stats.t.interval(0.95, 8, change[:, 0].mean(), stats.sem(change[:, 0]))
    first = found.sel(dataset="d0")
    assert first["difference"].item() == pytest.approx(change[:, 0].mean())
    assert first["low"].item() == pytest.approx(low)
    assert first["high"].item() == pytest.approx(high)
    assert first["without"].item() == pytest.approx(plain[:, 0].mean())
    others = np.arange(9) != 4
    assert found.sel(dataset="d1")["n"] == found.sel(dataset="mean")["n"] == 8
    assert found.sel(dataset="mean")["difference"].item() == pytest.approx(change[others].mean())
    assert found["plain"].item() == "knn/study"


def test_ranking_equals_differences_of_scipys_rho():
    rng = np.random.default_rng(1)
    values = rng.integers(0, 8, (12, 4, 2)) / 10
    values[rng.random(values.shape) < 0.1] = np.nan
    cube = make_cube(values, VARIANTS, cluster=["", "c", "c", ""])
    found = normalization_ranking(make_evidence(cube))
    found = found.sel(variant="knn/study_zscore", predictor="d0", protocol="knn")
    changes = []
    for d in (1, 2, 3):
        both = np.isfinite(values[:, 0]).all(axis=1) & np.isfinite(values[:, d, 0])
        plain, normed = (stats.spearmanr(values[both, 0, v], values[both, d, 0])[0] for v in (0, 1))
        here = found.sel(target=f"d{d}")
        assert here["without"].item() == pytest.approx(plain)
        assert here["difference"].item() == pytest.approx(normed - plain)
        assert here["n"].item() == both.sum()
        changes.append(normed - plain)
    # The cluster of two data sets weighs as much as the other data set.
    expected = np.average(changes, weights=[1, 1, 2])
    assert found.sel(target="mean")["difference"].item() == pytest.approx(expected)


def test_cluster_weights():
    cube = make_cube(np.zeros((4, 4, 1)), ["knn/a"], cluster=["", "x", "x", "d0"])
    # A cluster that is called like a data set is another one.
    assert cluster_weights(cube, ["d0", "d1", "d2", "d3"]).tolist() == pytest.approx(
        [1 / 3, 1 / 6, 1 / 6, 1 / 3]
    )


@pytest.mark.parametrize(
    ("variants", "role", "said"),
    [
        (VARIANTS, "out_of_domain", "no data set is in domain"),
        (VARIANTS, "in_domain", "no data set is out of domain"),
        (VARIANTS[:1], "out_of_domain", "without a normalization"),
    ],
)
def test_why_there_is_no_table_is_true(variants, role, said):
    """One own folder was run with and without: the reason is the role that is missing."""
    values = np.random.default_rng(0).uniform(0.3, 0.7, (9, 1, len(variants)))
    evidence = make_evidence(make_cube(values, variants, role=role))
    assert said in normalization_ranking(evidence).attrs["withheld"]
    reason = normalization_tests(evidence).attrs["withheld"]
    assert ("no variant has a counterpart" in reason) == (len(variants) == 1)
