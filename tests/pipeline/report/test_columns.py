"""Heads of columns that need words have them, and reasons that are alike are told once."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import numpy as np
import pytest
from made_inputs import drawn, make_inputs, partial, table

from pipeline.report import columns, scatter
from pipeline.report.columns import OF_THE_PAGE, Head, head, legend
from pipeline.report.grouping import groupings
from pipeline.report.heat import figures, section
from pipeline.report.panels import Cell, Table, unsaid
from pipeline.report.stated import answer_first
from pipeline.statistics.columns import COLUMNS

OWN = Path(columns.__file__)
FOLDER = OWN.parent


def test_a_head_says_what_its_column_says_in_a_sentence():
    assert head("observed", ", kNN") == ("Observed r, kNN", "Pearson’s r as measured.", "observed")
    assert head("fisher").meaning.startswith("The mean taken of")
    for sign in ("top_ten", "p_holm"):  # begin with a sign, which has no capital
        assert head(sign).meaning[:1] == COLUMNS[sign].meaning[:1]


def test_columns_that_mean_the_same_are_explained_once():
    heads = [Head("Predictor"), head("mean", ", kNN"), head("mean", ", linear"), head("borda")]
    assert legend(heads) == [heads[1], heads[3]]


def test_no_two_columns_have_one_key_or_one_head():
    """But of single tables, which tell their own meaning under a head that others have, too."""
    assert not COLUMNS.keys() & OF_THE_PAGE.keys()
    said = {}
    for key, column in (COLUMNS | OF_THE_PAGE).items():
        if column.head and "." not in key:
            assert said.setdefault(column.head, column) is column, key
    assert all(column.head for column in OF_THE_PAGE.values())


@pytest.mark.parametrize(
    "path", sorted([*FOLDER.glob("*.py"), *FOLDER.glob("*.j2")]), ids=lambda path: path.name
)
def test_a_head_is_spelled_in_its_object_alone(path):
    heads = {of.head for of in (COLUMNS | OF_THE_PAGE).values()} - {"", "p", "ρ"}
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        nodes = ast.walk(ast.parse(text))
        spelled = {of.value for of in nodes if isinstance(of, ast.Constant) and path != OWN}
    else:
        spelled = set(re.findall(r'scope="col">([^<{]+)', text))
    assert not {
        words for words in spelled if isinstance(words, str) and words.partition(", ")[0] in heads
    }


def test_equal_reasons_are_one_line():
    tables = [
        Table("A", "a", withheld="Withheld: no x."),
        Table("B", "b", (Head("h"),), ((Cell("1"),),)),
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


def test_no_figure_shows_a_word_of_the_records():
    """What a reader sees of rows is a name that the study gave, or words: never ``some_key``."""
    inputs = make_inputs(
        {"headline_pairs": pairs(9, 9)}, supervision=["self_supervised", "none", "supervised"]
    )
    shown = [text for figure in figures(inputs).values() for _, text in drawn(figure)]
    assert any("coefficient: Spearman ρ" in text for text in shown)
    for figure in scatter.figures(inputs).values():
        shown += [text for _, text in drawn(figure)]
    assert any("self-supervised" in text for text in shown)
    assert any("not trained" in text for text in shown)
    assert not [text for text in shown if re.search(r": ?[a-z]+_[a-z]+\b", text)]
    for words in groupings(inputs).values():
        assert not [word for word in words.values() if "_" in word]
