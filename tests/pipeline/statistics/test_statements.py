"""Every statement from the numbers that it states, and none that they do not bear."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.statistics import statements
from pipeline.statistics.statements import Leader
from pipeline.statistics.written import counted, interval, listed, p_is, rho

LEADER = Leader("kNN on digits", 0.81, 0.42, 0.95, 12, 13, 9, 6, 0.55, 0.92)
REALS = st.floats(-1, 1)


def changed(**fields):
    return dataclasses.replace(LEADER, **fields)


def test_advice_names_its_numbers():
    assert statements.advice(LEADER, "linear probe scores") == (
        "To predict linear probe scores, use kNN on digits: mean ρ 0.81 (0.42 to 0.95 as the "
        "highest of 12), 0.55 to 0.92 on single targets (13 models of 9 families, 6 targets)."
    )


@given(st.integers(4, 40), REALS, REALS, REALS)
def test_nothing_is_advised_beside_an_interval_with_0_or_below_eight_models(n, a, b, mean):
    low, high = sorted((a, b))
    said = statements.advice(changed(models=n, low=low, high=high, mean=mean), "scores")
    assert (", use " in said) == (n >= 8 and low > 0)
    assert ("this study cannot say" in said) == (n < 8 or low <= 0)
    assert "best" not in said or "too few to call an evaluation the best" in said


def test_below_eight_models_the_chance_of_an_order_is_told():
    said = statements.advice(changed(models=6), "scores")
    assert "any one order of 6 comes by chance in 1 of 720" in said
    assert "interval" in statements.advice(changed(low=math.nan, high=math.nan), "scores")


def test_one_target_is_no_mean_and_has_no_range():
    said = statements.number(changed(targets=1))
    assert said.startswith("ρ 0.81")
    assert "single" not in said


@given(REALS, st.floats(0, 1), st.integers(1, 9))
def test_better_and_worse_follow_the_sign_and_only_where_p_is_small(difference, p, tests):
    said = statements.against_reference("a", "b", difference, -1, 1, p, tests)
    assert ("reliably" in said) == (p < 0.05)
    assert ("better" in said) == (p < 0.05 and difference > 0)
    assert ("worse" in said) == (p < 0.05 and difference <= 0)
    assert ("at once" in said) == (tests > 1)


def test_without_p_nothing_is_said_of_chance():
    said = statements.against_reference("a", "b", -0.2, math.nan, math.nan, math.nan, 0)
    assert "Too few families are known" in said
    assert "better" not in said


NULLS = st.dictionaries(
    st.sampled_from(["parameters", "FLOPs", "rank elsewhere", "random order"]),
    st.tuples(REALS, st.one_of(st.floats(0, 1), st.just(math.nan))),
    min_size=1,
)


@given(NULLS)
def test_worth_its_cost_only_if_it_beats_each_null_model(beaten):
    said = statements.worth_its_cost("kNN", beaten, {})
    tested = {n: of for n, of in beaten.items() if not math.isnan(of[1])}
    real = bool(set(tested) - {"random order"})
    all_beaten = real and all(d > 0 and p < 0.05 for d, p in tested.values())
    assert ("is worth its cost" in said) == all_beaten
    if real and not all_beaten:
        for name, (difference, p) in tested.items():
            assert (f"{name} (Δ" in said) == (not (difference > 0 and p < 0.05))


def test_a_null_model_without_values_is_named():
    said = statements.worth_its_cost("kNN", {"a": (0.1, 0.01)}, {"FLOPs": "known of 0 of 9 models"})
    assert said.endswith("Not compared with FLOPs (known of 0 of 9 models).")


def test_simpson_is_told_from_eight_models_on():
    said = statements.simpson("kNN", 0.57, -0.5, 12)
    assert "within them it is −0.50 (12 models), over all 0.57" in said
    assert statements.simpson("kNN", 0.57, -0.5, 7) == ""
    assert statements.simpson("kNN", 0.57, 0.4, 12) == ""
    assert statements.simpson("kNN", 0.57, math.nan, 12) == ""


def test_who_is_left_out_is_told_with_what_it_changes():
    said = statements.left_out(["r1", "r2"], ["c"], 0.02, 0.33, out=True)
    assert said == (
        "2 untrained models (r1 and r2) and 1 collapsed model (c) are left out of ρ. With them ρ "
        "would be 0.33 instead of 0.02."
    )
    assert "With it" in statements.left_out(["r"], [], 0.02, 0.33, out=True)
    assert "counted in" in statements.left_out(["r"], [], 0.02, math.nan, out=False)
    assert statements.left_out([], [], 0.1, 0.1, out=True) == ""


def test_the_same_reason_is_told_once():
    said = statements.not_compared({"a": "few", "b": "few", "c": "many", "d": "few"})
    assert said == ["Not compared: a, b and d: few.", "Not compared: c: many."]


@given(st.floats(-1, 1))
def test_what_is_not_1_is_not_written_as_1(x):
    text = rho(x)
    if abs(x) < 1:
        assert text not in ("1.00", "−1.00")
    assert "1.000" not in text
    number = text.replace("−", "-").lstrip("<> ")
    assert abs(float(number) - x) <= 0.0051


@pytest.mark.parametrize(
    ("x", "text"), [(0.996, "0.996"), (1.0, "1.00"), (-0.9999, "< −0.999"), (0.99949, "0.999")]
)
def test_numbers_near_1(x, text):
    assert rho(x) == text


def test_words():
    assert counted(1, "model") == "1 model"
    assert counted(2, "family", "families") == "2 families"
    assert listed(["a"]) == "a"
    assert listed(["a", "b"]) == "a and b"
    assert listed(list("abcdefgh")) == "a, b, c, d and 4 more"
    assert listed([]) == ""
    assert p_is(0.0001) == "p < 0.001"
    assert interval(np.nan, 1) == ""
