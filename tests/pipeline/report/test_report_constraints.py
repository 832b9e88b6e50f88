"""The data of the section on constraints: sizes, scores, and which models differ."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from made_inputs import make_inputs, partial, table

from pipeline.report.constraints import choices, model_sizes, section


def test_latency_is_all_seconds_by_all_images():
    inputs = make_inputs(
        images=[[100, 300], [100, np.nan], [np.nan, np.nan]],
        extraction_seconds=[[1.0, 2.0], [4.0, np.nan], [np.nan, 7.0]],
    )
    found = model_sizes(inputs)["milliseconds"]
    np.testing.assert_allclose(found, [1000 * 3 / 400, 40.0, np.nan])


def test_a_time_without_its_images_does_not_count():
    inputs = make_inputs(
        images=[[100, np.nan], [0, 10], [100, 100]],
        extraction_seconds=[[1.0, 50.0], [3.0, 0.1], [np.nan, 1.0]],
    )
    np.testing.assert_allclose(model_sizes(inputs)["milliseconds"], [10.0, 10.0, 10.0])


def test_unknown_sizes_are_named_and_null():
    inputs = make_inputs(parameters=[1e6, np.nan, 2e6])
    data = choices(inputs)
    assert [model["parameters"] for model in data["models"]] == [1_000_000, None, 2_000_000]
    assert section(inputs).unknown == ("embedding size", "latency")


def test_scores_are_the_cubes():
    values = np.random.default_rng(1).uniform(0.1, 0.9, (3, 2, 2))
    values[1, 0, 1] = np.nan
    data = choices(make_inputs(values=values))
    for v, m, d in itertools.product(range(2), range(3), range(2)):
        cell = data["cells"][1 - v][m][d]  # the linear probe, which decides, comes first
        if np.isnan(values[m, d, v]):
            assert cell is None
        else:
            expected = [values[m, d, v], values[m, d, v] - 0.05, values[m, d, v] + 0.05]
            np.testing.assert_allclose(cell, expected, atol=1e-5)


@pytest.mark.parametrize("name", ["model_pairs", "mean_pairs"])
def test_pairs_by_brute_force(name):
    models, rng = ("a", "b", "c", "d"), np.random.default_rng(2)
    upper = np.triu(np.ones((4, 4)), 1) > 0
    difference = np.where(upper, rng.normal(0, 1, (4, 4)), np.nan)[np.newaxis, np.newaxis]
    differs = np.where(upper, np.abs(difference) > 0.5, np.nan)
    differs[0, 0, 0, 3] = np.nan  # this pair was not tested
    axes = {"model_pairs": ("variant", "dataset"), "mean_pairs": ("protocol", "scope")}[name]
    labels = {"model_pairs": ("knn/study", "in0"), "mean_pairs": ("knn", "all")}[name]
    made = table(
        (*axes, "model", "rival"),
        (*([label] for label in labels), models, models),
        {"difference": difference, "differs": differs},
    )
    data = choices(make_inputs({name: made}, models=models))
    expected = ""
    for i, j in itertools.combinations(range(4), 2):
        better = "1" if difference[0, 0, i, j] > 0 else "2"
        told = differs[0, 0, i, j]
        expected += "-" if np.isnan(told) else better if told else "0"
    scopes = ["out0", "mean over all data sets", "in0"]  # the target first
    place = scopes.index({"model_pairs": "in0", "mean_pairs": "mean over all data sets"}[name])
    assert [scope["label"] for scope in data["scopes"]] == scopes
    # The linear probe decides, so it comes first.
    assert data["pairs"] == [[""] * 3, [expected if at == place else "" for at in range(3)]]
    assert set(expected) == {"0", "1", "2", "-"}


def test_the_target_then_means_come_first_and_each_only_where_it_is_one():
    several = choices(make_inputs(datasets=("in0", "in1", "out0", "out1")))["scopes"]
    assert [scope["datasets"] for scope in several] == [
        [2], [0, 1, 2, 3], [0, 1], [2, 3], [0], [1], [3]
    ]  # fmt: skip
    only = choices(make_inputs(datasets=("out0", "out1")))["scopes"]
    assert [scope["datasets"] for scope in only] == [[0], [0, 1], [1]]
    assert [s["datasets"] for s in choices(make_inputs(datasets=("in0",)))["scopes"]] == [[0]]


@pytest.mark.parametrize("name", ["</script><script>alert(1)</script>", "<!--", "&lt;", "=cmd()"])
def test_hostile_names_can_not_leave_the_data(name):
    data = section(make_inputs(models=(name, "b", "c"), family=[name, "x", "y"])).data
    assert not set("<>&") & set(data)
    assert json.loads(data)["models"][0]["name"] == name


def test_without_a_protocol_that_judges_images_there_is_nothing_to_choose_by():
    text = partial("constraints", section(make_inputs(variants=("predictors/rankme",))))
    assert "Nothing to choose by" in text
    assert "<form" not in text


def test_scores_by_another_metric_are_not_taken_for_the_correlated_one():
    """A data set that has no others is shown by them, and says so; no mean is over both."""
    inputs = make_inputs(datasets=("in0", "in1", "out0"))
    one, two = inputs.cube.copy(deep=True), inputs.cube.copy(deep=True)
    two = two.assign_coords(metric=["top5"])
    one["value"].loc[{"dataset": "out0"}] = np.nan  # by top-5 accuracy alone
    one["value"].loc[{"dataset": "in0", "model": "b"}] = np.nan  # others have both there
    cube = xr.concat([one, two], "metric", data_vars=["value", "ci_low", "ci_high"])
    data = choices(replace(inputs, cube=cube))
    for cells in data["cells"]:
        assert [row[0] is None for row in cells] == [False, True, False]
        assert all(row[2] for row in cells)
    assert data["alike"] == [[0, 1]] * 2
    assert data["by"] == [["", "", "top-5 accuracy"]] * 2


def test_what_is_no_share_is_not_taken_for_the_correlated_metric():
    inputs = make_inputs()
    inputs.cube["metric"] = ["nll"]
    data = choices(inputs)
    assert {cell for rows in data["cells"] for row in rows for cell in row} == {None}
    assert data["alike"] == [[], []]


def test_who_is_within_chance_is_known_without_a_table_of_pairs():
    """As of imported scores: the panel says what the ranks say, and never "not tested" of those."""
    models = ("a", "b", "c")
    within = np.array([[[1.0, 1.0, 0.0], [1.0, np.nan, 0.0]]])
    ranks = table(
        ("protocol", "dataset", "model"), (["linear"], ["in0", "out0"], models),
        {"within_chance": within},
    )  # fmt: skip
    inputs = make_inputs({"ranks": ranks}, models=models)
    data = choices(inputs)
    linear = data["protocols"].index("linear probe")
    found = {
        scope["label"]: told
        for scope, told in zip(data["scopes"], data["chances"][linear], strict=True)
    }
    assert found["in0"] == "110"
    assert found["out0"] == "1-0"
    assert not any(data["chances"][1 - linear])
    assert "No pair of models was tested" not in section(inputs).tested
    assert "No pair of models was tested" in section(make_inputs()).tested
