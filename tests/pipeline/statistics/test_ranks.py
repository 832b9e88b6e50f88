"""Ranks of the models: on each data set with what is possible, and across data sets."""

from __future__ import annotations

import numpy as np
import pytest
from made_cubes import make_cube, make_evidence
from planted import outcomes

from pipeline.statistics import model_pairs
from pipeline.statistics.overall_ranks import overall_ranks, win_rates
from pipeline.statistics.panel import logit
from pipeline.statistics.rank_sets import ranks_of
from pipeline.statistics.ranks import ranks

VARIANT = "knn/study"


def ranked(hits, **evidence):
    cube = make_cube(hits.mean(axis=1)[:, None, None], [VARIANT], n_test=hits.shape[1])
    made = make_evidence(cube, hits={(VARIANT, "d0"): hits}, **evidence)
    return ranks(made).sel(protocol="knn", dataset="d0")


def test_clear_and_equal_models():
    rng = np.random.default_rng(2)
    found = ranked(outcomes([0.9, 0.6, 0.6, 0.2], 800, rng, shared=0.5))
    assert found["rank"].values[[0, 3]].tolist() == [1, 4]
    assert found["best_rank"].values.tolist() == [1, 2, 2, 4]
    assert found["worst_rank"].values.tolist() == [1, 3, 3, 4]
    assert found["within_chance"].values.tolist() == [1, 0, 0, 0]
    assert found["behind_high"].values[0] == 0
    assert found["as_good"].values.tolist() == [1, 0, 0, 0]
    assert found["images_to_tell"].isnull().all()  # all that is asked is told


def test_ties_share_their_mean_rank():
    assert ranks_of(np.array([0.5, 0.9, 0.5])).tolist() == [2.5, 1, 2.5]


def test_unjudged_images_do_not_count():
    hits = outcomes([0.8, 0.5], 100, np.random.default_rng(3)).astype(float)
    hits[:, 60:] = np.nan
    found = ranked(hits)
    assert found["images"].values.tolist() == [60, 60]
    assert found["score"].values.tolist() == pytest.approx(hits[:, :60].mean(axis=1).tolist())


@pytest.mark.parametrize("gaps", [0, 0.2])
def test_win_rates_equal_plain_loops(gaps):
    rng = np.random.default_rng(4)
    scores = rng.integers(0, 4, (6, 5)).astype(float)
    scores[rng.random(scores.shape) < gaps] = np.nan
    weights = rng.dirichlet(np.ones(5))
    for i, rate in enumerate(win_rates(scores, weights)):
        shares = []
        for j in range(6):
            both = np.isfinite(scores[i]) & np.isfinite(scores[j])
            if i != j and both.any():
                won = (scores[i] > scores[j]) + 0.5 * (scores[i] == scores[j])
                shares.append(np.average(won[both], weights=weights[both]))
        assert rate == pytest.approx(np.mean(shares))


def test_overall_ranks_weigh_clusters_and_keep_gaps():
    rng = np.random.default_rng(5)
    values = rng.uniform(0.2, 0.9, (5, 4, 1))
    values[4, 2] = np.nan
    cube = make_cube(values, [VARIANT], cluster=["", "c", "c", "c"])
    found = overall_ranks(make_evidence(cube)).sel(protocol="knn")
    weights = [1 / 2, 1 / 6, 1 / 6, 1 / 6]
    z = logit(values[:, :, 0], np.array(1_000)) @ weights
    assert found["mean"].values[:4] == pytest.approx(1 / (1 + np.exp(-z[:4])))
    assert np.isnan(found["mean"].values[4])  # means over other data sets can't be compared
    assert np.isfinite(found["win_rate"].values[4])
    assert np.isnan(found["borda"]).all()  # the block is not complete
    assert found["datasets"].values.tolist() == [4, 4, 4, 4, 3]
    whole = overall_ranks(make_evidence(cube.isel(model=slice(0, 4)))).sel(protocol="knn")
    assert whole["borda"].mean().item() == pytest.approx(0.5)


def test_imported_scores_have_ranks_of_the_best_and_overall_ones():
    values = np.random.default_rng(6).uniform(0.2, 0.9, (1_500, 8, 1))
    evidence = make_evidence(make_cube(values, [VARIANT]))
    of_images = ranks(evidence).sel(protocol="knn", dataset="d3")
    assert of_images["rank"].notnull().sum() == 100  # as many as are compared
    assert of_images["rank"].isel(model=int(values[:, 3, 0].argmax())) == 1
    found = overall_ranks(evidence).sel(protocol="knn")
    assert sorted(found["rank"].values) == list(range(1, 1_501))


def test_one_model_is_compared_with_nobody():
    found = ranks(make_evidence(make_cube(np.full((1, 1, 1), 0.5), [VARIANT]),
                                hits={(VARIANT, "d0"): np.array([[1, 0]])}))  # fmt: skip
    assert "fewer than 2 models" in found.attrs["withheld"]


def test_one_test_image_is_the_reason_given():
    hits = {(VARIANT, "d0"): np.array([[1], [0], [1]])}
    found = ranks(make_evidence(make_cube(np.full((3, 1, 1), 0.5), [VARIANT]), hits=hits))
    assert found.attrs["withheld"].startswith("one test image says nothing about chance")


def test_beyond_so_many_models_there_are_still_sets(monkeypatch):
    monkeypatch.setattr(model_pairs, "MOST_MODELS", 3)
    hits = outcomes([0.9, 0.6, 0.6, 0.2], 800, np.random.default_rng(2))
    found = ranked(hits)
    assert found["within_chance"].values.tolist() == [1, 0, 0, 0]
    assert found["best_rank"].values.tolist() == [1, 2, 2, 4]
