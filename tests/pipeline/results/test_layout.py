"""Published tables of other forms: how they become rows of scores, and what is refused."""

from __future__ import annotations

import pytest

from cache.errors import ProbelineError
from pipeline.results.foreign_file import read_published
from pipeline.results.layout import Layout
from stages.import_options import layout_of

LISTS = ("column", "metric", "where", "without", "n_test", "in_domain")
TEXTS = ("profile", "model", "dataset", "value", "protocol", "keep")
NOTHING = dict.fromkeys(LISTS, ()) | dict.fromkeys(TEXTS)
FLAGS = {"wide": False, "percent": False, "without_intervals": False}


def said(several=False, **options):
    """The layout that a user's options make."""
    return layout_of({**NOTHING, **FLAGS, **options}, several)


WIDE = said(wide=True, protocol="linear", metric=("top1",))


@pytest.fixture
def read(tmp_path):
    def write_and_read(layout, *lines, **files):
        given = files or {"table": lines}
        paths = []
        for name, of in given.items():
            paths.append(tmp_path / f"{name}.csv")
            paths[-1].write_text("\n".join([*of, ""]))
        return read_published(paths, layout)

    return write_and_read


def cells(found, *columns):
    return found.scores[list(columns)].to_records(index=False).tolist()


def test_a_row_for_each_model_and_a_column_for_each_data_set(read):
    found = read(WIDE, "name,d,E e", "a,0.5,0.25", "b,,0.75")
    assert cells(found, "model", "dataset", "value") == [
        ("a", "d", 0.5), ("a", "E e", 0.25), ("b", "E e", 0.75),
    ]  # fmt: skip
    assert set(found.scores["protocol"]) == {"linear"}
    assert "1 cells hold no score" in found.notes[0]


def test_a_file_for_each_data_set_with_thousands_and_models_named_by_two_columns(read):
    layout = said(
        several=True, value="acc", model="{m}@{size}", metric=("top1",), protocol="classifier",
        column=("parameters=count",), percent=True,
    )  # fmt: skip
    lines = {n: ["m,size,acc,count", f'a,224,{v},"1,014.45"', f"a,384,{v},305.08"]
             for n, v in (("one", "0.9"), ("two", "90.1"))}  # fmt: skip
    found = read(layout, **lines)
    assert cells(found, "model", "dataset", "value", "parameters") == [
        ("a@224", "one", 0.009, 1014.45), ("a@384", "one", 0.009, 305.08),
        ("a@224", "two", 0.901, 1014.45), ("a@384", "two", 0.901, 305.08),
    ]  # fmt: skip
    assert "2 of 4 rates are up to 1" in found.notes[0]  # --percent is believed, and said


def test_columns_of_several_metrics_and_words_of_the_file(read):
    layout = said(
        column=("model=net", "metric=measure"), value="v", protocol="linear", dataset="d",
        metric=("mAP=map",),
    )  # fmt: skip
    found = read(layout, "net,measure,v", "a,mAP,0.5", "a,top1,0.25")
    assert cells(found, "metric", "value") == [("map", 0.5), ("top1", 0.25)]


@pytest.mark.parametrize(("keep", "value"), [("first", 0.5), ("best", 0.75)])
def test_one_of_several_rows_is_kept_where_it_is_said_which(read, keep, value):
    layout = said(keep=keep, protocol="linear", metric=("top1",), column=("dataset=set",))
    lines = ["model,set,lr,value", "a,d,.1,0.5", "a,d,.2,0.75", "b,d,.1,0.25"]
    found = read(layout, *lines)
    assert cells(found, "model", "value") == [("a", value), ("b", 0.25)]
    assert f"1 rows are left out: the {keep}" in found.notes[0]


def test_rows_words_and_test_images_that_are_asked_for(read):
    layout = said(
        where=("bands=rgb",), protocol="linear", metric=("top1",), n_test=("100", "e=7"),
        in_domain=("d",),
    )  # fmt: skip
    found = read(layout, "model,dataset,bands,value", "a,d,rgb,.5", "a,e,rgb,.6", "a,e,all,.7")
    assert cells(found, "dataset", "n_test", "role") == [
        ("d", 100, "in_domain"), ("e", 7, "out_of_domain"),
    ]  # fmt: skip
    assert "only those with bands rgb" in found.notes[0]


@pytest.mark.parametrize(
    ("layout", "lines", "expect"),
    [
        (WIDE, ["m,d,n_images", "a,.5,5000"], (":2", "above 100", "--without n_images")),
        (WIDE, ["m,d,style", "a,.5,big"], (":2", "column style holds text", "--without style")),
        (WIDE, ["m,d,size", "a,.5,.2", "a,.6,.3"],
         ("several rows", "a on lines 2, 3", "--keep first")),
        (said(value="acc", protocol="linear", metric=("top1",)),
         ["model,img_size,acc", "a,224,.5", "a,384,.6", "b,224,.7"],
         (":2", "differ in img_size", '--model "{model}@{img_size}"')),
        (said(wide=True, metric=("top1",)), ["m,d", "a,.5"], ("nobody says the protocol",)),
        (said(wide=True, protocol="linear", metric=("rmse",)), ["m,d", "a,.5"],
         ("unknown metric", "whether higher is better")),
        (said(column=("model=nam",)), ["name,value", "a,1"], ("no column nam", "name, value")),
        (said(where=("bands=rgb",), protocol="x", metric=("top1",), dataset="d"),
         ["model,bands,value", "a,all,.5"], ("no row has bands=rgb",)),
        (said(wide=True, protocol="l", metric=("top1",), percent=True), ["m,d", "a,.5", "b,.6"],
         ("no percentages", "leave out --percent")),
        (WIDE, ["m,d,e", "a,93.1,0.5"], ("mixed with fractions", "--percent")),
    ],
)  # fmt: skip
def test_what_is_refused(read, layout, lines, expect):
    with pytest.raises(ProbelineError) as caught:
        read(layout, *lines)
    assert all(word in str(caught.value) for word in expect), str(caught.value)


def test_options_of_another_form_are_refused():
    with pytest.raises(ProbelineError, match="NAME=WORD"):
        said(column=("model",))


def test_a_profile_is_overruled_by_what_is_said():
    layout = said(profile="timm", n_test=("imagenet=7",), protocol="p")
    assert layout.of_dataset["n_test"]["imagenet"] == "7"
    assert layout.of_dataset["n_test"]["sketch"] == "50889"
    assert layout.constants["protocol"] == "p"
    assert layout.percent


def test_the_plain_layout_is_the_long_form():
    assert said().is_ours
    assert said(percent=True).is_ours
    assert not said(protocol="x").is_ours
    assert Layout().is_ours
