"""Rows of statistics as pandas has them; reasons instead of statistics; short numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_inputs import make_inputs, table, withheld

from pipeline.report.stated import choice, mean_first, rows_of, short, statistic


def test_rows_are_those_of_the_tidy_table():
    rng = np.random.default_rng(0)
    value = np.where(rng.random((3, 2, 4)) < 0.3, np.nan, rng.normal(size=(3, 2, 4)))
    other = np.where(rng.random((3, 2, 4)) < 0.3, np.nan, rng.normal(size=(3, 2, 4)))
    made = table(
        ("model", "dataset", "place"), ("abc", "xy", range(4)), {"value": value, "other": other}
    )
    frame = made.to_dataframe().dropna(subset=["value"]).reset_index()
    rows = rows_of(made, "value")
    assert len(rows) == len(frame) > 0
    for row, expected in zip(rows, frame.to_dict("records"), strict=True):
        assert (row["model"], row["dataset"]) == (expected["model"], expected["dataset"])
        assert row["place"] == str(expected["place"])
        assert row["value"] == pytest.approx(expected["value"], rel=1e-4)
        if math.isnan(expected["other"]):
            assert row["other"] is None
        else:
            assert row["other"] == pytest.approx(expected["other"], rel=1e-4)


def test_dimensions_of_the_needed_variable_lead():
    made = table(("a", "b"), (["x", "y"], ["p", "q", "r"]), {"value": np.arange(6.0).reshape(2, 3)})
    made["turned"] = made["value"].transpose("b", "a")
    assert all(row["value"] == row["turned"] for row in rows_of(made, "value"))


@given(st.floats(-1e300, 1e300))
def test_short_numbers_keep_five_digits(value):
    found = short(value)
    assert found == pytest.approx(value, rel=5.1e-5)
    assert len(str(found).replace("-", "").replace(".", "").split("e")[0].strip("0")) <= 5


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_json_can_not_hold_is_none(value):
    assert short(value) is None


def test_absent_and_withheld_statistics_are_sentences():
    inputs = make_inputs({"trust": withheld("3 models are too few")})
    assert statistic(inputs, "trust") == "Withheld: 3 models are too few."
    absent = statistic(inputs, "label_gap")
    assert isinstance(absent, str)
    assert "correlate" in absent


def test_a_choice_holds_each_value_once():
    made = choice("by", "By", ["b", "a", "b"], str.upper)
    assert made.options == (("b", "B"), ("a", "A"))


def test_the_mean_comes_first_and_the_rest_in_order():
    assert mean_first(["z", "mean", "a"]) == ["mean", "z", "a"]
