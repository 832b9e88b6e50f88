"""Which predictor to trust: against plain loops over scipy, and what is withheld."""

from __future__ import annotations

import numpy as np
import pytest
from made_cubes import make_cube
from made_evidence import make_evidence
from scipy import stats

from pipeline.statistics.fidelity import fidelity, replicates_for
from pipeline.statistics.predictions import EACH_TARGET, predictions, trusted_predictors
from pipeline.statistics.trust import trust

ROLES = ["in_domain", "out_of_domain", "out_of_domain", "out_of_domain"]
CLUSTERS = ["", "dn", "dn", ""]


@pytest.fixture(scope="module")
def evidence():
    rng = np.random.default_rng(0)
    ability = rng.normal(0, 1, (12, 1))
    noisy = {
        name: 0.5 + 0.1 * (ability + scale * rng.normal(0, 1, (12, 4)))
        for name, scale in (("knn/a", 0.5), ("linear/b", 0.3), ("predictors/c", 1.0))
    }
    noisy["knn/a"][3, 2] = np.nan
    families = [f"f{i % 6}" for i in range(12)]
    return make_evidence(make_cube(noisy, role=ROLES, family=families, cluster=CLUSTERS))


def column(evidence, variant, dataset):
    metric = "promise" if variant.startswith("predictors/") else "top1"
    return evidence.cube["value"].sel(variant=variant, dataset=dataset, metric=metric).values


def spearman(x, y, rows=slice(None)):
    x, y = x[rows], y[rows]
    both = np.isfinite(x) & np.isfinite(y)
    return stats.spearmanr(x[both], y[both]).statistic


def by_hand(evidence, variant, dataset, protocols, rows=slice(None), transform=lambda r: r):
    """Protocols alike, clusters alike, data sets of a cluster alike."""
    means = []
    for protocol in protocols:
        target = evidence.headline[protocol]
        of = {
            d: transform(
                spearman(
                    column(evidence, variant, d if dataset == EACH_TARGET else dataset),
                    column(evidence, target, d),
                    rows,
                )
            )
            for d in ("d1", "d2", "d3")
        }
        means.append(((of["d1"] + of["d2"]) / 2 + of["d3"]) / 2)
    return np.mean(means)


CASES = [
    ("knn/a", "d0", "other_protocols", ["linear"]),
    ("knn/a", "d0", "all", ["knn", "linear"]),
    ("linear/b", "d0", "linear", ["linear"]),
    ("predictors/c", "d0", "other_protocols", ["knn", "linear"]),
    ("predictors/c", EACH_TARGET, "knn", ["knn"]),
]


@pytest.mark.parametrize(("variant", "dataset", "targets", "protocols"), CASES)
def test_means_and_intervals_equal_plain_loops(evidence, variant, dataset, targets, protocols):
    found = trust(evidence).sel(
        coefficient="spearman", predictor=f"{variant}@{dataset}", targets=targets
    )
    families = evidence.cube["family"].values
    for value, low, high, transform, back in (
        ("mean", "low", "high", lambda r: r, lambda r: r),
        ("fisher", "fisher_low", "fisher_high", np.arctanh, np.tanh),
    ):
        whole = back(by_hand(evidence, variant, dataset, protocols, transform=transform))
        assert found[value] == pytest.approx(whole)
        z = np.array(
            [
                np.arctanh(
                    back(by_hand(evidence, variant, dataset, protocols, families != f, transform))
                )
                for f in np.unique(families)
            ]
        )
        # No error is below that of as many independent pairs (Bonett & Wright 2000).
        least = np.sqrt((1 + whole**2 / 2) / (int(found["n"]) - 3))
        error = max(np.sqrt(5 / 6 * np.square(z - z.mean()).sum()), least)
        half = stats.t.ppf(0.975, 5) * error
        assert found[low] == pytest.approx(np.tanh(np.arctanh(whole) - half))
        assert found[high] == pytest.approx(np.tanh(np.arctanh(whole) + half))
    assert found["n_clusters"] == 2
    assert found["n_targets"] == 3 * len(protocols)
    assert found["families"] == 6


def test_extremes_and_models(evidence):
    found = trust(evidence).sel(coefficient="spearman", predictor="linear/b@d0", targets="knn")
    inside = column(evidence, "linear/b", "d0")
    of = [spearman(inside, column(evidence, "knn/a", d)) for d in ("d1", "d2", "d3")]
    assert found["lowest"] == pytest.approx(min(of))
    assert found["highest"] == pytest.approx(max(of))
    assert found["n"] == 11


def test_new_targets_need_six_clusters(evidence):
    assert np.isnan(trust(evidence)["new_low"]).all()
    rng = np.random.default_rng(1)
    ability = rng.normal(0, 1, (12, 1))
    scores = {n: 0.5 + 0.1 * (ability + rng.normal(0, 1, (12, 7))) for n in ("knn/a", "linear/b")}
    roles = ["in_domain"] + ["out_of_domain"] * 6
    families = [f"f{i % 6}" for i in range(12)]
    found = trust(make_evidence(make_cube(scores, role=roles, family=families)))
    spearman = found.sel(coefficient="spearman", predictor="knn/a@d0", targets="linear")
    assert spearman["new_low"] < spearman["mean"] < spearman["new_high"]
    assert np.isnan(found["new_low"].sel(coefficient="kendall")).all()


def test_redraws_centre_on_the_observed_means(evidence):
    found = fidelity(evidence)
    observed = found.found.by_protocol(found.spearman)
    np.testing.assert_allclose(found.redraws.models.mean(axis=0), observed, atol=0.1)
    assert found.redraws.families is not None
    assert found.redraws.new_targets is None


def test_finetuning_targets_are_the_headline():
    rng = np.random.default_rng(2)
    scores = {f"{p}/a": rng.random((8, 3)) for p in ("knn", "linear", "finetune")}
    cube = make_cube(scores, role=["in_domain", "out_of_domain", "out_of_domain"])
    assert trust(make_evidence(cube)).attrs["headline_targets"] == "finetune"


def test_the_only_protocol_predicts_its_own_targets():
    rng = np.random.default_rng(2)
    cube = make_cube({"knn/a": rng.random((8, 3))}, role=["in_domain"] + ["out_of_domain"] * 2)
    found = trust(make_evidence(cube))
    assert found.attrs["headline_targets"] == "all"
    assert np.isfinite(found["mean"].sel(targets="all")).any()
    assert np.isnan(found["mean"].sel(targets="other_protocols")).all()


@pytest.mark.parametrize(
    ("models", "roles", "change", "words"),
    [
        (3, ["in_domain", "out_of_domain"], lambda s: s, "4 models"),
        (8, ["in_domain", "out_of_domain"], lambda s: np.full_like(s, 0.5), "do not vary"),
        (8, ["in_domain", "in_domain"], lambda s: s, "out of domain"),
        (8, ["out_of_domain", "out_of_domain"], lambda s: s, "in domain"),
        (
            8,
            ["in_domain", "out_of_domain"],
            lambda s: np.where([[True, False]], s, np.nan),
            "out of domain",
        ),
    ],
)
def test_what_can_not_be_said_is_withheld_in_words(models, roles, change, words):
    scores = change(np.random.default_rng(0).random((models, 2)))
    found = trust(make_evidence(make_cube({"knn/a": scores, "linear/b": scores}, role=roles)))
    assert not found.data_vars
    assert words in found.attrs["withheld"]


def test_below_five_families_intervals_are_over_models_and_marked():
    rng = np.random.default_rng(0)
    scores = {"knn/a": rng.random((8, 2)), "linear/b": rng.random((8, 2))}
    families = [f"f{i % 4}" for i in range(8)]
    roles = ["in_domain", "out_of_domain"]
    found = trust(make_evidence(make_cube(scores, role=roles, family=families)))
    assert np.isfinite(found["mean"]).any()
    known = np.isfinite(found["mean"])
    assert (np.isfinite(found["low"]) == known).all()
    assert (found["over_models"].values[known] == 1).all()
    alone = trust(make_evidence(make_cube(scores, role=roles)))  # each model its own family
    np.testing.assert_allclose(found["low"], alone["low"])
    assert (alone["over_models"].values[known] == 0).all()


def test_an_all_missing_data_set_is_no_target(evidence):
    cube = evidence.cube.copy(deep=True)
    cube["value"].loc[{"dataset": "d3"}] = np.nan
    broken = make_evidence(cube)
    found = predictions(broken, trusted_predictors(broken))
    assert {target.dataset for target in found.targets} == {"d1", "d2"}
    assert np.isfinite(trust(broken)["mean"]).any()


def test_many_models_are_redrawn_less_often():
    """1,500 models with random gaps took longer than anybody waits."""
    assert replicates_for(26) == replicates_for(300) == 10_000
    assert replicates_for(301) == replicates_for(5_000) == 1_000
