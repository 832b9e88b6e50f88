"""The table of scores as CSV: no cell is a formula, and what is read is what was written."""

from __future__ import annotations

import csv
import io

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from cache.errors import ProbelineError
from pipeline.results.score_table import (
    COLUMNS,
    NUMBERS,
    WHOLE_NUMBERS,
    harmless,
    plain,
    read_scores,
    to_csv,
    typed,
)

ROW = {
    "model": "a", "dataset": "d", "protocol": "knn", "variant": "v", "metric": "top1",
    "value": 0.1 + 0.2, "details": '{"k": 5}', "n_test": 7, "seed": None, "family": "=f",
}  # fmt: skip
TEXTS = dict.fromkeys(set(COLUMNS) - {*NUMBERS, *WHOLE_NUMBERS}, "")


@settings(deadline=None)
@given(st.text())
@example("=1+1")
@example("'=1+1")
@example("''@x")
@example("\tx")
@example("'")
def test_no_text_is_a_formula_and_none_is_changed(text):
    written = harmless(text)
    assert not written.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert plain(written) == text


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5))
def test_a_table_is_read_as_it_was_written(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("scores") / "scores.csv"
    signs = "=+-@'" * len(values)
    rows = [
        {**TEXTS, **ROW, "model": f'{sign}m,"\n{value}', "value": value}
        for sign, value in zip(signs, values, strict=False)
    ]
    table = typed(pd.DataFrame(rows))
    path.write_text(to_csv(table), encoding="utf-8")
    for cells in csv.reader(io.StringIO(path.read_text(encoding="utf-8"))):
        named = dict(zip(COLUMNS, cells, strict=True))
        assert not named["model"].startswith(("=", "+", "-", "@"))
        assert not named["family"].startswith("=")
        assert not named["value"].startswith("'")  # a negative number is a number
    assert_frame_equal(read_scores(path), table)


def test_absent_and_other_tables_are_refused(tmp_path):
    with pytest.raises(ProbelineError, match="no scores yet"):
        read_scores(tmp_path / "scores.csv")
    (tmp_path / "scores.csv").write_text("model,value\na,1\n")
    with pytest.raises(ProbelineError, match="another version"):
        read_scores(tmp_path / "scores.csv")
