"""The report on simple and complex problems: the figure, its sentences and its table."""

from __future__ import annotations

import numpy as np
import pytest
from made_inputs import drawn, make_inputs, partial, table, withheld

from pipeline.report.complexity import figures, section
from pipeline.report.labels import section as labels_section
from pipeline.report.methods import methods
from pipeline.study.fewshot import Fewshot

TASKS = ["2_classes", "5_classes", "all_classes", "coarse"]
CHANGES = [f"all_classes - {task}" for task in TASKS if task != "all_classes"]
GROUPS, DATASETS = ["all backbones", "resnet"], ["in0", "out0", "mean"]


def gap(differences=(0.1, 0.2, 0.3, 0.25), half=0.05, change_half=0.02, heads=("ridge", "p")):
    """The same on all heads, groups and data sets."""
    whole = differences[2]
    values = np.array([*differences, *(whole - d for d in differences if d is not whole)])
    halves = np.array([half] * 4 + [change_half] * 3)
    shape = (len(heads), 2, 3, 7)
    of_columns = {
        "classes": [2, 5, 10, 3, *[np.nan] * 3],
        "chance": [0.5, 0.2, 0.1, 0.4, *[np.nan] * 3],
        "difference": values,
        "low": values - halves,
        "high": values + halves,
        "supervised": [2] * 7,
        "self_supervised": [3] * 7,
    }
    variables = {name: np.broadcast_to(of, shape) for name, of in of_columns.items()}
    variables["claim"] = np.full(shape, "the models named", object)
    return table(
        ("head", "group", "dataset", "task"),
        (list(heads), GROUPS, DATASETS, [*TASKS, *CHANGES]),
        variables,
        budget="10_shots",
        shots=10,
        interval="95%, over draws",
    )


def test_the_figure_opens_with_the_mean_and_shows_problems_not_changes():
    pair = figures(make_inputs({"complexity_gap": gap()}))["complexity_gap"]
    assert {p["name"]: p["value"] for p in pair[0]["params"]} == {
        "head": "ridge", "group": "all backbones", "dataset": "mean"
    }  # fmt: skip
    marks = drawn(pair)
    kinds = [kind for kind, _ in marks]
    assert kinds.count("point") == kinds.count("rule mark") == 4
    assert kinds.count("line mark") == 1
    words = [w for kind, w in marks if kind == "point"]
    assert sum("coarse classes" in w for w in words) == 1
    assert any("points: +30.0;" in w and "problem: all_classes" in w for w in words)
    assert {row["task"] for row in pair[1]} == set(TASKS)


def test_an_interval_that_contains_zero_opens_its_point():
    pair = figures(make_inputs({"complexity_gap": gap((0.02, 0.2, 0.3, 0.2))}))["complexity_gap"]
    spec = pair[0]
    (points,) = [layer for layer in spec["layer"] if layer["mark"]["type"] == "point"]
    assert points["encoding"]["fill"]["condition"]["test"] == "datum.low > 0 || datum.high < 0"


@pytest.mark.parametrize(
    ("values", "half", "words"),
    [
        ((0.1, 0.2, 0.3, 0.25), 0.02, "from 10.0 to 30.0 points, by 20.0 (18.0 to 22.0): it rises"),
        ((0.3, 0.2, 0.1, 0.2), 0.02, "by −20.0 (−22.0 to −18.0): it falls"),
        ((-0.3, 0.2, -0.1, 0.2), 0.02, "from −30.0 to −10.0 points, by 20.0 (18.0 to 22.0): it ri"),
        ((-0.1, 0.2, 0.1, 0.2), 0.02, "from −10.0 to 10.0 points, by 20.0 (18.0 to 22.0): it ri"),
        ((0.1, 0.2, 0.11, 0.2), 0.02, "by 1.0 (−1.0 to 3.0): whether it changes can’t be told"),
        ((0.1, 0.2, 0.11, 0.2), np.nan, "to 11.0 points; how sure that is can’t be told"),
    ],
)
def test_the_change_in_words(values, half, words):
    found = section(make_inputs({"complexity_gap": gap(values, change_half=half)}))
    assert len(found.sentences) == 2
    assert found.sentences[0].startswith("From 2 classes at a time to all classes the difference")
    assert words in found.sentences[0]
    assert found.sentences[1].startswith("From coarse classes to all classes")


def test_the_table_is_of_the_first_head_and_the_mean():
    found = section(make_inputs({"complexity_gap": gap()}))
    assert (found.head, found.dataset, found.labels) == ("ridge", "mean over data sets", "10")
    assert [s.task for s in found.steps] == ["2 classes", "5 classes", "all classes", "coarse"]
    assert [s.change for s in found.steps][:2] == pytest.approx([0.2, 0.1])
    assert np.isnan(found.steps[2].change)
    text = partial("labels", labels_section(make_inputs({"label_curves": _curves(),
                                                         "complexity_gap": gap()})))  # fmt: skip
    assert text.count('data-figure="complexity_gap"') == 3
    assert "18.0 to 22.0" in text
    assert "10 labelled images a class" in text


def test_without_coarse_classes_or_a_mean():
    alone = gap().sel(task=["2_classes", "all_classes", "all_classes - 2_classes"])
    alone = alone.where(alone["dataset"] != "mean")
    found = section(make_inputs({"complexity_gap": alone}))
    assert found.dataset == "in0"
    assert len(found.sentences) == 1
    assert [c.signal for c in found.choices] == ["dataset", "head", "group"]
    assert [value for value, _ in found.choices[0].options] == ["in0", "out0"]


def test_what_is_withheld_is_said():
    reason = withheld("no few-shot scores of <fewer> classes at a time")
    inputs = make_inputs({"label_curves": _curves(), "complexity_gap": reason})
    assert figures(make_inputs({"complexity_gap": reason})) == {}
    text = partial("labels", labels_section(inputs))
    assert "Withheld: no few-shot scores of &lt;fewer&gt; classes at a time." in text
    nothing = gap().where(False)
    assert section(make_inputs({"complexity_gap": nothing})).withheld.startswith("Withheld")


def test_the_methods_name_the_simpler_problems():
    study = make_inputs().study
    asked = Fewshot(shots=[10, 1], ways=[2, 5], coarse={"in0": {"x": ["a"], "y": ["b"]}})
    words = methods(study.model_copy(update={"fewshot": asked}))["fewshot"]
    assert "With 10 of each class" in words
    assert words.endswith("2 classes at a time, 5 classes at a time, coarse classes.")
    plain = methods(study.model_copy(update={"fewshot": Fewshot(shots=[10])}))["fewshot"]
    assert "simpler" not in plain


def _curves():
    shape = (1, 1, 1, 3)
    numbers = {n: np.full(shape, 0.5) for n in ("labels", "accuracy", "low", "high", "corrected")}
    return table(
        ("head", "dataset", "budget", "model"), (["ridge"], ["in0"], ["1_shot"], "abc"), numbers
    )
