"""Files of scores from elsewhere: what is read, and what is refused with which lines."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache.errors import ProbelineError
from pipeline.results.foreign_file import read_foreign
from pipeline.results.score_table import COLUMNS

HEADER = "model,dataset,protocol,metric,value"


@pytest.fixture
def read(tmp_path):
    def write_and_read(*lines, header=HEADER, percent=False, encoding="utf-8"):
        path = tmp_path / "scores.csv"
        path.write_bytes("\n".join([header, *lines, ""]).encode(encoding))
        return read_foreign(path, percent=percent)

    return write_and_read


def refused(read, *lines, expect, **more):
    with pytest.raises(ProbelineError) as caught:
        read(*lines, **more)
    message = str(caught.value)
    assert "scores.csv" in message
    for words in expect:
        assert words in message, message


def test_needed_columns_alone_are_enough(read):
    found = read("a,d,linear,top1,0.5", "", "b,d,linear,top1,", encoding="utf-8-sig")
    assert tuple(found.scores.columns) == COLUMNS
    assert found.scores["value"].tolist()[0] == 0.5
    assert np.isnan(found.scores["value"][1])  # missing, not zero
    assert found.scores["variant"].tolist() == ["imported", "imported"]
    assert found.scores["details"].tolist() == ["{}", "{}"]
    assert found.scores["seed"].isna().all()
    assert found.unused == ()


def test_all_columns_in_any_case_and_order_and_some_that_mean_nothing(read):
    found = read(
        " 0.25 , m ,d,knn,top1,3,100,vit,self_supervised,in_domain,21.5,me",
        header="Value,MODEL,dataset,protocol,metric,seed,n_test,family,supervision,role,"
        "parameters,author",
    )
    row = found.scores.iloc[0]
    assert (row["value"], row["model"], row["seed"], row["n_test"]) == (0.25, "m", 3, 100)
    assert (row["family"], row["supervision"], row["role"]) == (
        "vit",
        "self_supervised",
        "in_domain",
    )
    assert row["parameters"] == 21.5
    assert found.unused == ("author",)


@pytest.mark.parametrize(
    "name", ["<b>x</b>", "=1+1", "@sum", "-3", "facebook/dino", "a b", "名", "NA", "None", "'x"]
)
def test_names_are_text(read, name):
    found = read(f"{name},{name},linear,top1,0.5")
    assert found.scores["model"].tolist() == found.scores["dataset"].tolist() == [name]


def test_escaped_formulas_are_what_they_were(read):
    assert read("'=1+1,d,linear,top1,0.5").scores["model"].tolist() == ["=1+1"]


def test_words_given_once_hold_for_all_rows_of_the_name(read):
    found = read(
        "a,d,linear,top1,0.5,", "a,e,linear,top1,0.5,vit", "b,d,linear,top1,0.5,",
        header=HEADER + ",family",
    )  # fmt: skip
    assert found.scores["family"].tolist() == ["vit", "vit", ""]


@settings(max_examples=30, deadline=None)
@given(st.decimals(0, 100, places=4), st.decimals(1, 100, places=4).filter(lambda x: x > 1))
def test_percentages_become_the_nearest_fractions(tmp_path_factory, first, second):
    path = tmp_path_factory.mktemp("percent") / "scores.csv"
    if 0 < first <= 1:
        first += 1
    second = min(first, second)
    path.write_text(
        f"{HEADER},ci_low\na,d,linear,top1,{first},{second}\nb,d,linear,top1,{second},\n"
        f"b,d,linear,nll,{second},\n"
    )
    table = read_foreign(path, percent=True).scores
    assert table["value"].tolist()[:2] == [float(first / 100), float(second / 100)]
    assert table["ci_low"][0] == float(Decimal(second) / 100)
    assert table["value"][2] == float(second)  # no rate


def test_percentages_and_fractions(read):
    fractions = [f"m{i},d,linear,top1,0.{i + 1}" for i in range(8)]
    percentages = [f"m{i},e,linear,top1,{i + 50}" for i in range(3)]
    mixed = ("mixed", "3 values above 1 (lines 10, 11, 12)", "8 up to 1", "lines 2, 3, 4, 5, 6 and")
    refused(read, *fractions, *percentages, expect=mixed)
    believed = read(*fractions, *percentages, percent=True)
    assert believed.scores["value"].tolist()[0] == 0.001
    assert "8 of 11 rates are up to 1" in believed.notes[0]
    refused(read, *percentages, expect=("3 values above 1", "--percent"))
    refused(read, *fractions, expect=("no percentages", "leave out --percent"), percent=True)
    assert read(*percentages, percent=True).scores["value"].tolist() == [0.5, 0.51, 0.52]
    # What is no rate is on no scale.
    assert len(read(*fractions, "m0,d,linear,nll,2.5", "m0,d,predictors,value,40").scores) == 10


@pytest.mark.parametrize(
    ("lines", "expect"),
    [
        (["a,d,knn,top1,high"], ("scores.csv:2", "value is not a number", "'high' on line 2")),
        (["a,d,knn,top1,0.1", "b,d,knn,top1,inf"], (":3", "not a number")),
        (["a,d,knn,top1,85%"], (":2", "take the % away", "--percent")),
        (['a,d,knn,top1,"0,85"'], (":2", "decimal point")),
        (["a,d,knn,top1,1_0"], (":2", "not a number")),
        (["a,d,knn,top1,-0.2"], (":2", "outside 0 to 1")),
        (["a,d,knn,top1,120"], (":2", "outside")),
        (["a,d,knn,top1"], (":2", "another number of cells", "4 cells")),
        (["a,d,knn,acc,0.5"], (":2", "unknown metric", "top1", "'acc'")),
        (["a,d,knn,Top-1,0.5"], ("did you mean `top1`",)),
        ([",d,knn,top1,0.5"], (":2", "model is empty")),
        (["a,d,,top1,0.5"], (":2", "protocol is empty")),
        (["a,d,k/nn,top1,0.5"], (":2", "holds / or @")),
        (['"a\nb",d,knn,top1,0.5'], (":2", "can't be printed")),
        (['a,d,"k"nn,top1,0.5'], ("line 2 is no CSV",)),
        ([], ("holds no scores",)),
    ],
)
def test_bad_cells_are_named_with_their_lines(read, lines, expect):
    refused(read, *lines, expect=expect)


def test_lines_are_counted_as_an_editor_does(read):
    refused(read, 'a,"d",knn,top1,0.1', "", '"multi\n', expect=("no CSV",))
    refused(
        read, "a,d,knn,top1,0.1,\"two\nlines\"", "", "b,d,knn,top1,bad,x",
        header=HEADER + ",note", expect=("scores.csv:5",),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("header", "expect"),
    [
        (
            "model_name,dataset,protocol,metric,value",
            ("no column model", "`model_name` to `model`"),
        ),
        ("model,data_set,protocol,metric,score", ("dataset, value", "`data_set` to `dataset`")),
        ("model;dataset;protocol;metric;value", ("separate the columns by commas",)),
        ("model,dataset,protocol,metric,value,famly", ("famly", "did you mean `family`")),
        ("model,model,dataset,protocol,metric,value", ("model is given twice",)),
    ],
)
def test_headers(read, header, expect):
    row = ",".join(["x"] * (header.count(",") + 1))
    refused(read, row, header=header, expect=expect)


def test_duplicates(read):
    same = ["a,d,knn,top1,0.5", "b,d,knn,top1,0.5", "a,d,knn,top1,0.6"]
    refused(read, *same, expect=("2 rows are of the same scores", "a, d, knn", "lines 2, 4"))
    seeds = ["a,d,knn,top1,0.5,0", "a,d,knn,top1,0.6,1"]
    header = HEADER + ",seed"
    assert read(*seeds, header=header).scores["seed"].tolist() == [0, 1]
    refused(read, *seeds, "a,d,knn,top1,0.5,1", header=header, expect=("lines 2, 3, 4",))
    refused(read, *seeds, "a,d,knn,top1,0.5,", header=header, expect=("same scores",))
    refused(read, "a,d,knn,top1,0.5,1.5", header=header, expect=("not a whole number", "'1.5'"))
    assert read("a,d,knn,top1,0.5,1.0", header=header).scores["seed"].tolist() == [1]


@pytest.mark.parametrize(
    ("column", "cells", "expect"),
    [
        ("family", ("vit", "resnet"), ("model a has two values of family", "lines 2, 3")),
        ("role", ("in_domain", "in-domain"), ("unknown role", "did you mean `in_domain`")),
        ("supervision", ("none", "self"), ("unknown supervision", "line 3")),
        ("objective", ("generativ", ""), ("did you mean `generative`", "line 2")),
        ("kind", ("generative", ""), ("column kind has another name now", "objective")),
        ("parameters", ("5", "6"), ("several values for one model",)),
        ("dimension", ("-5", "-5"), ("negative",)),
        ("n_test", ("-5", "5"), ("not a whole number",)),
        ("details", ("{}", "[1]"), ("no JSON object", "line 3")),
    ],
)
def test_words_and_sizes(read, column, cells, expect):
    lines = [f"a,d,knn,top1,0.5,{cells[0]}", f"a,d,linear,top1,0.5,{cells[1]}"]
    refused(read, *lines, header=f"{HEADER},{column}", expect=expect)


CI = HEADER + ",ci_low,ci_high"


@pytest.mark.parametrize(
    ("lines", "percent", "expect"),
    [
        (["a,d,knn,top1,93.4,0.92,0.95"], True, (":2", "does not hold", "the intervals are frac")),
        (["a,d,knn,top1,0.934,92,95"], False, (":2", "does not hold", "the intervals are perc")),
        (["a,d,knn,top1,0.9,0.8,0.95", "b,d,knn,top1,0.70,0.75,0.8"], False, (":3", "0.75 to 0.8")),
        (["a,d,knn,top1,0.9,0.95,0.8"], False, (":2", "ci_low is above ci_high", "exchange")),
        (["a,d,knn,top1,0.9,0.02,0.02"], False, ("does not hold", "correct these intervals")),
        (["a,d,knn,top1,0.90,0.92,"], False, ("does not hold", "0.92 to … around 0.9")),
        (["a,d,knn,nll,2.5,3.0,4"], False, ("does not hold",)),
    ],
)
def test_intervals_that_are_none(read, lines, percent, expect):
    refused(read, *lines, header=CI, percent=percent, expect=expect)


def test_intervals_that_are_none_can_be_left_out(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text(f"{CI}\na,d,knn,top1,0.9,0.02,0.02\nb,d,knn,top1,0.8,x,\n")
    table = read_foreign(path, intervals=False).scores
    assert table["value"].tolist() == [0.9, 0.8]
    assert table[["ci_low", "ci_high"]].isna().all(axis=None)


@pytest.mark.parametrize(
    "line",
    [
        "a,d,knn,top1,0.93,0.934,0.95",  # the value is rounded
        "a,d,knn,top1,0.934,0.92,0.93",  # an end is
        "a,d,knn,top1,1,0.9,1",
        "a,d,knn,top1,,0.9,0.95",
        "a,d,knn,top1,0.9,,",
        "a,d,knn,nll,2.5,2.5,2.5",
        "a,d,knn,top1,0.9,NaN,0.95",
        "a,d,knn,top1,0.3,0.30000000000000004,0.4",
    ],
)
def test_intervals_that_hold_their_values(read, line):
    assert len(read(line, header=CI).scores) == 1


@settings(max_examples=50, deadline=None)
@given(
    st.decimals(0, 1, places=3), st.decimals(0, 1, places=3), st.decimals(0, 1, places=3),
    st.sampled_from([1, 100]), st.integers(0, 3),
)  # fmt: skip
def test_rounding_never_makes_an_interval_wrong(tmp_path_factory, a, b, c, scale, places):
    low, value, high = sorted((a, b, c))
    cells = [str(round(x * scale, places + (scale == 1))) for x in (value, low, high)]
    path = tmp_path_factory.mktemp("intervals") / "scores.csv"
    path.write_text(f"{CI}\na,d,knn,nll,{','.join(cells)}\n")
    assert len(read_foreign(path).scores) == 1


@pytest.mark.parametrize("word", ["", "NA", "nan", "N/A", "null", "None", "#N/A", "<NA>", " "])
def test_words_for_a_value_that_is_not_there(read, word):
    found = read(f"a,d,knn,top1,{word}", "b,d,knn,top1,0.5").scores["value"]
    assert found.isna().tolist() == [True, False]


@pytest.mark.parametrize(
    ("line", "header", "words", "never"),
    [
        ("a,d,knn,top1,0.5,", HEADER, ("take the separator", ":2"), ()),
        ("a,d,knn,top1,0.5,x", HEADER, (":2", "6 cells"), ("take the separator",)),
        ("a,d,knn,accuracy,0.5", HEADER, ("unknown metric",), ("did you mean",)),
        ("a,d,knn,acc,0.5", HEADER, ("unknown metric",), ("did you mean",)),
        ("a,d,knn,top1,0.5", HEADER.replace("value", "result"), ("no column value",), ("rename",)),
        (
            'a,d,knn,top1,"1,234"',
            HEADER,
            ("not a number", "1.234 to some"),
            ("decimal point inst",),
        ),
    ],
)
def test_hints_are_given_where_they_are_certain(read, line, header, words, never):
    with pytest.raises(ProbelineError) as caught:
        read(line, header=header)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert not [word for word in never if word in str(caught.value)], str(caught.value)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-16-le", "utf-32"])
def test_other_encodings_are_named(read, encoding):
    refused(read, "modèle,d,knn,top1,0.5", encoding=encoding, expect=("is not UTF-8 text", "save"))


def test_tabs_where_the_file_is_called_so(tmp_path):
    text = f"{HEADER}\na,d,knn,top1,0.5\n".replace(",", "\t")
    for name, fine in (("s.tsv", True), ("s.csv", False)):
        (tmp_path / name).write_text(text)
        if fine:
            assert read_foreign(tmp_path / name).scores["value"].tolist() == [0.5]
        else:
            with pytest.raises(
                ProbelineError, match=r"separated by tabs(.|\n)*call the file \.tsv"
            ):
                read_foreign(tmp_path / name)


def test_what_is_no_text_file(tmp_path):
    with pytest.raises(ProbelineError, match="no such file"):
        read_foreign(tmp_path / "none.csv")
    (tmp_path / "x.csv").write_bytes(HEADER.encode() + b"\n\xff\xfe,d,knn,top1,1\n")
    with pytest.raises(ProbelineError, match="not UTF-8"):
        read_foreign(tmp_path / "x.csv")
