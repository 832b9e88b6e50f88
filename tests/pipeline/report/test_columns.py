"""Heads of columns that need words have them, and reasons that are alike are told once."""

from __future__ import annotations

import numpy as np
import pytest
from made_inputs import drawn, make_inputs, partial, table

from pipeline.report.columns import COLUMNS, explained, legend
from pipeline.report.heat import figures, section
from pipeline.report.panels import Cell, Table, unsaid
from pipeline.report.stated import answer_first


@pytest.mark.parametrize(
    ("head", "key"),
    [
        ("Mean ρ, scores by all protocols", "Mean ρ"),
        ("Mean ρ of two data sets", "Mean ρ of two data sets"),  # the longest that fits
        ("Δ mean ρ from linear probe on digits", "Δ mean ρ"),
        ("First by logits", "First by"),
        ("p", "p"),
    ],
)
def test_a_head_is_explained_by_how_it_begins(head, key):
    assert explained(head) == COLUMNS[key]


@pytest.mark.parametrize("head", ["Model", "Data set", "Protocol", "pairs", "Params"])
def test_what_says_itself_needs_no_words(head):
    assert explained(head) == ""


def test_columns_that_mean_the_same_are_explained_once():
    heads = ["Predictor", "Mean ρ, kNN", "Mean ρ, linear probe", "Borda"]
    assert legend(heads) == [("Mean ρ, kNN", COLUMNS["Mean ρ"]), ("Borda", COLUMNS["Borda"])]


def test_equal_reasons_are_one_line():
    tables = [
        Table("A", "a", withheld="Withheld: no x."),
        Table("B", "b", ("h",), ((Cell("1"),),)),
        Table("C", "c", withheld="Withheld: no y."),
        Table("D", "d", withheld="Withheld: no x."),
    ]
    found = [(reason, [t.heading for t in of]) for reason, of in unsaid(tables)]
    assert found == [("Withheld: no x.", ["A", "D"]), ("Withheld: no y.", ["C"])]


def test_figures_open_with_what_the_answer_rests_on():
    """The linear probe decides, and out0 is the target."""
    inputs = make_inputs()
    rows = [
        {"protocol": p, "dataset": d, "place": i}
        for i, (p, d) in enumerate((p, d) for p in ("knn", "linear") for d in ("in0", "out0"))
    ]
    assert [row["place"] for row in answer_first(inputs, rows)] == [3, 2, 1, 0]
    assert answer_first(inputs, [{"dataset": "in0"}, {"dataset": "out0"}])[0]["dataset"] == "out0"


def pairs(n, common_models):
    """Correlations of three columns; `n` is the number of models of each pair."""
    names = ["knn/study@in0", "knn/study@out0", "linear/ridge_none@out0"]
    shape = (1, 3, 3)
    value = np.full(shape, 0.5)
    return table(
        ("coefficient", "predictor", "target"), (["spearman"], names, names),
        {
            "value": value, "low": value - 0.1, "high": value + 0.1, "common": value + 0.2,
            "n": np.broadcast_to(np.asarray(n, float), shape), "families": value * 0 + 5,
            "over_models": value * 0,
        },
        common_models=common_models,
    )  # fmt: skip


def test_every_cell_says_over_how_many_models_it_is():
    inputs = make_inputs({"headline_pairs": pairs([[9, 9, 6], [9, 9, 6], [6, 6, 6]], 6)})
    found = section(inputs)
    assert "over 6 to 9 models" in found.resting
    assert found.common
    [figure] = figures(inputs).values()
    words = " ".join(text for _, text in drawn(figure, over="both"))
    assert {"n 9", "n 6"} <= {f"n {number}" for number in "3456789" if f"n {number}" in words}
    assert "0.50" in words
    words = " ".join(text for _, text in drawn(figure, over="common"))
    assert "n 9" not in words
    assert "n 6" in words
    assert "0.70" in words
    shown = partial(
        "correlations",
        found,
        min_models=4,
        coefficients={},
        models_words={"both": "a", "common": "b"},
    )
    assert 'data-signal="over"' in shown


def test_where_all_cells_are_over_the_same_models_there_is_nothing_to_choose():
    inputs = make_inputs({"headline_pairs": pairs(9, 9)})
    found = section(inputs)
    assert "over the same 9 models" in found.resting
    assert not found.common
    [figure] = figures(inputs).values()
    layers = [layer for block in figure[0]["concat"] for layer in block["layer"]]
    texts = [
        of["field"] for layer in layers if "field" in (of := layer["encoding"].get("text", {}))
    ]
    assert set(texts) == {"shown"}
