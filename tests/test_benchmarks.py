"""Benchmarks still run: a tiny one each; nothing is asked of their times."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from projects import REPOSITORY


def tiny(name: str, *options: str) -> str:
    """What a benchmark prints; it must end well."""
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "benchmarks" / f"{name}.py"), *options],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PROBELINE_DEVICE": "cpu"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_status():
    sizes = ("--models", "2", "--datasets", "2", "--images", "60", "--repeats", "1")
    said = tiny("status", *sizes)
    assert "2 models x 2 data sets of 60 images" in said
    assert "torch, timm, sklearn, pandas, zarr imported: none" in said
    assert "| probeline status |" in said


def test_many_files():
    said = tiny("many_files", "--images", "80", "--per-class", "8", "--commands", "index", "status")
    assert said.count("| index |") == said.count("| status |") == 2


def test_scale(monkeypatch):
    """Writes a cell, and streams it through both heads."""
    monkeypatch.setenv("SCALE", "tiny")
    said = tiny("scale", "imagenet")
    assert "ridge, 3,000 x 48, 20 classes, streamed: peak" in said
    assert "2 iterations, iterations" in said


def test_loop(tmp_path):
    """On a pipeline of one stage: what DVC ran, what it restored, and what each took."""
    code = "print('knn: 2 cached, 1 computed, 0.1 s'); open('out', 'w').write(open('dep').read())"
    said = f'"{code}"'
    stage = {"cmd": f"python -c {said}", "params": ["knn"], "deps": ["dep"], "outs": ["out"]}
    study = tmp_path / "study"
    study.mkdir()
    (study / "dvc.yaml").write_text(json.dumps({"stages": {"knn": stage}}))
    (study / "params.yaml").write_text("knn: {k: []}\n")
    (study / "dep").write_text("1")
    init = [sys.executable, "-m", "dvc", "init", "--no-scm", "--quiet"]
    subprocess.run(init, cwd=study, check=True, capture_output=True)
    found = tiny("loop", str(study), "--as-it-is")
    assert found.count("| DVC itself |") == found.count("| **all** |") == 3
    assert found.count("| knn, from DVC's run cache |") == 1
    assert found.count("| knn | ") == 1
