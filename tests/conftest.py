"""Fixtures of the tests of pipeline/ and stages/."""

from __future__ import annotations

import importlib
import os
import shutil
import signal
from pathlib import Path

import pytest
import warm
from hypothesis import settings
from projects import REPOSITORY, Project, fill_folder
from scratch import Scratch
from taken_study import finished

# The same examples in every run: a change is judged by what it changes, not by luck. To look for
# new failures: HYPOTHESIS_PROFILE=exploring make test
settings.register_profile("fixed", derandomize=True, deadline=None, max_examples=40)
settings.register_profile("exploring", deadline=None, max_examples=200, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))

# A shell starts background jobs with Ctrl-C ignored, and so would be all that the tests start:
# those that send SIGINT would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)


_alive = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    """What starts processes warm, for all workers: made by the process that they belong to."""
    if not hasattr(config, "workerinput"):
        config.stash[_alive] = warm.begin()


def pytest_unconfigure(config: pytest.Config) -> None:
    """The server ends."""
    if _alive in config.stash:
        warm.end(config.stash[_alive])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first: whole studies, then what is slow. No worker is left alone with one."""

    def turn(item: pytest.Item) -> int:
        if "scratch" in getattr(item, "fixturenames", ()):
            return 0
        return 1 if item.get_closest_marker("slow") else 2

    items.sort(key=turn)


@pytest.fixture
def quiet_machine(monkeypatch):
    """One process, the CPU, no waiting for the disk, and none of the caller's PROBELINE variables.

    What a killed process has written is there without `fsync`, too, which is against power cuts;
    tests/cache has its own tests of that.
    """
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    for name in [n for n in os.environ if n.startswith(("PROBELINE_", "DASK_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PROBELINE_DEVICE", "cpu")
    monkeypatch.setenv("PROBELINE_WORKERS", "0")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    process_pool = importlib.import_module("pipeline.machine.process_pool")
    monkeypatch.setattr(process_pool, "cpu_count", lambda: 1)


@pytest.fixture
def project(tmp_path, monkeypatch, quiet_machine) -> Project:
    """A project with ten images of two classes, entered; params.yaml is not yet written."""
    folder = tmp_path / "a project"  # a space, as users have them
    folder.mkdir()
    monkeypatch.chdir(folder)
    shutil.copy(REPOSITORY / "dvc.yaml", folder)
    fill_folder(folder / "images", {"cat": 5, "dog": 5})
    made = Project(folder)
    made.write()
    return made


@pytest.fixture
def scratch(project) -> Scratch:
    """The project under DVC, with its own copy of the code."""
    return Scratch(project)


@pytest.fixture(scope="session")
def kept_study(tmp_path_factory) -> Path:
    """Where the first test that needs a finished scratch project leaves it for the others."""
    return tmp_path_factory.mktemp("kept") / "finished"


@pytest.fixture(scope="module")
def kept_project(tmp_path_factory) -> Path:
    """Where the first test of a module leaves its project for the others; see `Project.once`."""
    return tmp_path_factory.mktemp("kept") / "project"


@pytest.fixture(scope="session")
def taken_project(tmp_path_factory) -> Project:
    """A small finished study; whoever changes something in it puts it back."""
    return finished(tmp_path_factory.mktemp("taken") / "a study")


@pytest.fixture
def shared_data() -> Path:
    """Real images and checkpoints; the test is skipped where they are not."""
    folder = Path(os.environ.get("PROBELINE_SHARED", REPOSITORY / "../shared/data")).resolve()
    if not folder.is_dir():
        pytest.skip("the folder PROBELINE_SHARED is not here")
    return folder
