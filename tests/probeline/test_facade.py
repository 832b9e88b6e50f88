"""`import probeline`: its documented examples run, and it reads what the files hold."""

from __future__ import annotations

import doctest
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from taken_study import entered

import probeline
import probeline.study
from cache.records import read_record
from pipeline.report.inputs import load_inputs
from pipeline.report.use import section
from pipeline.study.params import load_study


@pytest.fixture(scope="module")
def project(taken_project):
    with entered(taken_project.folder):
        taken_project.run("cli", "take", "tiny", "taken/tiny").succeeded()
    return taken_project


@pytest.fixture(autouse=True)
def _elsewhere(project, tmp_path):
    """Whoever opens a study need not be in its folder."""
    with entered(tmp_path):
        yield


@pytest.fixture
def study(project):
    return probeline.open(project.folder)


@pytest.mark.parametrize("module", [probeline, probeline.study])
def test_examples_run_as_written(project, module):
    with entered(project.folder):
        found = doctest.testmod(module)
    assert found.failed == 0
    assert found.attempted or module is not probeline


def test_tables_are_those_of_the_files(project, study):
    scores = pd.read_csv(project.folder / "results" / "scores.csv")
    assert len(study.scores) == len(scores) > 0
    np.testing.assert_allclose(study.scores["value"], scores["value"])
    cell = study.scores.iloc[0]
    at = {"model": cell["model"], "dataset": cell["dataset"], "metric": cell["metric"]}
    at["variant"] = f"{cell['protocol']}/{cell['variant']}"
    assert float(study.cube["value"].sel(at)) == cell["value"]
    assert {"ranks", "correlations"} <= set(study.statistics)
    assert (study.models[:2], study.datasets) == (["tiny", "other"], ["pets"])
    assert study.settings.linear.heads == ["logistic", "ridge"]
    images = study.images("pets")
    assert images["split"].value_counts().to_dict() == {"train": 16, "val": 14}
    assert str(project.folder) in repr(study)


@pytest.mark.parametrize(("protocol", "variant"), [("linear", "ridge_l2"), ("knn", None)])
def test_outcomes_are_those_of_the_record(project, study, protocol, variant):
    table = study.outcomes(protocol, "pets", "tiny", variant)
    record = read_record(project.folder / "results" / protocol / "pets" / "tiny.parquet")
    variant = variant or record.scores[0]["variant"]
    top1 = next(r for r in record.scores if (r["variant"], r["metric"]) == (variant, "top1"))
    assert table["hit"].mean() == top1["value"]
    assert (table["hit"] == (table["predicted"] == table["class"])).all()
    assert all((project.folder / "images" / path).exists() for path in table["image"])
    assert all(
        path.startswith(name) for path, name in zip(table["image"], table["class"], strict=True)
    )


def test_embeddings_are_read_from_where_the_study_is(study):
    found = study.embeddings("pets", "other")
    assert found["embedding"].sizes["sample"] == 14
    assert np.isfinite(found["embedding"].values).all()


@pytest.mark.parametrize(
    ("read", "words"),
    [
        (lambda s: s.outcomes("linaer", "pets", "tiny"), "did you mean linear"),
        (lambda s: s.outcomes("linear", "pest", "tiny"), "did you mean pets"),
        (lambda s: s.outcomes("linear", "pets", "tinny"), "did you mean tiny"),
        (lambda s: s.outcomes("linear", "pets", "tiny", "logistic"), "did you mean logistic"),
        (lambda s: s.embeddings("pets", "tiny", "vall"), "did you mean val"),
        (lambda s: s.outcomes("fewshot", "pets", "tiny"), "has no such protocol"),
    ],
)
def test_names_that_are_not_the_studys_are_refused(study, read, words):
    with pytest.raises(probeline.ProbelineError, match=words):
        read(study)


def test_what_is_no_project_is_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(probeline.ProbelineError, match="is not a Probeline project"):
            probeline.open(folder)


def test_reading_leaves_the_working_directory(study, tmp_path):
    with pytest.raises(probeline.ProbelineError):
        study.outcomes("linear", "pest", "tiny")
    assert study.scores is study.scores
    assert Path.cwd() == tmp_path


def test_importing_it_is_quick(project):
    heavy = ("torch", "pandas", "xarray", "numpy", "pydantic")
    code = f"import sys, probeline; print([m for m in {heavy} if m in sys.modules])"
    assert project.shell("-c", code).succeeded() == "[]\n"


def test_what_the_report_says_to_paste_predicts_what_it_holds(project, monkeypatch, capsys):
    """The command of the section Use it, and its Python, with real images in place of photo.jpg."""
    with entered(project.folder):
        use = section(load_inputs(load_study()))
        first = use.models[0]
        assert first.command.startswith(f"probeline take {first.model} --dataset pets ")
        _, *command = first.command.split()
        if not Path(command[-1]).exists():
            project.run("cli", *command).succeeded()
        outcomes = probeline.open().outcomes("linear", "pets", first.model)
        images = [f"images/{path}" for path in outcomes["image"]]
        code = use.code.replace('["photo.jpg", "another.png"]', repr(images))
        assert code != use.code
        assert len(use.code.splitlines()) == 8
        monkeypatch.setattr(sys, "path", [*sys.path])
        exec(compile(code, "pasted", "exec"), {})
        monkeypatch.delitem(sys.modules, "predict")
    lines = capsys.readouterr().out.splitlines()
    for line, image, predicted, confidence in zip(
        lines, images, outcomes["predicted"], outcomes["confidence"], strict=True
    ):
        assert line.startswith(f"{image} {predicted} ")
        assert float(line.rsplit(" ", 1)[1]) == pytest.approx(confidence, abs=1e-5)
