"""A supervised model that had all labels is not compared by the few that its probe has."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from made_cubes import make_cube, make_evidence
from projects import REPOSITORY, VIT
from test_label_gap import VARIANTS, study
from test_trained import evidence_of, scores

from pipeline.statistics.complexity_gap import complexity_gap
from pipeline.statistics.label_gap import label_gap
from pipeline.statistics.labels_seen import ALL_SEEN
from pipeline.statistics.registry import STATISTICS
from pipeline.study.params import load_study
from pipeline.study.seen import Seen, seen_cells
from pipeline.study.study_text import StudyError

SUPERVISED = [f"m{i}" for i in range(0, 20, 2)]


def confounded(seed: int = 0):
    """The same features on both sides; on d0 the supervised half had the labels, .4 ahead."""
    evidence, _ = study(slope=0.0, crossing=7, seed=seed)
    cube = evidence.cube.copy(deep=True)
    cube["value"][{"model": slice(0, None, 2), "dataset": 0}] += 0.4
    held = {}
    for variant in VARIANTS:
        for dataset in ("d0", "d1"):
            draws = evidence.read_draws(variant, dataset).scores.copy()
            draws[::2] += 0.4 * (dataset == "d0")
            held[variant, dataset] = draws
    return make_evidence(cube, draws=held)


def marked(evidence, datasets, models=None):
    models = evidence.models[::2] if models is None else models
    pairs = {(m, d): Seen.LABELS for m in models for d in datasets}
    return dataclasses.replace(evidence, seen=pairs)


def labels_seen(study, classes_of):
    found = seen_cells(study, classes_of)
    return {cell for cell, seen in found.items() if seen.is_of_labels}


def test_a_marked_comparison_is_left_out_and_a_clean_one_is_not():
    plain = label_gap(confounded()).sel(head="ridge", group="all backbones")
    assert (plain["low"].sel(dataset="d0") > 0.3).all()
    assert (plain["low"].sel(dataset="mean") > 0.1).all()
    assert "labels_seen" not in plain.attrs

    evidence = marked(confounded(), ["d0"])
    found = label_gap(evidence).sel(head="ridge", group="all backbones")
    assert found["difference"].sel(dataset="d0").isnull().all()
    for name in ("difference", "low", "high"):
        np.testing.assert_array_equal(found[name].sel(dataset="d1"), plain[name].sel(dataset="d1"))
        np.testing.assert_allclose(
            found[name].sel(dataset="mean"), found[name].sel(dataset="d1"), rtol=1e-10
        )
    inside = (found["low"] < 0) & (found["high"] > 0)
    assert inside.sel(dataset="mean").mean() > 0.5
    said = found.attrs["labels_seen"]
    assert said.startswith(", ".join(evidence.models[::2]) + " on d0: pre-trained on labels")


def test_models_that_are_not_marked_are_still_compared():
    """Of the supervised half only those of one backbone had the labels."""
    evidence = confounded()
    resnets = [m for m, b in zip(evidence.models, evidence.cube["backbone"].values, strict=True)
               if b == "resnet"]  # fmt: skip
    found = label_gap(marked(evidence, ["d0"], resnets[::1])).sel(head="ridge", dataset="d0")
    assert found["difference"].sel(group="resnet").isnull().all()
    assert found["difference"].sel(group="vit").notnull().all()


def test_where_all_are_marked_the_page_says_why():
    evidence = marked(confounded(), ["d0", "d1"])
    assert label_gap(evidence).attrs["withheld"] == ALL_SEEN


def test_marks_of_data_sets_without_labels_change_nothing():
    plain, other = confounded(), marked(confounded(), ["elsewhere"])
    assert label_gap(plain).identical(label_gap(other))


def of_two_tasks():
    """Two classes at a time and all of them, on two data sets; all models alike but for d0."""
    variants = ["fewshot/ridge_5_shots", "fewshot/ridge_5_shots_2_classes"]
    rng = np.random.default_rng(0)
    models = 4
    value = rng.uniform(0.5, 0.8, (models, 2, 2))
    value[::2, 0] += 0.15
    cube = make_cube(value, variants, supervision=["supervised", "self_supervised"] * 2,
                     backbone=["resnet"] * 4)  # fmt: skip
    draws = {
        (v, f"d{d}"): value[:, d, i, None] + rng.normal(0, 0.01, (models, 4))
        for i, v in enumerate(variants)
        for d in range(2)
    }
    return make_evidence(cube, draws=draws)


def test_simple_and_complex_problems_have_the_same_rule():
    plain, seen = complexity_gap(of_two_tasks()), complexity_gap(marked(of_two_tasks(), ["d0"]))
    at = {"head": "ridge", "group": "all backbones"}
    assert plain.sel(at)["difference"].sel(dataset="d0").notnull().all()
    assert seen.sel(at)["difference"].sel(dataset="d0").isnull().all()
    np.testing.assert_array_equal(
        seen.sel(at)["difference"].sel(dataset="mean"),
        plain.sel(at)["difference"].sel(dataset="d1"),
    )
    tasks = ["2_classes", "all_classes"]
    for name in ("classes", "chance"):
        np.testing.assert_allclose(
            seen.sel(at)[name].sel(dataset="mean", task=tasks),
            plain.sel(at)[name].sel(dataset="d1", task=tasks),
        )
    assert "on d0" in seen.attrs["labels_seen"]
    everywhere = complexity_gap(marked(of_two_tasks(), ["d0", "d1"]))
    assert everywhere.attrs["withheld"] == ALL_SEEN


CLASSES = {"pets": ("cat", "dog", "owl"), "sketches": ("dog", "owl"), "cars": ("bus", "van")}


def written(project, **pretrain):
    entry = {"architecture": VIT["architecture"], "arguments": VIT["arguments"],
             "dataset": "pets", "input_size": 32}  # fmt: skip
    pets = project.params["datasets"]["pets"]
    project.params["datasets"] = {name: dict(pets) for name in CLASSES}
    project.params["pretrain"] = {
        "labelled": {**entry, "method": "supervised", **pretrain},
        "unlabelled": {**entry, "method": "simclr", **pretrain},
    }
    project.params["models"] = {
        **{name: {**VIT, "weights": f"pretrain({name})"} for name in project.params["pretrain"]},
        "drawn": VIT,
    }
    project.write()
    return load_study()


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        ([], {"pets", "sketches"}),
        (["cat", "owl"], {"pets", "sketches"}),
        (["cat", "ape"], {"pets"}),
    ],
)
def test_labels_are_seen_where_classes_have_the_same_names(classes, expected, project):
    study = written(project, classes=classes)
    assert labels_seen(study, CLASSES.__getitem__) == {("labelled", d) for d in expected}


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        (["cat"], "at least two classes"),
        (["cat", "cat"], "listed twice"),
        (["cat", 3], "put it in quotes"),
    ],
)
def test_classes_that_can_not_be(classes, words, project):
    with pytest.raises(StudyError) as caught:
        written(project, classes=classes)
    assert words in str(caught.value)
    assert "pretrain.labelled.classes" in str(caught.value)


@pytest.mark.parametrize(("file", "models"), [("digits", 2), ("low_data", 5)])
def test_studies_compare_on_classes_that_no_pre_training_saw(file, models, monkeypatch):
    from pipeline.datasets.digits import SHIFTS, make

    monkeypatch.chdir(REPOSITORY)
    study = load_study(REPOSITORY / "studies" / f"{file}.yaml")
    images, labels = make("digits_5_to_9")
    assert images.shape == (896, 32, 32, 3)
    everything, of_all = make("digits")
    np.testing.assert_array_equal(images, everything[of_all >= 5])
    found = {name: {str(c) for c in range(10)} for name in study.datasets}
    found["digits_5_to_9"] = {str(c) for c in np.unique(labels)}
    assert {entry.source.removeprefix("builtin:") for entry in study.datasets.values()} <= {*SHIFTS}
    for entry in study.pretrain.values():
        assert not set(entry.classes) & found["digits_5_to_9"]
        assert set(entry.classes) < found["digits"]
    seen = labels_seen(study, found.__getitem__)
    supervised = {m for m, entry in study.models.items() if entry.supervision == "supervised"}
    assert len(supervised) == models
    others = set(study.datasets) - {"digits_5_to_9"}
    assert seen == {(model, dataset) for model in supervised for dataset in others}


def test_the_low_data_study_marks_the_models_that_were_trained_on_a_shift(monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    study = load_study(REPOSITORY / "studies" / "low_data.yaml")
    cells = seen_cells(study, lambda name: {str(c) for c in range(10)})
    on_shifts = {cell for cell, seen in cells.items() if seen.is_of_the_data_set
                 and cell[1] != "digits"}  # fmt: skip
    assert on_shifts == {
        (model, f"digits_{shift}")
        for model in study.models
        for shift in ("photo", "edges")
        if model.endswith(shift)
    }


def test_an_attribute_of_one_name_is_of_one_kind_in_all_statistics():
    """The report puts a name's value into words, whichever statistic has it."""
    kinds: dict[str, set[bool]] = {}
    for evidence in (marked(confounded(), ["d0"]), evidence_of(scores(0))):
        for statistic in STATISTICS.values():
            for key, value in statistic(evidence).attrs.items():
                kinds.setdefault(key, set()).add(isinstance(value, str))
    assert {"labels_seen", "left_out", "models"} <= set(kinds)
    assert {key for key, of in kinds.items() if len(of) > 1} == set()
