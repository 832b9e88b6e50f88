"""A finished study, and a folder taken from it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from taken_study import entered


@pytest.fixture(scope="session")
def study(taken_project):
    return taken_project


@pytest.fixture(autouse=True)
def _in_the_study(request):
    if "study" not in request.fixturenames:
        yield
        return
    with entered(request.getfixturevalue("study").folder):
        yield


@pytest.fixture(scope="session")
def whole(study, tmp_path_factory):
    """A taken folder, to be copied before anything is done to it."""
    out = tmp_path_factory.mktemp("whole") / "taken"
    with entered(study.folder):
        study.run("cli", "take", "tiny", str(out)).succeeded("all 14 test images", "14 of 14")
    return out


@pytest.fixture
def folder(whole, tmp_path):
    return Path(shutil.copytree(whole, tmp_path / "taken"))
