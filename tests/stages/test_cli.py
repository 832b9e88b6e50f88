"""The command line: what it shows, and that `use` never loses a study."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from projects import REPOSITORY, VIT


@pytest.fixture
def studies(project):
    shutil.copytree(REPOSITORY / "studies", project.folder / "studies")
    return project


def test_status_of_an_empty_a_half_done_and_a_whole_study(project):
    project.run("cli", "status").succeeded("0/1", "pets: data set pets is not indexed yet")
    project.prepare()
    project.run("cli", "status").succeeded("1/1", "pets/tiny: knn not scored")
    project.knn()
    project.run("linear")
    project.run("cli", "status").succeeded("all 1 cells are cached and scored")
    project.params["extraction"]["precision"] = "bfloat16"
    project.write()
    project.run("cli", "status").succeeded('precision: "float32" -> "bfloat16"', "0/1")


@pytest.mark.parametrize("command", [("cli", "status"), ("study",)])
def test_a_mistyped_target_is_refused_before_anything_is_computed(project, command):
    project.params["report"]["target"] = ["pet"]
    project.write()
    project.run(*command).refused("report.target: there is no such data set", "`pets`")


def test_status_of_a_large_study_is_a_screenful_and_all_of_it_on_request(project):
    pets = project.params["datasets"]["pets"]
    project.params["datasets"] |= {f"more_{n}": dict(pets) for n in range(50)}
    project.params["models"] = {f"net_{n}": {**VIT, "weights": f"random({n})"} for n in range(40)}
    project.write()
    for name in ("pets", "more_49"):
        project.run("index", name).succeeded()
    said = project.run("cli", "status").succeeded(
        "40 models on 51 data sets: embeddings of 0 of 2,040 cells are cached",
        "80 x embeddings missing: pets/net_0",
        "49 x data set is not indexed yet: more_0, more_1, more_2, …",
        "… and 21 further data sets",
        "`probeline status --all` names each of them",
    )
    assert len(said.splitlines()) < 50
    whole = project.run("cli", "status", "--all").succeeded("more_7: data set more_7 is not")
    for dataset in ("pets", "more_49"):
        for model in project.params["models"]:
            assert f"  {dataset}/{model}: embeddings missing" in whole
    assert len(whole.splitlines()) > 80 + 49 + 51


def test_models_and_datasets(project):
    project.run("cli", "models").succeeded("tiny", "test_vit", "random(0)")
    project.run("cli", "datasets").succeeded("not indexed yet")
    project.prepare()
    project.run("cli", "models").succeeded("64")
    project.run("cli", "datasets").succeeded("pets", "folder", "in_domain", "8")


def test_cache_list_and_verify(project):
    project.run("cli", "cache", "list").succeeded("0 cells")
    project.prepare()
    project.run("cli", "cache", "list").succeeded("pets/tiny", "cached")
    project.run("cli", "cache", "verify", "--deep").succeeded("2 cells checked")
    cell = project.folder / "data" / "embeddings" / "pets" / "tiny.zarr" / "val"
    chunk = cell / "embedding" / "c" / "0" / "0"
    data = bytearray(chunk.read_bytes())
    data[10] ^= 1
    chunk.write_bytes(data)
    written = (cell / "zarr.json").stat().st_mtime_ns
    os.utime(chunk, ns=(written, written))
    project.run("cli", "cache", "verify").succeeded("2 cells checked")  # not every byte
    ran = project.run("cli", "cache", "verify", "--deep")
    assert ran.status == 1
    assert "val/embedding/c/0/0" in ran.err
    assert "to mend" in ran.err


def test_use_replaces_a_known_study(studies):
    shutil.copy("studies/digits.yaml", "params.yaml")
    studies.run("cli", "use", "studies/pacs.yaml").succeeded("it was studies/digits.yaml")
    assert (studies.folder / "params.yaml").read_bytes() == (
        studies.folder / "studies" / "pacs.yaml"
    ).read_bytes()
    studies.run("cli", "use", "studies/pacs.yaml").succeeded("as before")
    assert not list(studies.folder.glob("params.previous*"))


def test_use_never_loses_an_edited_study(studies):
    kept = []
    for number in range(3):
        studies.params["report"]["title"] = f"edited {number}"
        studies.write()
        kept.append((studies.folder / "params.yaml").read_text())
        studies.run("cli", "use", "studies/digits.yaml").succeeded("kept as params.previous")
    found = {p.read_text() for p in studies.folder.glob("params.previous*.yaml")}
    assert found == set(kept)
    studies.run("cli", "use", "params.previous.yaml").succeeded()
    assert (studies.folder / "params.yaml").read_text() == kept[0]


def test_use_takes_paths_from_where_the_user_is(studies, monkeypatch):
    monkeypatch.chdir(studies.folder / "studies")
    studies.run("cli", "use", "pacs.yaml").succeeded("studies/pacs.yaml")
    assert "pacs_photo" in (studies.folder / "params.yaml").read_text()


def test_use_refuses_what_is_no_study_and_changes_nothing(studies):
    before = (studies.folder / "params.yaml").read_bytes()
    (studies.folder / "bad.yaml").write_text("knn: {k: [0]}\n")
    studies.run("cli", "use", "bad.yaml").refused("bad.yaml:1: knn.k.0")
    studies.run("cli", "use", "none.yaml").refused("none.yaml", "studies/digits.yaml")
    studies.run("cli", "use", "studies").refused("studies", "name one of these")
    assert (studies.folder / "params.yaml").read_bytes() == before


def test_commands_work_in_folders_below_and_not_outside(project, monkeypatch, tmp_path):
    monkeypatch.chdir(project.folder / "images" / "cat")
    project.run("cli", "models").succeeded("tiny")
    monkeypatch.chdir(tmp_path)
    project.run("cli", "models").refused("not inside a Probeline project", "dvc.yaml")


def test_output_that_nobody_can_take_is_no_traceback(project):
    project.write()
    with open("/dev/full", "w", encoding="utf-8") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "stages.cli", "status"], cwd=project.folder, stdout=full,
            stderr=subprocess.PIPE, text=True, check=False,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        )  # fmt: skip
    assert ran.returncode != 0
    assert "Traceback" not in ran.stderr
    assert "No space left" in ran.stderr


def test_check_compares_with_the_index(project):
    project.run("index", "pets").succeeded()
    assert "warning" not in project.run("cli", "datasets", "check", "pets").out
    shutil.copy(project.folder / "images/cat/001.png", project.folder / "images/cat/002.png")
    (project.folder / "images/dog/003.png").unlink()
    project.run("cli", "datasets", "check", "pets").succeeded(
        "images are not as they were indexed, e.g. cat/00", "dvc repro -f index@pets"
    )


def test_help_and_version(project):
    assert "Evaluate pre-trained vision models" in project.run("cli", "--help").out
    for command in ("models", "datasets", "status", "use", "cache"):
        assert command in project.run("cli", "--help").out
        assert project.run("cli", command, "--help").status == 0
    assert project.run("cli", "--version").status == 0


def test_the_list_of_commands_cuts_no_sentence(project):
    listed = project.run("cli", "--help").out.split("Commands:")[1]
    assert len(listed.splitlines()) >= 9
    assert "..." not in listed
    assert "…" not in listed


def test_a_mistyped_command_is_refused(project):
    ran = project.run("cli", "stauts")
    assert ran.status == 2
    assert "stauts" in ran.err
