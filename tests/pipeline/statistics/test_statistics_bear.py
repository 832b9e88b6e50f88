"""Sections 5-11 on studies that have little to say: a table or a reason, never an error."""

from __future__ import annotations

import numpy as np
import pytest
from made_cubes import make_cube, make_evidence

from pipeline.machine.netcdf import read_netcdf_groups, write_netcdf
from pipeline.statistics.budgets import label_curves
from pipeline.statistics.enough_images import enough_images
from pipeline.statistics.enough_labels import enough_labels
from pipeline.statistics.explained import objective_share, variance_explained
from pipeline.statistics.label_crossing import label_crossing
from pipeline.statistics.label_gap import label_gap
from pipeline.statistics.mean_scores import mean_pairs, mean_scores
from pipeline.statistics.model_pairs import model_pairs
from pipeline.statistics.normalization_effect import normalization_effect, normalization_ranking
from pipeline.statistics.overall_ranks import overall_ranks
from pipeline.statistics.ranks import ranks
from pipeline.statistics.registry import tidy
from pipeline.statistics.robustness import effective_robustness, transfer_residual
from pipeline.statistics.shift_groups import correlations_by_shift
from pipeline.statistics.why import gap_sensitivity, gaps
from pipeline.statistics.within import predictors_given_backbone, within_backbones

ALL = (
    label_curves, enough_images, enough_labels, objective_share, variance_explained, mean_scores,
    label_crossing, label_gap, normalization_effect, normalization_ranking, overall_ranks, ranks,
    mean_pairs, model_pairs,
    effective_robustness, transfer_residual, correlations_by_shift, gap_sensitivity, gaps,
    predictors_given_backbone, within_backbones,
)  # fmt: skip
VARIANTS = [
    "knn/study",
    "knn/study_zscore",
    "linear/ridge_none",
    "fewshot/ridge_1_shot",
    "fewshot/ridge_5_shots",
    "transfer/from_d0_ridge_none",
    "predictors/rankme",
]


def scores(models=8, datasets=4, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.uniform(0.2, 0.9, (models, datasets, len(VARIANTS)))
    values[:, 0, 5] = np.nan
    return values


def words(n):
    return {
        "objective": np.where(np.arange(n) % 2, "generative", "discriminative"),
        "backbone": np.where(np.arange(n) // 2 % 2, "vit", "resnet"),
        "supervision": np.where(np.arange(n) % 3, "supervised", "self_supervised"),
        "shift": ["", "sketch", "sketch", "noise"],
    }


def outcomes(values, n_test=40):
    rng = np.random.default_rng(1)
    return {
        (variant, f"d{d}"): rng.random((len(values), n_test)) < values[:, d, v, None]
        for v, variant in enumerate(VARIANTS[:-1])
        for d in range(values.shape[1])
        if np.isfinite(values[:, d, v]).any()
    }


def draws(values):
    rng = np.random.default_rng(2)
    return {
        (variant, f"d{d}"): values[:, d, v, None] + rng.normal(0, 0.02, (len(values), 4))
        for v, variant in enumerate(VARIANTS)
        for d in range(values.shape[1])
        if variant.startswith("fewshot")
    }


def full():
    values = scores()
    return values, words(8)


def one_model():
    return scores(1), words(1)


def three_models():
    return scores(3), words(3)


def constant():
    return np.full((8, 4, len(VARIANTS)), 0.5), words(8)


def all_right():
    return np.ones((8, 4, len(VARIANTS))), words(8)


def a_data_set_without_scores():
    values = scores()
    values[:, 2] = np.nan
    return values, words(8)


def gaps_everywhere():
    values = scores()
    values[np.random.default_rng(3).random(values.shape) < 0.4] = np.nan
    return values, words(8)


def no_words():
    return scores(), {}


def all_in_domain():
    return scores(), words(8) | {"role": "in_domain"}


QUICK = (full, one_model, constant, gaps_everywhere)
SLOW = (three_models, all_right, a_data_set_without_scores, no_words, all_in_domain)
STUDIES = (*QUICK, *(pytest.param(study, marks=pytest.mark.slow) for study in SLOW))


@pytest.mark.parametrize("study", STUDIES)
def test_every_statistic_is_a_table_or_says_why_not(study):
    values, said = study()
    cube = make_cube(values, VARIANTS, n_test=40, **said)
    evidence = make_evidence(cube, hits=outcomes(values), draws=draws(values))
    found = {statistic.__name__: statistic(evidence) for statistic in ALL}
    for name, table in found.items():
        assert table.attrs["definition"], name
        assert table.attrs.get("withheld") or table.data_vars, name
        assert len({v.dims for v in table.data_vars.values()}) <= 1, name
        for number in table.data_vars.values():
            if number.dtype.kind == "f":
                assert not np.isinf(number.values).any(), (name, number.name)
        tidy(table)


def test_tables_survive_netcdf(tmp_path):
    values, said = full()
    cube = make_cube(values, VARIANTS, n_test=40, **said)
    evidence = make_evidence(cube)
    found = {s.__name__: s(evidence) for s in (gaps, objective_share, ranks, within_backbones)}
    write_netcdf(cube, tmp_path / "x.nc", found)
    stored = read_netcdf_groups(tmp_path / "x.nc")
    for name, table in found.items():
        assert tidy(stored[name]) == tidy(table)


@pytest.mark.parametrize("variants", [[6], [0], [0, 6]])
def test_studies_with_few_protocols(variants):
    values = scores()[..., variants]
    cube = make_cube(values, [VARIANTS[v] for v in variants], **words(8))
    for statistic in ALL:
        found = statistic(make_evidence(cube))
        assert found.attrs.get("withheld") or found.data_vars, statistic.__name__


def test_the_same_evidence_gives_the_same_bytes():
    values, said = full()
    tables = []
    for _ in range(2):
        cube = make_cube(values, VARIANTS, n_test=40, **said)
        evidence = make_evidence(cube, hits=outcomes(values), draws=draws(values))
        tables.append([tidy(statistic(evidence)) for statistic in ALL])
    assert tables[0] == tables[1]
