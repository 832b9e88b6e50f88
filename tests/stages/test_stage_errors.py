"""Stages as a user runs them: exit status, one message, no traceback, nothing left behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys

import pytest
from projects import REPOSITORY


@pytest.fixture
def shell(project):
    """Run `python -m stages.NAME …` in the project, with its params.yaml written."""

    def run(stage: str, *arguments: str, **environment: str):
        project.write()
        return project.shell("-m", f"stages.{stage}", *arguments, **environment)

    return run


def test_an_unknown_key_ends_every_stage_the_same_way(project, shell):
    project.params["knn"]["neighbours"] = [3]
    messages = set()
    for stage, arguments in (("index", ["pets"]), ("extract", ["pets"]), ("protocol", ["knn"])):
        messages.add(shell(stage, *arguments).refused("knn.neighbours", "unknown key"))
    assert len(messages) == 1


def test_no_study(project):
    (project.folder / "params.yaml").unlink()
    ran = project.shell("-m", "stages.protocol", "knn")
    ran.refused("there is no study here", "probeline use")


def test_a_data_set_that_the_study_lacks(project, shell):
    shell("extract", "birds").refused("no such data set", "one of pets")


def test_an_unset_variable_in_a_path(project, shell):
    project.params["datasets"]["pets"]["path"] = "$NO_SUCH_FOLDER/pets"
    shell("index", "pets").refused("datasets.pets.path", "NO_SUCH_FOLDER", "export")


def test_a_missing_folder_leaves_nothing(project, shell):
    project.params["datasets"]["pets"]["path"] = "nowhere"
    shell("index", "pets").refused("datasets.pets.path", "does not exist", "nowhere")
    assert not (project.folder / "data").exists()


def test_stages_out_of_order_name_what_comes_first(project):
    for stage in ("extract", "neighbors", "knn", "linear"):
        arguments = ["pets"] if stage == "extract" else []
        project.run(stage, *arguments).refused("not indexed yet", "python -m stages.index pets")
    project.run("index", "pets").succeeded("8 train and 2 val images of 2 classes")
    for stage in ("neighbors", "knn", "linear"):
        project.run(stage).refused("embeddings are missing", "python -m stages.extract pets")
    assert not list((project.folder / "results").rglob("*.parquet"))


def test_a_missing_checkpoint(project):
    project.params["models"]["tiny"]["weights"] = "weights/none.pth"
    project.write()
    project.run("index", "pets").succeeded()
    project.run("extract", "pets").refused("models.tiny.weights", "no such checkpoint", "none.pth")
    assert project.left_overs() == []


def test_one_bad_model_keeps_no_other_from_being_named(project):
    project.params["models"]["typo"] = {"architecture": "resnet5O", "weights": "random(0)"}
    project.write()
    project.run("index", "pets")
    project.run("extract", "pets").refused("models.typo.architecture", "resnet50")
    assert project.left_overs() == []
    del project.params["models"]["typo"]
    project.write()
    project.run("extract", "pets").succeeded("computed")


def test_more_neighbours_than_train_images(project):
    project.prepare()
    project.params["neighbors"]["n_neighbors"] = 9
    project.params["knn"]["k"] = [3, 9]
    project.write()
    for stage in ("neighbors", "knn"):
        project.run(stage).refused("knn.k", "data set pets", "at most 8", "found     9")
    assert not list((project.folder / "results").rglob("*.parquet"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PROBELINE_DEVICE", "tpu"),
        ("PROBELINE_DEVICE", "cuda:99"),
        ("PROBELINE_BATCH_SIZE", "100"),
        ("PROBELINE_WORKERS", "many"),
    ],
)
def test_bad_variables_are_named(project, monkeypatch, name, value):
    project.run("index", "pets")
    monkeypatch.setenv(name, value)
    project.run("extract", "pets").refused(name, value)
    assert project.left_overs() == []


def test_no_scheduler_at_the_dask_address(project, monkeypatch):
    import dask
    import distributed  # noqa: F401 - its settings must be there before one of them is set

    project.prepare()
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", "tcp://127.0.0.1:1")
    with dask.config.set({"distributed.comm.timeouts.connect": "0.2s"}):
        project.run("knn").refused("DASK_SCHEDULER_ADDRESS", "127.0.0.1:1", "unset")
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", "")
    project.knn().succeeded("1 computed")


def test_a_class_of_one_train_image_does_not_stop_the_probes(project):
    project.params["datasets"]["pets"]["limit_per_class"] = 1
    project.params["knn"]["k"] = [1]
    project.prepare()
    project.knn().succeeded()
    project.run("linear").succeeded("1 computed")  # C = 1: there is no hold-out to choose it on


def test_a_changed_setting_scores_again_and_an_unchanged_one_does_not(project):
    project.prepare()
    project.knn().succeeded("0 cached, 1 computed")
    project.knn().succeeded("1 cached, 0 computed")
    project.params["knn"]["k"] = [2]
    project.write()
    project.knn().succeeded("0 cached, 1 computed")
    project.run("linear").succeeded("0 cached, 1 computed")
    project.run("cli", "status").succeeded("all 1 cells are cached and scored")


def test_a_damaged_cell_is_computed_again(project):
    project.prepare()
    path = project.folder / "data" / "embeddings" / "pets" / "tiny.zarr" / "train" / "zarr.json"
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    project.run("knn").refused("damaged", "dvc repro")
    project.run("extract", "pets").succeeded("tiny is damaged, made again", "1 computed")
    assert path.read_bytes() == whole


@pytest.mark.slow
def test_a_whole_study_from_processes(project, shell):
    for stage, *arguments in (
        ("index", "pets"), ("extract", "pets"), ("neighbors",), ("knn",), ("linear",),
        ("collect",), ("correlate",),
    ):  # fmt: skip
        ran = shell(stage, *arguments)
        assert ran.status == 0, ran.err
        assert ran.err == ""  # no warnings
    assert project.left_overs() == []


def test_usage(project):
    project.run("index").refused("does not know which data set is meant", "python -m stages.index")
    assert not shutil.which("no-such-command")


TERMINATED = """
import sys, time
from cache.files import whole_file
from pathlib import Path
from stages._run import explain_errors

@explain_errors
def stage():
    with whole_file(Path("data/half")) as file:
        print("ready", flush=True)
        time.sleep(100)

stage()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stage_that_is_terminated_cleans_up(project, number):
    """Slurm and Docker send SIGTERM."""
    project.write()
    stage = subprocess.Popen(
        [sys.executable, "-c", TERMINATED],
        cwd=project.folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert stage.stdout.readline() == "ready\n"
    stage.send_signal(number)
    _, said = stage.communicate(timeout=100)
    assert stage.returncode == 128 + number
    assert "interrupted: what was committed is kept" in said
    assert "Traceback" not in said
    assert list((project.folder / "data").iterdir()) == []


def test_control_characters_of_a_study_are_refused_and_not_printed(project, shell):
    project.params["report"] = {"title": "\x1b[2J\x1b]0;owned\x07"}
    said = shell("protocol", "knn").refused("report.title", "holds control characters", r"\x1b[2J")
    assert "\x1b" not in said


@pytest.mark.parametrize("started", ["-m", "/somewhere/bin/probeline"])
def test_garbage_is_left_while_a_command_imports_and_collected_while_it_runs(started):
    code = (
        "import gc, sys\n"
        f"sys.argv = [{started!r}]\n"
        "import stages\n"
        "from stages._run import explain_errors\n"
        "print(gc.isenabled())\n"
        "explain_errors(lambda: print(gc.isenabled()))()\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=True
    )
    assert ran.stdout.split() == ["False", "True"]


@pytest.mark.parametrize(
    ("last", "status", "taken_apart"),
    [
        ("run()", 0, False),
        ("outer()", 1, None),  # one that succeeded within one that failed
        ("pass", 0, True),
    ],
)
def test_who_ends_well_leaves_at_once_and_who_fails_is_known_to(last, status, taken_apart):
    code = (
        "import os, sys\n"
        "sys.argv = ['/somewhere/bin/probeline']\n"
        "import atexit, stages\n"
        "from stages._run import explain_errors\n"
        "from cache.errors import ProbelineError\n"
        "class Late:\n"
        "    def __del__(self, write=os.write): write(1, b'taken apart')\n"
        "late = Late()\n"
        "atexit.register(print, 'the others ran')\n"
        "run = explain_errors(lambda: print('done', end=' '))\n"
        "def fails():\n"
        "    run()\n"
        "    raise ProbelineError('here', 'it fails')\n"
        "outer = explain_errors(fails)\n"
        f"{last}\n"
    )
    buffered = {name: of for name, of in os.environ.items() if name != "PYTHONUNBUFFERED"}
    ran = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, cwd=REPOSITORY, check=False, env=buffered,
    )  # fmt: skip
    assert "the others ran" in ran.stdout
    assert taken_apart in (None, "taken apart" in ran.stdout)
    assert ran.returncode == status, ran.stderr


@pytest.mark.parametrize(
    "words", ["plan --bogus", "cache verify --depe", "cache bogus", "datasets show", "stauts"]
)
def test_words_that_are_not_understood_are_no_success(words):
    """The group's own function has ended well by then."""
    code = (
        "import sys\n"
        f"sys.argv = ['/somewhere/bin/probeline', *{words.split()!r}]\n"
        "from stages.cli import main\n"
        "main()\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=False
    )
    assert ran.returncode == 2, ran.stderr
    assert "Usage" in ran.stderr


def test_a_pools_process_goes_on_collecting_garbage():
    """It has its parent's arguments, and no command of ours runs in it."""
    code = (
        "import gc, multiprocessing, sys\n"
        "sys.argv = ['/somewhere/bin/probeline']\n"
        "with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "    pool.apply(exec, ('import stages',))\n"
        "    print(pool.apply(gc.isenabled))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=True
    )
    assert ran.stdout.split() == ["True"]
