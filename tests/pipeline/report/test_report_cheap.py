"""Transferability metrics: all data sets without intervals, or one with them."""

from __future__ import annotations

import numpy as np
from made_inputs import drawn, make_inputs, partial, table, withheld

from pipeline.report.cheap import EVERY, figures, section

DATASETS, NAMES, PROTOCOLS = ["in0", "out0"], ["rankme", "logme", "nc1"], ["knn", "linear"]
GIVEN = ["all models", "given backbone"]


def correlations(given=None):
    value = np.linspace(-0.9, 0.9, 24).reshape(2, 2, 3, 2)
    value[1] = np.nan if given is None else given
    ends = {"value": value, "low": value - 0.1, "high": value + 0.1}
    ends |= {"n": value * 0 + 8, "families": value * 0 + 6}
    dims = ("given", "dataset", "predictor", "protocol")
    return table(dims, (GIVEN, DATASETS, NAMES, PROTOCOLS), ends, interval="95%")


def made_inputs(statistics):
    return make_inputs(statistics, variants=[f"predictors/{name}" for name in NAMES])


def test_intervals_are_drawn_for_one_data_set_only():
    pair = figures(made_inputs({"predictors_given_backbone": correlations(0.2)}))
    every = [k for k, _ in drawn(pair["cheap_predictors"])]
    assert (every.count("point"), every.count("rule mark")) == (12, 0)
    one = [k for k, _ in drawn(pair["cheap_predictors"], dataset="out0")]
    assert (one.count("point"), one.count("rule mark")) == (6, 6)


def test_partial_correlations_are_spoken_of_only_where_there_are_any():
    with_them = section(made_inputs({"predictors_given_backbone": correlations(0.2)}))
    assert with_them.given == tuple(GIVEN)
    assert "Given backbone" in partial("cheap", with_them)
    without = section(made_inputs({"predictors_given_backbone": correlations()}))
    assert without.given == ("all models",)
    assert "Given backbone" not in partial("cheap", without)


def test_predictors_have_their_names():
    inputs = made_inputs({"predictors_given_backbone": correlations()})
    rows = figures(inputs)["cheap_predictors"][1]
    assert {row["predictor"] for row in rows} == {"RankMe", "LogME", "NC1"}
    protocol, dataset = section(inputs).choices
    assert [value for value, _ in protocol.options] == PROTOCOLS
    assert [value for value, _ in dataset.options] == [
        EVERY,
        *reversed(DATASETS),
    ]  # the target first


def test_a_study_without_cheap_predictors_says_so():
    none = correlations().isel(predictor=slice(0, 0))
    for found in (none, withheld("too few models"), correlations().where(False)):
        inputs = made_inputs({"predictors_given_backbone": found})
        assert figures(inputs) == {}
        text = partial("cheap", section(inputs))
        assert "data-figure" not in text
        few = "each of the 3 transferability metrics shares fewer"
        assert "too few models" in text or few in text
