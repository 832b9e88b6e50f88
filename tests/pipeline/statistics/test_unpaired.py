"""Comparing imported models without per-image outcomes."""

from __future__ import annotations

import numpy as np
import pytest
from made_cubes import make_cube
from made_evidence import make_evidence
from planted import outcomes
from scipy import stats

from pipeline.statistics.mean_scores import mean_scores
from pipeline.statistics.model_pairs import compare_normal
from pipeline.statistics.ranks import ranks
from pipeline.statistics.unpaired import Unpaired, unpaired_means, variances

VARIANT = "linear/theirs"


def evidence_of(values, n_test=1_000, **words):
    scores = np.asarray(values)[..., None]
    return make_evidence(make_cube(scores, [VARIANT], n_test=n_test, **words))


def test_variances_are_binomial_or_those_of_the_file():
    share = np.array([0.5, 0.9, 1.0])
    found = variances(share, 400, np.full(3, np.nan))
    adjusted = (share * 400 + 2) / 404
    assert found == pytest.approx(adjusted * (1 - adjusted) / 404)
    assert found[2] > 0
    width = 2 * stats.norm.isf(0.025) * 0.01
    assert variances(share, 400, np.full(3, width)) == pytest.approx(np.full(3, 1e-4))


def test_ranks_of_clear_and_close_models():
    found = ranks(evidence_of([[0.9], [0.6], [0.595], [0.2]])).sel(protocol="linear", dataset="d0")
    assert found["best_rank"].values.tolist() == [1, 2, 2, 4]
    assert found["within_chance"].values.tolist() == [1, 0, 0, 0]
    assert "conservative" in found.attrs["conservative"]


def test_means_over_data_sets_add_variances_and_a_cluster_its_errors():
    values = np.array([[0.8, 0.7, 0.6], [0.5, 0.4, 0.3]])
    alone = unpaired_means(evidence_of(values), VARIANT, ["d0", "d1", "d2"])
    each = np.stack([variances(values[:, d], 1_000, np.full(2, np.nan)) for d in range(3)])
    assert np.diag(alone.covariance) == pytest.approx(each.sum(axis=0) / 9)
    assert alone.images == 3_000
    same = evidence_of(values, cluster=["c", "c", ""])
    found = unpaired_means(same, VARIANT, ["d0", "d1", "d2"])
    error = np.square(np.sqrt(each[:2]).sum(axis=0)) + each[2]
    assert np.diag(found.covariance) == pytest.approx(error / 9)
    assert found.images == 2_000  # two data sets of a cluster may be the same images
    said = mean_scores(same)
    assert said.attrs["unpaired"] == "linear"
    assert said["mean"].sel(protocol="linear", scope="all").values == pytest.approx([0.7, 0.4])


def test_models_without_all_data_sets_have_no_mean():
    values = np.array([[0.8, 0.7], [0.5, np.nan], [0.4, 0.3]])
    assert unpaired_means(evidence_of(values), VARIANT, ["d0", "d1"]).models == ("m0", "m2")


def test_on_the_same_images_it_is_conservative():
    """Of two equal models on shared images, fewer are called different than the 5% allowed."""
    wrong, nothing = 0, np.full(2, np.nan)
    rng = np.random.default_rng(3)
    for _ in range(400):
        scores = outcomes([0.7, 0.7], 500, rng, shared=0.6).mean(axis=1)
        column = Unpaired(np.arange(2), scores, variances(scores, 500, nothing), 500)
        wrong += int(
            not compare_normal(column.paired(["a", "b"]), 0.95, drawn=False).within_chance.all()
        )
    assert wrong / 400 <= 0.03
