"""What `dvc repro` runs again, in a scratch project with its own copy of the code."""

from __future__ import annotations

import pytest
from projects import draw
from scratch import OTHER

pytestmark = pytest.mark.slow

PROBES = {"neighbors", "knn", "linear", "fewshot", "finetune", "transfer", "predictors"}
CHECKED = {"study"}
"""params.yaml was changed."""

SCORING = PROBES | {"similarity", "collect", "correlate", "report"}


def test_only_what_changed_runs(scratch, project, kept_study):
    datasets = tuple(project.params["datasets"])
    extract = {f"extract@{d}" for d in datasets}

    # Everything, once.
    first = {"study", "pretrain", *(f"index@{d}" for d in datasets)}
    assert scratch.finish(kept_study) == first | extract | SCORING
    assert {scratch.tally(f"extract {d}") for d in datasets} == {"0 cached, 2 computed"}
    assert scratch.tally("knn") == scratch.tally("linear") == "0 cached, 4 computed"
    assert (scratch.folder / "report" / "index.html").stat().st_size > 10_000
    assert project.left_overs() == []

    # Nothing, when nothing changed.
    assert scratch.repro() == set()

    # Another k: its protocol, what uses it (transfer, which has no source here), and what follows;
    # no search and no forward pass.
    project.params["knn"]["k"] = [2]
    project.write()
    assert scratch.repro() == {"knn", "transfer", "collect", "correlate", "report"} | CHECKED
    assert scratch.tally("knn") == "0 cached, 4 computed"

    # A comment in the code: the stages run, and compute nothing.
    with open(scratch.folder / "cache" / "writer.py", "a", encoding="utf-8") as file:
        file.write("# a comment\n")
    assert scratch.repro() == extract
    assert {scratch.tally(f"extract {d}") for d in datasets} == {"2 cached, 0 computed"}

    # Another picture in one image: that data set's cells only.
    draw(9876).save(scratch.folder / "images" / "cat" / "000.png")
    assert scratch.repro("-f", "index@pets") == {"index@pets"} | CHECKED  # forced, too
    ran = scratch.repro()
    assert ran >= {"extract@pets", "knn", "linear", "collect"}
    assert f"extract@{OTHER}" not in ran
    assert scratch.tally("extract pets") == "0 cached, 2 computed"
    assert scratch.tally("knn") == scratch.tally("linear") == "2 cached, 2 computed"
