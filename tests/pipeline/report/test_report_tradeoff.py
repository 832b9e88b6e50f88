"""Fidelity against cost: every predictor once, its interval, and the front."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from made_inputs import drawn, make_inputs, partial, table, withheld

from pipeline.report.tradeoff import ABOVE, HEIGHT, LINE, SHORTEST, figures, section

PREDICTORS = ["knn/study@in0", "linear/ridge_none@in0", "predictors/rankme@each target"]
TARGETS = ["other_protocols", "all"]


def costs(headline="all"):
    return table(
        ("predictor", "targets"),
        (PREDICTORS, TARGETS),
        {
            "fidelity": [[0.6, 0.61], [0.8, 0.81], [0.4, np.nan]],
            "seconds": [[0.01, 0.01], [3.0, 3.0], [0.0, 0.0]],
            "forward_passes": [[1800, 1800], [1800, 1800], [np.nan, np.nan]],
            "pareto_seconds": [[1, 1], [1, 1], [1, np.nan]],
            "pareto_forward_passes": [[0, 0], [1, 1], [np.nan, np.nan]],
        },
        headline_targets=headline,
    )


def trust(headline="all"):
    mean = np.full((2, 3, 2), 0.5)
    mean[1] = [[0.6, 0.61], [0.8, 0.81], [0.4, np.nan]]
    return table(
        ("coefficient", "predictor", "targets"),
        (["pearson", "spearman"], PREDICTORS, TARGETS),
        {
            "mean": mean,
            "low": mean - 0.1,
            "high": np.where(mean > 0.7, np.nan, mean + 0.1),
            "n": mean * 0 + 8,
            "n_targets": mean * 0 + 6,
        },
        headline_targets=headline,
    )


def test_the_headline_targets_open_the_figure_and_others_are_offered():
    inputs = make_inputs({"fidelity_cost": costs(), "trust": trust()})
    pair = figures(inputs)["fidelity_cost"]
    for signals, points in (
        ({}, 2), ({"targets": "other_protocols"}, 3), ({"cost": "forward_passes"}, 2)
    ):  # fmt: skip
        kinds = [kind for kind, _ in drawn(pair, **signals)]
        assert kinds.count("point") == points
    assert dict(section(inputs).choices[0].options).keys() == set(TARGETS)
    assert section(inputs).choices[0].options[0][0] == "all"


def test_intervals_are_those_of_spearman():
    rows = figures(make_inputs({"fidelity_cost": costs(), "trust": trust()}))["fidelity_cost"][1]
    of = {(r["predictor"], r["targets"], r["cost"]): r for r in rows}
    row = of["kNN on in0", "all", "seconds"]
    assert (row["low"], row["high"], row["models"], row["n_targets"]) == (0.51, 0.71, 8, 6)
    assert of["linear probe on in0", "all", "seconds"]["high"] is None
    assert len(rows) == 2 * 2 + 2 * 2 + 1  # both costs of two, seconds of the third where known


def test_no_time_at_all_is_drawn_at_the_edge():
    pair = figures(make_inputs({"fidelity_cost": costs()}))["fidelity_cost"]
    words = [w for k, w in drawn(pair, targets="other_protocols") if k == "point"]
    assert sum(f"log scale): {SHORTEST:g}" in w for w in words) == 1
    assert all(row["low"] is None for row in pair[1])  # without trust there are no intervals


def test_the_front_is_a_table_with_the_quickest_first():
    found = section(make_inputs({"fidelity_cost": costs(), "trust": trust("other_protocols")}))
    assert [row["spent"] for row in found.front] == [0, 0.01, 3]
    text = partial("tradeoff", found)
    assert "0.50 to 0.70" in text
    assert "<td>0.01</td>" in text
    assert "no interval" in text


def test_without_costs_or_fidelity_the_page_says_so():
    free = costs()
    for name in ("seconds", "forward_passes"):
        free[name] = free[name] * np.nan
    for found, reason in (
        (free, "no cost of any predictor is known"),
        (withheld("no in-domain data set"), "no in-domain data set"),
    ):
        inputs = make_inputs({"fidelity_cost": found, "trust": trust()})
        assert figures(inputs) == {}
        assert reason in partial("tradeoff", section(inputs))


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=12))
def test_names_on_the_front_never_lie_upon_each_other(means):
    labels = [f"knn/{i}@in0" for i in range(len(means))]
    column = np.array(means)[:, np.newaxis]
    found = table(
        ("predictor", "targets"),
        (labels, ["all"]),
        {
            "fidelity": column,
            "seconds": column * 0 + 1,
            "forward_passes": column * np.nan,
            "pareto_seconds": column * 0 + 1,
            "pareto_forward_passes": column * np.nan,
        },
        headline_targets="all",
    )
    rows = figures(make_inputs({"fidelity_cost": found}))["fidelity_cost"][1]
    drawn_at = [row["fidelity"] for row in rows]
    pixels = HEIGHT / (max(drawn_at) - min(drawn_at) or 1)
    points = [(max(drawn_at) - row["fidelity"]) * pixels for row in rows]
    names = sorted(point + row["name_dy"] for point, row in zip(points, rows, strict=True))
    assert all(later - first > LINE - 1.01 for first, later in itertools.pairwise(names))
    assert all(row["name_dy"] <= -ABOVE for row in rows)  # never on its own point
    assert max(row["name_dy"] for row in rows) == -ABOVE  # the lowest stays where it belongs
