"""Supervised against self-supervised models by complexity: planted gaps and their changes."""

from __future__ import annotations

import numpy as np
import pytest
from made_cubes import make_cube, make_evidence
from scipy import stats

from pipeline.statistics.budgets import curves
from pipeline.statistics.complexities import complexities
from pipeline.statistics.complexity_gap import complexity_gap
from pipeline.statistics.evidence import Draws, Evidence
from pipeline.statistics.label_gap import label_gap
from pipeline.statistics.registry import tidy
from pipeline.statistics.twins import plain_twins
from pipeline.study.budget import Budget

TASKS = ("2_classes", "5_classes", "all_classes", "coarse")
CHANCE = np.array([0.5, 0.2, 0.1, 0.3])
ROOM = 1 - CHANCE
VARIANTS = [f"fewshot/ridge_10_shots{'' if t == 'all_classes' else f'_{t}'}" for t in TASKS]
CHANGE = "all_classes - 2_classes"


def evidence_of(each, supervised, **words):
    """From accuracies of shape (n_draws, n_models, n_datasets, n_tasks)."""
    cube = make_cube(each.mean(axis=0), VARIANTS, **words,
                     supervision=np.where(supervised, "supervised", "self_supervised"))  # fmt: skip
    held = {
        (v, f"d{d}"): each[:, :, d, t].T
        for t, v in enumerate(VARIANTS)
        for d in range(each.shape[2])
        if np.isfinite(each[:, :, d, t]).any()
    }
    made = make_evidence(cube, draws=held)

    def read_draws(variant, dataset):
        found = made.read_draws(variant, dataset)
        if "coarse" not in variant:
            return found
        return Draws(found.models, found.scores, 3, 0.3)

    return Evidence(cube, made.settings, made.tests, made.read_hits, read_draws)


def study(leads, *, models=4, draws=5, datasets=1, own=0.02, shared=0.04, model=0.0, seed=0):
    """Half supervised, with these leads beyond chance on the four tasks.

    `shared` is a draw's luck for a model on all tasks, `own` that for it on a single one; `model`
    is the spread of models, the same on all tasks.
    """
    rng = np.random.default_rng(seed)
    supervised = np.arange(models) % 2 == 0
    truth = 0.5 + np.where(supervised[:, None], 1, -1) * np.asarray(leads) / 2
    truth = truth + rng.normal(0, model, (models, 1))
    beyond = truth[:, None] + (
        rng.normal(0, shared, (draws, models, datasets, 1))
        + rng.normal(0, own, (draws, models, datasets, 4))
    )
    backbone = np.where(np.arange(models) // 2 % 2, "vit", "resnet")
    return evidence_of(CHANCE + ROOM * beyond, supervised, backbone=backbone)


def of(evidence, task, dataset="d0", group="all backbones"):
    found = complexity_gap(evidence).sel(head="ridge", group=group, dataset=dataset, task=task)
    return {name: value.item() for name, value in found.data_vars.items()}


def test_a_gap_that_grows_with_the_classes_is_recovered():
    evidence = study((0.05, 0.15, 0.25, 0.15), own=0.005, datasets=2)
    for dataset in ("d0", "mean"):
        two, every = (of(evidence, task, dataset) for task in ("2_classes", "all_classes"))
        assert two["difference"] == pytest.approx(0.05, abs=0.06)
        assert every["difference"] == pytest.approx(0.25, abs=0.06)
        change = of(evidence, CHANGE, dataset)
        assert change["low"] < 0.2 < change["high"]
        assert change["low"] > 0.1
        assert change["difference"] == pytest.approx(every["difference"] - two["difference"])
        assert (two["chance"], two["classes"]) == (0.5, 2)
        assert (every["chance"], every["classes"]) == (pytest.approx(0.1), 10)
        assert np.isnan([change["chance"], change["classes"]]).all()
    coarse = of(evidence, "all_classes - coarse")
    assert coarse["low"] < 0.1 < coarse["high"]
    assert of(evidence, "coarse")["classes"] == 3


def test_intervals_are_the_paired_t_over_draws_of_scores_beyond_chance():
    evidence = study((0.1, 0.1, 0.1, 0.1))
    beyond = {
        t: (evidence.read_draws(v, "d0").scores - c) / (1 - c)
        for t, v, c in zip(TASKS, VARIANTS, CHANCE, strict=True)
    }
    gap = {t: (b[0] - b[1] + b[2] - b[3]) / 2 for t, b in beyond.items()}
    gap |= {f"all_classes - {t}": gap["all_classes"] - g for t, g in gap.items() if t[0] != "a"}
    assert set(complexity_gap(evidence)["task"].values) == set(gap)
    for task, each in gap.items():
        low, high = stats.t.interval(0.95, len(each) - 1, each.mean(), stats.sem(each))
        found = of(evidence, task)
        assert found["difference"] == pytest.approx(each.mean())
        assert (found["low"], found["high"]) == (pytest.approx(low), pytest.approx(high))
        assert (found["supervised"], found["self_supervised"]) == (2, 2)
        assert found["claim"] == "the models named"


@pytest.mark.parametrize("models", [4, 20])
def test_an_equal_gap_is_not_reported_as_a_change_and_a_change_is_covered(models):
    """Over draws for the models named, over families for twenty of them."""
    covered, found, narrower = [], [], []
    for seed in range(100):
        evidence = study((0.1, 0.1, 0.1, 0.18), seed=seed, models=models, model=0.03)
        table = complexity_gap(evidence).sel(head="ridge", group="all backbones", dataset="d0")
        low, high = table["low"].values, table["high"].values
        place = {str(t): i for i, t in enumerate(table["task"].values)}
        same, less = place[CHANGE], place["all_classes - coarse"]
        covered.append([low[same] <= 0 <= high[same], low[less] <= -0.08 <= high[less]])
        found.append(high[less] < 0)
        half = (high - low) / 2
        unpaired = np.hypot(half[place["all_classes"]], half[place["2_classes"]])
        narrower.append(half[same] < unpaired)
        assert set(table["claim"].values) == {"families" if models == 20 else "the models named"}
    assert (np.abs(np.mean(covered, axis=0) - 0.95) < 0.06).all()
    assert np.mean(found) > 0.6
    assert np.mean(narrower) > 0.85


def test_the_mean_is_of_tasks_that_every_data_set_has():
    rng = np.random.default_rng(0)
    each = rng.uniform(0.4, 0.9, (3, 4, 3, 4))
    each[:, :, 1, 1] = np.nan  # no five classes at a time on d1
    each[:, :, 2, [0, 1, 3]] = np.nan  # nothing but the whole problem on d2
    evidence = evidence_of(each, np.arange(4) % 2 == 0, backbone="resnet")
    found = complexity_gap(evidence)
    assert found["dataset"].values.tolist() == ["d0", "d1", "mean"]
    known = np.isfinite(found["difference"].sel(head="ridge", group="all backbones"))
    tasks = found["task"].values
    assert tasks[known.sel(dataset="d0")].tolist() == tasks.tolist()
    for dataset in ("d1", "mean"):
        missing = tasks[~known.sel(dataset=dataset).values].tolist()
        assert missing == ["5_classes", "all_classes - 5_classes"]
    mean = found["difference"].sel(dataset=["d0", "d1"], task="coarse").mean("dataset")
    assert of(evidence, "coarse", "mean")["difference"] == pytest.approx(mean.values[0, 0])
    assert (found["claim"].sel(dataset="mean", task="5_classes") == "").all()


def test_a_score_whose_chance_nobody_told_is_left_out():
    each = np.random.default_rng(0).uniform(0.4, 0.9, (3, 4, 1, 4))
    evidence = evidence_of(each, np.arange(4) % 2 == 0)
    untold = make_evidence(evidence.cube, draws={(v, "d0"): np.full((4, 3), 0.5) for v in VARIANTS})
    found = complexity_gap(untold)["difference"].sel(dataset="d0", head="ridge")
    assert np.isnan(found.sel(task="coarse")).all()
    assert np.isfinite(found.sel(task="2_classes")).all()


@pytest.mark.parametrize("case", ["gaps", "all right", "one model", "one draw", "guesses"])
def test_little_to_say_is_no_error(case):
    rng = np.random.default_rng(1)
    each = rng.uniform(0.3, 0.9, (1 if case == "one draw" else 3, 6, 3, 4))
    if case == "gaps":
        each[:, rng.random((6, 3, 4)) < 0.4] = np.nan
    each = {"all right": np.ones(each.shape), "guesses": CHANCE + 0 * each}.get(case, each)
    each = each[:, :1] if case == "one model" else each
    supervised = np.arange(each.shape[1]) % 2 == 0
    found = complexity_gap(evidence_of(each, supervised, backbone="resnet"))
    assert found.attrs.get("withheld") or len(tidy(found).splitlines()) > 1
    for number in found.data_vars.values():
        if number.dtype.kind == "f":
            assert not np.isinf(number.values).any()
    if case == "one draw":
        assert np.isnan(found["low"]).all()


def test_what_is_not_there_is_said():
    each = np.random.default_rng(0).uniform(0.4, 0.9, (3, 4, 1, 4))
    one_side = evidence_of(each, np.ones(4, bool))
    assert "no backbone has both" in complexity_gap(one_side).attrs["withheld"]
    cube = make_cube(each.mean(axis=0)[..., :1], ["fewshot/ridge_10_shots"])
    alone = make_evidence(cube, draws={("fewshot/ridge_10_shots", "d0"): each[:, :, 0, 0].T})
    assert "no few-shot scores of fewer" in complexity_gap(alone).attrs["withheld"]


def test_no_other_reader_takes_them_for_something_else():
    evidence = study((0.1, 0.1, 0.1, 0.1))
    found, all_classes = complexities(evidence), curves(evidence)
    assert (found.budget, found.heads, found.tasks) == (Budget(shots=10), ["ridge"], list(TASKS))
    assert (all_classes.budgets, all_classes.heads) == ([Budget(shots=10)], ["ridge"])
    assert plain_twins(evidence.variants.values()) == {}
    assert label_gap(evidence)["budget"].values.tolist() == ["10_shots"]
    assert [v.label for v in evidence.variants.values() if v.task] == [
        "few-shot: 10 images a class, ridge, 2 classes at a time",
        "few-shot: 10 images a class, ridge, 5 classes at a time",
        "few-shot: 10 images a class, ridge, coarse classes",
    ]
