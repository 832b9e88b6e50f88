"""Embeddings shared through a DVC remote: a colleague runs no forward pass."""

from __future__ import annotations

import re
import shutil
import sys

import pytest
from scratch import Scratch

DVC = (sys.executable, "-m", "dvc")


@pytest.mark.slow
def test_a_colleague_without_images_changes_k_and_extracts_nothing(project, tmp_path):
    scratch = Scratch(project)
    (scratch.folder / ".gitignore").write_text("/images\n__pycache__\n/data\n/results\n/report\n")
    scratch.repro()
    scratch.do(*DVC, "remote", "add", "-q", "-d", "team", str(tmp_path / "remote"))
    scratch.do("git", "add", "-A")
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    scratch.do("git", *identity, "commit", "-q", "-m", "a study")
    scratch.do(*DVC, "push", "-q")

    clone = tmp_path / "a colleague"
    scratch.do("git", "clone", "-q", str(scratch.folder), str(clone))
    assert not (clone / "images").exists()
    # A part: one data set's embeddings.
    scratch.do(*DVC, "pull", "-q", "extract@pets", folder=clone)
    assert [p.name for p in sorted((clone / "data" / "embeddings").iterdir())] == ["pets"]
    # The whole.
    scratch.do(*DVC, "pull", "-q", folder=clone)
    said = scratch.do(sys.executable, "-m", "stages.cli", "status", folder=clone)
    assert "all 6 cells are cached and scored" in said
    said = scratch.do(sys.executable, "-m", "stages.cli", "cache", "verify", "--deep", folder=clone)
    assert "12 cells checked (every byte read), 0 damaged" in said
    params = (clone / "params.yaml").read_text()
    (clone / "params.yaml").write_text(re.sub(r"k:\n\s+- 3", "k:\n  - 2", params, count=1))
    assert (clone / "params.yaml").read_text() != params
    said = scratch.do(*DVC, "repro", folder=clone)
    assert set(re.findall(r"Running stage '([^']+)'", said)) == {
        "knn",
        "collect",
        "correlate",
        "report",
    }
    assert "knn: 0 cached, 6 computed" in said
    shutil.rmtree(tmp_path / "remote")
