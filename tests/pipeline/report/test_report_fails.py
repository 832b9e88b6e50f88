"""Where the best model fails: sentences, pictures, figures; and nothing of it breaks the page."""

from __future__ import annotations

import base64
import html
import io
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import vl_convert
from made_images import TARGET, VARIANT, MadeImages, evidence_of
from made_inputs import drawn, make_inputs, partial
from PIL import Image
from projects import fill_folder

from pipeline.datasets.index import read_index
from pipeline.machine.netcdf import read_netcdf_groups, write_netcdf
from pipeline.report import fails, pictures
from pipeline.report import fails_words as words
from pipeline.report.choice import TIE, Choice
from pipeline.report.embed import embed, pack
from pipeline.report.pictures import Pictures
from pipeline.statistics.calibration import calibration, risk_coverage
from pipeline.statistics.class_errors import class_accuracy, confusions
from pipeline.statistics.embedding_map import embedding_map
from pipeline.statistics.wrong_images import shared_errors, wrong_images
from pipeline.study.params import load_study
from pipeline.study.target import Target

STATISTICS = (class_accuracy, confusions, wrong_images, shared_errors, calibration, risk_coverage,
              embedding_map)  # fmt: skip
FIGURES = ("map", "classes", "calibration", "coverage")
HOSTILE = ("<script>alert('a')</script>", "R & D “x”")
LABELS = np.repeat([0, 1], 4)
BEST = np.array([0, 0, 0, 1, 1, 1, 0, 1])
OTHER = np.array([0, 0, 1, 1, 1, 0, 0, 1])


def images(predicted=(BEST, OTHER), labels=LABELS, classes=HOSTILE, **also):
    rng = np.random.default_rng(0)
    features = {m: rng.normal(size=(len(labels), 3)) for m in "ab"}
    bank = np.arange(6) % 2, {m: rng.normal(size=(6, 3)) for m in "ab"}
    confidence = rng.uniform(0.5, 1, (len(predicted), len(labels)))
    return MadeImages("ab"[: len(predicted)], labels, predicted, confidence, classes, features,
                      bank, **also)  # fmt: skip


def inputs_of(made, tmp_path):
    """Through the file, as the page reads them."""
    evidence = evidence_of(made)
    write_netcdf(
        evidence.cube[[]], tmp_path / "s.nc", {s.__name__: s(evidence) for s in STATISTICS}
    )
    found = read_netcdf_groups(tmp_path / "s.nc")
    found.pop("")
    inputs = make_inputs(found, models=made.models, datasets=("in0", TARGET), variants=(VARIANT,))
    inputs.cube["n_test"] = ("dataset", [100.0] * 2)
    return inputs


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    return inputs_of(images(), tmp_path_factory.mktemp("usual"))


def shown(inputs):
    return partial("fails", fails.section(inputs), inputs=inputs)


@pytest.fixture
def study(project):
    """A project whose eight test images are those of `images`."""
    for split, count in (("train", 3), ("val", 4)):
        fill_folder(project.folder / "own" / split, {"cat": count, "dog": count}, seed=len(split))
    project.params["datasets"] = {
        TARGET: {"source": "folder", "path": "own", "role": "out_of_domain"}
    }
    project.write()
    project.run("index", TARGET).succeeded()
    return project


def sources_of(markup):
    return re.findall(r'<img src="([^"]*)"', markup)


def test_what_is_said_and_of_how_many(tmp_path):
    text = " ".join(
        html.unescape(re.sub("<[^>]+>", " ", shown(inputs_of(images(), tmp_path)))).split()
    )
    assert "gets 2 of 8 test images wrong (25.0%)" in text
    assert f"Its weakest class is {HOSTILE[0]}: 75.0% right" in text
    assert "2 of 8 test images are recognised by none of the 2 trained models." in text
    assert "With two classes they all say the same other one" in text
    assert "All there are, first those of whose wrong class it is surest" in text
    assert "All 8 test images, as a places them" in text
    assert "Expected calibration error (15 bins of equal width, 8 test images)" in text
    assert "of all 8 25.0%" in text


def test_the_weakest_class_is_one_that_the_first_screen_tells_of(tmp_path):
    labels = np.repeat([0, 1, 2], [20, 20, 2])
    said = np.where(np.arange(42) % 20 < np.array([0, 3, 1])[labels], (labels + 1) % 3, labels)
    inputs = inputs_of(images((said,), labels, ("large", "weak", "tiny")), tmp_path)
    assert "Its weakest class is weak: 85.0% right" in shown(inputs)


def test_another_model_that_the_first_screen_recommends_is_named():
    target = Target((TARGET,))
    of = Choice(target, "linear", None, TIE, "b")
    assert words.recommended(of, TARGET, "a").startswith(" The first screen recommends b;")
    assert words.recommended(of, TARGET, "b") == ""
    assert words.recommended(of, "another", "a") == ""


def test_class_names_with_markup_are_text(usual):
    markup = shown(usual)
    assert "<script" not in markup
    assert "&lt;script&gt;" in markup
    for spec, rows in fails.figures(usual).values():
        assert "<script" not in embed({"spec": spec, "rows": pack(rows)})


def test_figures_show_images_classes_and_bins(usual):
    found = fails.figures(usual)
    assert found.keys() == {f"fails_{name}" for name in FIGURES}
    for by in ("answer", "class"):
        points = [words for _, words in drawn(found["fails_map"], by=by) if "taken for" in words]
        assert len(points) == 8
    points = [words for kind, words in drawn(found["fails_classes"]) if kind == "point"]
    assert len(points) == 4
    assert any("accuracy: 75.0%" in words and HOSTILE[0] in words for words in points)
    assert [row["class"] for row in found["fails_classes"][1]][:2] == list(HOSTILE)


def test_of_a_thousand_classes_the_worst_are_drawn_and_a_field_finds_others(tmp_path):
    labels = np.arange(1_000)
    said = np.where(labels % 2, (labels + 1) % 1_000, labels)
    names = tuple(f"kind {i}" for i in range(1_000))
    inputs = inputs_of(images((said,), labels, names), tmp_path)
    figure = fails.figures(inputs)["fails_classes"]
    assert figure[0]["height"] == 600
    worst = [words for kind, words in drawn(figure) if kind == "point"]
    assert len(worst) == 20
    assert all("accuracy: 0.0%" in words for words in worst)
    [found] = [words for kind, words in drawn(figure, find="KIND 777") if kind == "point"]
    assert "class: kind 777;" in found
    section = fails.section(inputs)
    assert (section.targets[0].classes, len(section.targets[0].by_class)) == (1_000, 20)
    assert "The 20 weakest of 1,000 classes are shown" in shown(inputs)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: images((LABELS, BEST)), "a makes no error on the 8 test images of d1"),
        (lambda: images((np.zeros(4, int),), np.zeros(4, int), ("one",)), "gets 0 of 4 test"),
    ],
)
def test_a_perfect_model_and_one_class(made, words, tmp_path):
    inputs = inputs_of(made(), tmp_path)
    markup = shown(inputs)
    assert words in markup
    assert "Its weakest class" not in markup
    assert drawn(fails.figures(inputs)["fails_classes"])
    assert fails.figures(inputs).keys() == {f"fails_{name}" for name in FIGURES}


def test_scores_without_images_are_one_line():
    reason = "there are no outcomes of single images of d1: its scores were imported"
    inputs = make_inputs({"class_accuracy": make_inputs().told("x").assign_attrs(withheld=reason)})
    assert fails.section(inputs).withheld == f"Withheld: {reason}."
    assert fails.figures(inputs) == {}


def test_pictures_are_small_copies_of_the_very_images(study, usual):
    inputs = replace(usual, study=load_study())
    markup = shown(inputs)
    wrong = np.flatnonzero(BEST != LABELS)
    assert len(sources_of(markup)) == 2 * (1 + 3) + 2
    index = read_index(TARGET)
    paths = index.split("val")["path"].to_numpy()[wrong]
    assert set(paths) <= set(re.findall(r'title="([^"]*)"', markup))
    for source in sources_of(markup):
        kind, data = source.split(",")
        assert kind == "data:image/webp;base64"
        assert Image.open(io.BytesIO(base64.b64decode(data))).size == (20, 16)  # never enlarged
    spec, rows = fails.figures(inputs)["fails_map"]
    [on_map] = [p["value"] for p in spec["params"] if p["name"] == "pictures"]
    assert len(on_map) == len(rows) == 8
    assert "data:image" not in str(rows)  # which can be saved as CSV
    # Nor are they read aloud, or written into an exported figure.
    drawn = str(vl_convert.vegalite_to_svg({**spec, "width": 300, "datasets": {"rows": rows}}))
    assert "taken for" in drawn
    assert "data:image" not in drawn
    assert "10 pictures above" in markup


def test_pictures_can_be_switched_off_or_counted(study, usual):
    for setting, count in ((False, 0), (0, 0), (3, 3)):
        study.params["report"] = {"thumbnails": setting}
        study.write()
        inputs = replace(usual, study=load_study())
        markup = shown(inputs)
        assert len(sources_of(markup)) == count
        assert ("switched off by" in markup) == (count == 0)
        assert ("the bound on pictures is reached" in markup) == (count == 3)
        assert "data:image" not in str(fails.figures(inputs)["fails_map"])


def test_images_that_are_gone_or_changed_are_said(study, usual):
    index = read_index(TARGET)
    first, second = (study.folder / "own" / index.split("val")["path"].iat[at]
                     for at in np.flatnonzero(BEST != LABELS))  # fmt: skip
    first.unlink()
    second.write_bytes(second.read_bytes() + b"x")
    markup = shown(replace(usual, study=load_study()))
    assert len(sources_of(markup)) == 6  # of train
    assert "changed since it was indexed (1 picture)" in markup
    shutil.rmtree(study.folder / "own")
    markup = shown(replace(usual, study=load_study()))
    assert sources_of(markup) == []
    assert "does not exist" in markup


def test_pictures_that_the_map_does_not_show_are_said(study, usual, monkeypatch):
    """The strips told theirs; what the map left out, nobody said."""
    inputs = replace(usual, study=load_study())
    markup = shown(inputs)
    assert "Point at an image for its class and its answer, and for its picture." in markup
    assert "the map does not show" not in markup
    monkeypatch.setattr(fails, "MAP_PICTURES", 5)
    markup = shown(replace(usual, study=load_study()))
    assert "and 5 of the 8 (the wrong ones first) for pictures." in markup
    index = read_index(TARGET)
    right = np.flatnonzero(BEST == LABELS)[0]
    (study.folder / "own" / index.split("val")["path"].iat[right]).write_bytes(b"no image")
    markup = shown(replace(usual, study=load_study()))
    assert "and 4 of the 8 (the wrong ones first) for pictures." in markup
    assert "Pictures that the map does not show: " in markup
    assert "changed since it was indexed (1 picture)" in markup


def test_pairs_of_classes_that_are_not_shown_are_said(usual, monkeypatch):
    assert "are the most frequent" not in shown(usual)
    monkeypatch.setattr(fails, "PAIRS", 1)
    assert "This pair is the most frequent: 1 of the 2 wrong images." in shown(usual)


def test_bytes_are_bounded(study, monkeypatch):
    read = Pictures(load_study(), 100, 10_000)
    whole = [read.of(TARGET, "val", row, 64) for row in range(8)]
    assert all(whole)
    assert read.of(TARGET, "val", 0, 64) == whole[0]
    assert read.left_out == {}
    some = Pictures(load_study(), 100, sum(map(len, whole[:3])))
    assert [bool(some.of(TARGET, "val", row, 64)) for row in range(8)] == [True] * 3 + [False] * 5
    assert some.left_out == {"the bound on pictures is reached": 5}
    monkeypatch.setattr(pictures, "READ", 1)
    large = Pictures(load_study(), 100, 10_000)
    assert [bool(large.of(TARGET, "val", row, 64)) for row in range(3)] == [True, False, False]
