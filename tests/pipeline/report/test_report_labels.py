"""Label-efficiency curves, the gap, and crossing points in words."""

from __future__ import annotations

import numpy as np
import pytest
from made_inputs import drawn, make_inputs, partial, table, withheld

from pipeline.report.grouping import groupings
from pipeline.report.labels import figures, section

HEADS, DATASETS, MODELS = ["ridge", "prototypes"], ["in0", "out0"], ["a", "b", "c"]
BUDGETS, COUNTS = ["1_shots", "5_shots", "10_shots"], [1.0, 5.0, 10.0]


def curves(**changes):
    accuracy = np.linspace(0.1, 0.9, 36).reshape(2, 2, 3, 3)
    accuracy[0, 0, 1, 2] = np.nan
    labels = np.broadcast_to(np.array(COUNTS)[:, np.newaxis], accuracy.shape)
    variables = {
        "labels": np.where(np.isfinite(accuracy), labels, np.nan),
        "accuracy": accuracy,
        "low": accuracy - 0.05,
        "high": accuracy + 0.05,
        "corrected": accuracy,
    }
    dims = ("head", "dataset", "budget", "model")
    return table(dims, (HEADS, DATASETS, BUDGETS, changes.get("models", MODELS)), variables)


def gap(low, high):
    """Of one head and two groups; the ends are those of the mean of all backbones."""
    shape = (1, 2, 3, 3)
    ends = [np.broadcast_to(np.asarray(end, float), shape) for end in (low, high)]
    return table(
        ("head", "group", "dataset", "budget"),
        (["ridge"], ["all backbones", "resnet"], ["in0", "out0", "mean"], BUDGETS),
        {
            "labels": np.broadcast_to(COUNTS, shape),
            "difference": (ends[0] + ends[1]) / 2,
            "low": ends[0],
            "high": ends[1],
            "supervised": np.full(shape, 3),
            "self_supervised": np.full(shape, 4),
            "claim": np.full(shape, "the models named", object),
        },
    )


def crossing(**values):
    found = {
        "crossing": 3.25, "crossings": 1, "low": 1.0, "high": 7.5, "below": 1, "above": 0,
        "pieces": 1, "p_none": 0.2, "counts": 3, "supervised": 3, "self_supervised": 4,
    } | values  # fmt: skip
    shape = (1, 1, 2)
    variables = {name: np.full(shape, value, float) for name, value in found.items()}
    variables["claim"] = np.full(shape, "the models named", object)
    labels = (["ridge"], ["all backbones"], ["in0", "mean"])
    return table(("head", "group", "dataset"), labels, variables, interval="95%, over draws")


def test_the_figure_shows_one_head_and_data_set_with_its_intervals():
    pair = figures(make_inputs({"label_curves": curves()}))["label_curves"]
    for head, dataset, points in (("ridge", "in0", 8), ("prototypes", "out0", 9)):
        marks = drawn(pair, head=head, dataset=dataset)
        kinds = [kind for kind, _ in marks]
        assert kinds.count("point") == kinds.count("rule mark") == points
        assert kinds.count("line mark") == 3
    words = [words for kind, words in drawn(pair, head="ridge", dataset="in0") if kind == "point"]
    assert any("10.0%" in w and "model: a" in w for w in words)


@pytest.mark.parametrize(
    ("models", "first"), [(["a", "b", "c"], "model"), ([f"m{i}" for i in range(9)], "supervision")]
)
def test_few_models_are_told_apart_and_many_are_grouped(models, first):
    of = ["supervised", "self_supervised", "none"] * 3
    inputs = make_inputs(models=models, supervision=of[: len(models)])
    ways = groupings(inputs)
    assert next(iter(ways)) == first
    words = ["supervised", "self-supervised", "not trained"] * 3
    assert ways["supervision"] == dict(zip(models, words, strict=False))


def test_a_word_that_all_models_share_is_no_way_to_group_them():
    assert set(groupings(make_inputs(family=["x"] * 3))) == {"model"}


def test_colours_follow_the_group():
    inputs = make_inputs(
        {"label_curves": curves()}, supervision=["supervised", "none", "supervised"]
    )
    pair = figures(inputs)["label_curves"]
    words = [w for kind, w in drawn(pair, by="supervision") if kind == "line mark"]
    assert sorted(w.split("group: ")[1] for w in words) == [
        "not trained; model: b", "supervised; model: a", "supervised; model: c"
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["__proto__", "constructor", 'x"] || alert(1) || ["', "a'b"])
def test_names_of_models_are_never_code(name):
    models = [name, "b", "c"]
    pair = figures(make_inputs({"label_curves": curves(models=models)}, models=models))
    assert len([k for k, _ in drawn(pair["label_curves"], head="prototypes") if k == "point"]) == 9


def test_the_gap_opens_with_the_mean_over_data_sets():
    inputs = make_inputs({"label_gap": gap(-0.1, 0.3)})
    assert [params["value"] for params in figures(inputs)["label_gap"][0]["params"]] == [
        "ridge", "all backbones", "mean"
    ]  # fmt: skip
    kinds = [kind for kind, _ in drawn(figures(inputs)["label_gap"])]
    assert kinds.count("point") == kinds.count("rule mark") == 3


@pytest.mark.parametrize(
    ("values", "undecided"),
    [
        ({}, "< 1 to 7.5"),
        ({"below": 0}, "1 to 7.5"),
        ({"above": 1}, "< 1 to > 7.5"),
        ({"below": 0, "pieces": 2}, "1 to 7.5, in 2 pieces"),
        ({"low": np.nan, "high": np.nan, "below": 0, "pieces": 0}, "none"),
    ],
)
def test_open_ends_are_said(values, undecided):
    inputs = make_inputs({"label_gap": gap(-0.1, 0.1), "label_crossing": crossing(**values)})
    found = section(inputs).crossings
    assert [c.dataset for c in found] == ["mean over data sets", "in0"]
    assert {c.undecided for c in found} == {undecided}


@pytest.mark.parametrize(
    ("values", "crossing_words", "more"),
    [({}, "3.25", 0), ({"crossings": 3}, "3.25", 2), ({"crossing": np.nan, "crossings": 0}, "", 0)],
)
def test_crossings_are_counted(values, crossing_words, more):
    inputs = make_inputs({"label_gap": gap(-0.1, 0.1), "label_crossing": crossing(**values)})
    assert {(c.crossing, c.more) for c in section(inputs).crossings} == {(crossing_words, more)}


def test_the_page_says_what_is_withheld():
    inputs = make_inputs(
        {"label_curves": curves(), "label_gap": withheld("no backbone has both <sides>")}
    )
    text = partial("labels", section(inputs))
    assert "Withheld: no backbone has both &lt;sides&gt;." in text
    assert 'id="label_curves"' in text
    assert 'id="label_gap"' not in text
    nothing = partial("labels", section(make_inputs()))
    assert "<div" not in nothing
    assert figures(make_inputs()) == {}


def test_the_page_shows_crossings_and_selects():
    statistics = {
        "label_curves": curves(), "label_gap": gap(-0.1, 0.1), "label_crossing": crossing()
    }  # fmt: skip
    text = partial("labels", section(make_inputs(statistics)))
    assert "&lt; 1 to 7.5" in text
    assert text.count('data-figure="label_curves"') == 3
    assert text.count('data-figure="label_gap"') == 2  # one head: no select for it


def test_cells_that_are_not_compared_are_named():
    words = "a on in0: pre-trained on labels of classes that are tested there"
    seen = gap(-0.1, 0.1).assign_attrs(labels_seen=words)
    found = [
        section(make_inputs({"label_curves": curves(), "label_gap": each})).left_out
        for each in (seen, gap(-0.1, 0.1))
    ]
    assert found == [words, ""]
