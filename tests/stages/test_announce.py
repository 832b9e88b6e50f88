"""Under DVC a stage says which of how many it is; the run ends with the answer."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import warm
from projects import REPOSITORY

from cache.seals import read_sealed_json
from pipeline.planning.stage_order import stage_order
from pipeline.project.paths import MACHINE
from pipeline.report.summary import EVIDENCE
from pipeline.study.params import load_study
from stages._answer import print_answer

DVC = """
import json
from dvc.repo import Repo
from dvc.repo.reproduce import plan_repro
with Repo.init(no_scm=True) as repo:
    print(json.dumps([stage.addressing for stage in plan_repro(repo.index.graph)]))
"""


@pytest.mark.parametrize("study", sorted((REPOSITORY / "studies").glob("*.yaml")), ids=str)
def test_the_order_of_stages_is_that_of_dvc(project, study):
    """DVC's own graph, and the order in which it reproduces it."""
    shutil.copy(study, "params.yaml")
    shutil.copy(REPOSITORY / ".dvcignore", ".dvcignore")
    (project.folder / "scores").mkdir(exist_ok=True)
    ran = project.shell("-c", DVC, python=warm.python())
    assert ran.status == 0, ran.err
    found = stage_order(load_study().datasets)
    assert found == json.loads(ran.out.splitlines()[-1])
    assert len(set(found)) == len(found)


def test_a_stage_under_dvc_says_where_it_is_and_remembers_its_time(project, monkeypatch):
    project.write()
    monkeypatch.setenv("DVC_STAGE", "index@pets")
    ran = project.run("index")
    ran.succeeded()
    assert ran.err.splitlines()[0] == "stage 2 of 15: index@pets"
    times = read_sealed_json(MACHINE / "times" / "measured.json")
    assert list(times) == ["index@pets"]
    assert "about" in project.run("index").err.splitlines()[0]


def test_without_dvc_it_says_and_remembers_nothing(project):
    project.write()
    assert "stage" not in project.run("index", "pets").err
    assert not (MACHINE / "times").exists()


@pytest.mark.parametrize("broken", ["dvc.yaml", "params.yaml"])
def test_it_never_stops_a_stage(project, monkeypatch, broken):
    monkeypatch.setenv("DVC_STAGE", "index@pets")
    Path(broken).write_text("stages: [\n")
    ran = project.run("index")
    assert "stage 2" not in ran.err
    assert (ran.status == 0) == (broken == "dvc.yaml"), ran.err


def test_times_that_are_damaged_are_no_times(project, monkeypatch):
    monkeypatch.setenv("DVC_STAGE", "index@pets")
    project.run("index").succeeded()
    (MACHINE / "times" / "measured.json").write_text("[1")
    project.run("index").succeeded()


SUMMARY = r"""# My \*own\* study

3 models, 1 data sets, 113 scores. The whole report is `report/index.html`.

## Which model?

Take net\_1. 87.5% (95%: 47.3 to 99.7) of 40 test images right, by a linear probe.

Clear winner: `a\|b` is behind it.

## 1 thing to know

- 2 of 18 cells have no score

## Means over data sets

| protocol | best model | mean top-1 accuracy |
| --- | --- | --- |
| kNN | `net_1` | 87.5% (47.3 to 99.7) |

2 cells are missing; models with one have no mean.

## Best predictor

Withheld
"""


def test_the_answer_is_the_summarys_beginning(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    print_answer(SUMMARY, Path("report/index.html"))
    said = capsys.readouterr().out
    lines = said.strip().splitlines()
    assert lines[0] == "My *own* study: 3 models, 1 data sets, 113 scores."
    told = "87.5% (95%: 47.3 to 99.7) of 40 test images right, by a linear probe."
    assert lines[lines.index("Which model?") + 1] == f"Take net_1. {told}"
    assert "Clear winner: a|b is behind it." in lines
    assert lines[lines.index("1 thing to know") + 1] == "- 2 of 18 cells have no score"
    # The evidence stays in the summary.
    assert EVIDENCE not in said
    assert "cells are missing" not in said
    assert "Withheld" not in said
    assert lines[-1] == f"the report: file://{tmp_path}/report/index.html"


def test_what_comes_later_makes_dvc_run_extract_again(scratch):
    """A model that could not be fetched: `dvc repro` ends well; its weights come, and it runs."""
    scratch.project.params["models"]["late"] = {
        "architecture": "test_resnet", "input_size": 32,
        "weights": "http://127.0.0.1:9/late.pth", "source": {"file": "late.pth"},
        "checkpoint": {},
    }  # fmt: skip
    del scratch.project.params["datasets"]["digits_inverted"]
    scratch.project.write()
    assert "extract@pets" in scratch.repro("extract@pets")
    assert scratch.tally("extract pets") == "0 cached, 2 computed"
    assert "stage 4 of 15: extract@pets" in scratch.said
    assert "extract@pets" not in scratch.repro("extract@pets")
    weights = (
        "import timm, torch; torch.save(timm.create_model('test_resnet', num_classes=0)"
        ".state_dict(), 'data/weights/late.pth')"
    )
    scratch.do(sys.executable, "-c", weights)
    said = scratch.do(sys.executable, "-m", "stages.cli", "models", "fetch")
    assert "`dvc repro` now computes what was left out on pets" in said
    assert "extract@pets" in scratch.repro("extract@pets")
    assert scratch.tally("extract pets") == "2 cached, 1 computed"
