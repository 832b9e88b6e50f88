"""What the first screen says of predictors: which targets, which kind, and what was corrected."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_inputs import make_inputs, partial, table
from named_variants import variant_named

from pipeline.report.answers import MOST, Answers
from pipeline.report.predictors import TRAINED, lone_target, predictors
from pipeline.report.targets import first_targets, most_targets, single_target
from pipeline.study.column import Column

LABELS = [
    "knn/study@in0", "linear/ridge_none@in0", "finetune/full@in0", "predictors/logme@in0",
    "predictors/logme@each target",
]  # fmt: skip
SETS = ["all", "knn", "linear", "finetune"]
VARIANTS = ("knn/study", "linear/ridge_none", "finetune/full", "predictors/logme")


def comparison(headline="finetune", wide=4, **changed):
    """Fine-tuning on one target puts fine-tuning first; the wider sets do not."""
    shape = (len(LABELS), len(SETS))
    mean = np.full(shape, 0.5)
    mean[:, SETS.index("finetune")] = [0.3, 0.2, 0.9, 0.4, 0.8]
    mean[:, SETS.index("all")] = [0.6, 0.7, 0.5, 0.4, 0.65]
    counts = np.broadcast_to([wide, wide / 2, wide / 2, 1], shape)
    found = {
        "mean": mean, "joint_low": mean - 0.1, "joint_high": mean + 0.1, "lowest": mean - 0.2,
        "highest": mean + 0.2, "n": mean * 0 + 8, "families": mean * 0 + 6, "n_targets": counts,
        "compared": mean * 0 + 1, "over_models": mean * 0, "within": mean * np.nan,
        "within_n": mean * np.nan, "top_half": mean - 0.3, "top_half_n": mean * 0 + 4,
        "top_ten": mean * np.nan, "with_all": mean * np.nan,
    } | changed  # fmt: skip
    made = table(
        ("predictor", "targets"), (LABELS, SETS), found, headline_targets=headline, untrained="",
        collapsed="", left_out=0,
    )  # fmt: skip
    return made.assign(reason=(("predictor", "targets"), np.full(shape, "")))


def differences():
    """Against the linear probe: max-T for three of the four others."""
    shape = (len(LABELS), 1, 2)
    p = np.array([0.4, np.nan, 0.03, 0.5, np.nan]).reshape(-1, 1, 1) * np.ones(shape)
    difference = np.array([0.1, np.nan, -0.2, -0.3, -0.05]).reshape(-1, 1, 1) * np.ones(shape)
    return table(
        ("predictor", "reference", "targets"),
        (LABELS, [LABELS[1]], ["other_protocols", "all"]),
        {"difference": difference, "low": difference - 0.3, "high": difference + 0.3,
         "joint_low": difference - 0.4, "joint_high": difference + 0.4,
         "p_max_t": p, "detectable": p * 0 + 0.6},
        reference=LABELS[1],
    )  # fmt: skip


def inputs_of(**statistics):
    return make_inputs(
        {"comparison": comparison(), "predictor_differences": differences()} | statistics,
        variants=VARIANTS,
    )


def answers_of(found):
    return Answers((), found, "", "", "", "", 6, True, ())


@given(st.sampled_from(SETS), st.integers(1, 9))
def test_one_target_is_spoken_of_first_only_where_there_is_no_more(headline, all_of):
    counts = np.ones((len(LABELS), len(SETS)))
    counts[:, SETS.index("all")] = all_of
    found = comparison(headline, n_targets=counts)
    chosen = first_targets(found)
    if most_targets(found, headline) > 1 or all_of == 1:
        assert chosen == headline
    else:
        assert most_targets(found, chosen) > 1


def test_the_cheap_are_answered_first_and_fine_tuning_is_marked():
    found = predictors(inputs_of())
    answers = answers_of(found)
    assert [p.column.name for _, p in answers.leaders] == [LABELS[1], LABELS[3]]
    assert {p.column.name for p in answers.shown} == set(LABELS)
    assert next(p for p in found if p.column.name == LABELS[2]).kind == TRAINED
    dear = answers_of(tuple(p for p in found if p.kind == TRAINED))
    assert "not cheap" in dear.leaders[0][0]


def test_no_kind_crowds_out_another():
    (first, *_) = predictors(inputs_of())
    many = tuple(
        dataclasses.replace(first, column=Column(variant_named(kind), where), mean=1 - i / 100)
        for kind, where in (
            ("predictors/logme", "each target"), ("predictors/logme", "in0"), ("knn/a", "in0"),
            ("finetune/a", "in0"),
        )
        for i in range(9)
    )  # fmt: skip
    shown = answers_of(many).shown
    assert {kind: sum(p.kind == kind for p in shown) for kind in MOST} == MOST


def test_the_wider_mean_is_told_with_the_one_target_beside_it():
    inputs = inputs_of()
    linear = next(p for p in predictors(inputs) if p.column.name == LABELS[1])
    assert (linear.mean, linear.targets, linear.only_target) == (0.7, 4, "")
    assert (linear.lone, linear.lone_low) == (0.2, pytest.approx(0.1))
    assert lone_target(inputs) == "fine-tuning on out0"


def test_a_mean_over_one_target_names_it():
    inputs = inputs_of(comparison=comparison(wide=1))
    found = {p.column.name: p for p in predictors(inputs)}
    assert found[LABELS[1]].only_target == "fine-tuning on out0"
    assert np.isnan(found[LABELS[1]].lone)
    assert lone_target(inputs) == ""


def test_the_single_target_of_a_set_depends_on_the_predictors_protocol():
    two = make_inputs(variants=VARIANTS[:2])
    assert single_target(two, "other_protocols", "knn") == "linear probe on out0"
    assert single_target(two, "other_protocols", "linear") == "kNN on out0"
    assert single_target(two, "all", "knn") == ""
    more = make_inputs(variants=VARIANTS[:2], datasets=("in0", "out0", "out1"))
    assert single_target(more, "knn", "predictors") == ""


def test_comparisons_are_those_that_p_is_corrected_for():
    found = {p.column.name: p for p in predictors(inputs_of())}
    assert found[LABELS[0]].comparisons == 3
    assert found[LABELS[0]].p == pytest.approx(0.4)
    assert found[LABELS[1]].comparisons == 0


def test_interval_and_p_of_a_comparison_are_both_for_all_at_once():
    text = said_of(inputs_of())
    assert "is not shown to differ from linear probe on in0" in text
    assert "Δ = 0.10 (−0.30 to 0.50), p = 0.400, both for 3 comparisons at once" in text
    assert "only a true difference of about 0.60 or more would have shown up" in text
    single = differences()
    single["p_max_t"] = single["p_max_t"].where(single["predictor"] == LABELS[0])
    text = said_of(inputs_of(predictor_differences=single))
    assert "p = 0.400." in text
    assert "at once" not in text.split("p = 0.400")[1].split("</p>")[0]


def test_one_target_is_not_called_a_mean_nor_set_in_the_largest_letters():
    text = said_of(inputs_of(comparison=comparison(wide=1)))
    assert "<b>On one target only, fine-tuning on out0:</b>" in text
    assert 'class="winner lone"' in text
    assert 'class="winner"' not in text
    assert "mean Spearman" not in text
    assert "1 targets" not in text
    assert 'class="winner lone"' not in said_of(inputs_of())


def said_of(inputs):
    found = predictors(inputs)
    answers = dataclasses.replace(
        answers_of(found), reference="linear probe on in0", targets="scores by other protocols"
    )
    return partial("trusted", None, answers=answers, inputs=inputs)
