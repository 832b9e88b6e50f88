"""Benchmarks still run: a tiny one each; nothing is asked of their times."""

from __future__ import annotations

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
