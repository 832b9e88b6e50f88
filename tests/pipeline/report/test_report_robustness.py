"""Residuals under a change of domain: where they lie to their band, and what is counted."""

from __future__ import annotations

import numpy as np
from made_inputs import drawn, make_inputs, partial, table, withheld

from pipeline.report.robustness import figures, section

MODELS = ["a", "b", "c"]
VALUE = np.array([[[0.9, -0.1, -0.9]], [[0.1, 0.2, np.nan]]])
BAND = 0.5


def numbers(value):
    band = np.where(np.isfinite(value), BAND, np.nan)
    return {
        "accuracy": value * 0 + 0.5,
        "expected": value * 0 + 0.4,
        "value": value,
        "band": band,
        "outside": (value > BAND) * 1.0 - (value < -BAND) * 1.0,
        "slope": value * 0 + 1,
        "beyond": value * 0,
        "n": value * 0 + 7,
    }


def residual():
    value = VALUE[:, np.newaxis]
    dims = ("protocol", "in_domain", "dataset", "model")
    return table(dims, (["knn", "linear"], ["in0"], ["out0"], MODELS), numbers(value))


def robustness():
    heads = ["transfer/from_in0_ridge_none", "transfer/from_in0_knn_study"]
    return table(
        ("head", "dataset", "model"), (heads, ["out0"], MODELS), numbers(VALUE), baseline="a, <b>"
    )


def test_points_outside_their_band_are_marked_by_shape_and_counted():
    inputs = make_inputs({"transfer_residual": residual(), "effective_robustness": robustness()})
    found = figures(inputs)
    for pair, signal, names in (
        (found["transfer_residual"], "protocol", ["knn", "linear"]),
        (found["effective_robustness"], "head", robustness()["head"].values),
    ):
        first = [w for k, w in drawn(pair, **{signal: str(names[0])}) if k == "point"]
        places = sorted(w.split("place: ")[1].split(";")[0] for w in first)
        assert places == ["above the band", "below the band", "inside the band"]
        marks = drawn(pair, **{signal: str(names[1])})
        assert [k for k, _ in marks].count("point") == [k for k, _ in marks].count("bar") == 2
    said = section(inputs)
    for judged in (said.residual, said.effective):
        assert judged.remark.startswith("2 of 5 residuals over all choices lie outside their band.")


def test_of_many_models_the_farthest_are_drawn_and_all_counted(monkeypatch):
    monkeypatch.setattr("pipeline.report.robustness.MOST_MODELS", 2)
    inputs = make_inputs({"transfer_residual": residual()})
    _, rows = figures(inputs)["transfer_residual"]
    assert {row["model"] for row in rows} == {"a", "c"}  # b is inside every band
    judged = section(inputs).residual
    assert (judged.models, judged.drawn) == (3, 2)
    assert judged.remark.startswith("2 of 5 residuals")


def test_the_page_names_the_baseline_escaped():
    inputs = make_inputs({"transfer_residual": residual(), "effective_robustness": robustness()})
    text = partial("robustness", section(inputs), inputs=inputs)
    assert "a and &lt;b&gt;" in text
    assert "2 of 5 residuals" in text
    assert "transferred probe" in text


def test_residuals_without_a_line_are_left_out():
    empty = residual().where(False)
    inputs = make_inputs(
        {"transfer_residual": empty, "effective_robustness": withheld("2 baseline models")}
    )
    assert figures(inputs) == {}
    text = partial("robustness", section(inputs), inputs=inputs)
    assert "no line could be fitted" in text
    assert "Withheld: 2 baseline models." in text
