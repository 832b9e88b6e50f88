"""Benchmarks still run: a tiny one each; nothing is asked of their times."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys

import pytest
import torch
import warm
from projects import REPOSITORY

from benchmarks.scale_plan import MACHINES, blocks_of, images_of, seconds_an_image, simulate
from pipeline.study.params import parse_study

TINY = {
    "cache_io": "--megabytes 4 --repeats 1",
    "coverage": "coefficients --draws 2",
    "heads": "--rows 200 --epochs 1 --repeats 1 --columns 16 --classes 3",
    "knn": "--bank 300 --queries 50 --k 20 --repeats 1 --columns 16",
    "linear": "--images 200 --classes 3 --columns 8 --iterations 20 --budget 1",
    "many_files": "--images 80 --per-class 8 --commands index status",
    "one_pass": "--images 8 --side 64",
    "power": "--draws 20",
    "scale_plan": "",
    "status": "--models 2 --datasets 2 --images 60 --repeats 1",
}
"""What a benchmark is told so that it takes seconds."""

SLOW = {
    "correlate": "make made --models 4 --datasets 2 --images 20",
    "extraction": "--images 8 --side 64 --repeats 1 --models deit_tiny_patch16_224",
    "finetuning": "--epochs 1",
    "shards": "--images 60 --shards 2 --rounds 1 --kills 1",
    "cache_types": "--megabytes 16 --types symlink",
}
"""Those that take more, most of it the start of processes."""

ELSEWHERE = {"device_check", "loop", "published_tables", "scale", "trust_coverage"}
"""Run by tests of their own, below and in tests/pipeline/statistics."""


def test_every_benchmark_is_run():
    there = {path.stem for path in (REPOSITORY / "benchmarks").glob("*.py")}
    assert there == {*TINY, *SLOW, *ELSEWHERE}


def tiny(name: str, *options: str) -> str:
    """What a benchmark prints; it must end well."""
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "benchmarks" / f"{name}.py"), *options],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PROBELINE_DEVICE": "cpu"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def here(monkeypatch, tmp_path, capsys):
    """Run a benchmark in this process, where the libraries are imported already."""

    def run(name: str, options: str) -> str:
        # A kill must reach the process itself.
        monkeypatch.setattr(sys, "executable", cold if name == "shards" else warm.python())
        monkeypatch.setattr(sys, "argv", [name, *options.split()])
        runpy.run_path(str(REPOSITORY / "benchmarks" / f"{name}.py"), run_name="__main__")
        return capsys.readouterr().out

    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(REPOSITORY / "benchmarks")
    monkeypatch.setenv("PROBELINE_DEVICE", "cpu")
    cold = sys.executable
    threads = torch.get_num_threads()
    yield run
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", sorted(TINY.keys() - {"many_files", "status"}))
def test_runs(here, name):
    said = here(name, TINY[name])
    assert len(said.splitlines()) >= 3
    assert not re.search(r"Traceback|fault", said), said


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SLOW))
def test_runs_with_processes_of_its_own(here, name):
    said = here(name, SLOW[name])
    assert not re.search(r"Traceback|fault|OTHER", said), said
    if name == "correlate":
        assert "stage correlate" in here(name, "run .")


def test_status():
    said = tiny("status", *TINY["status"].split())
    assert "2 models x 2 data sets of 60 images" in said
    assert "torch, timm, sklearn, pandas, zarr imported: none" in said
    assert "| probeline status |" in said


def test_many_files():
    said = tiny("many_files", *TINY["many_files"].split())
    assert said.count("| index |") == said.count("| status |") == 2


@pytest.mark.slow
def test_device_check(monkeypatch, tmp_path):
    """On a CPU only that it runs: what it is to prove, a GPU proves."""
    monkeypatch.setenv("SCALE", "tiny")
    monkeypatch.setenv("OUT", str(tmp_path))
    checks = [json.loads(line) for line in tiny("device_check").splitlines() if line[:1] == "{"]
    assert len(checks) == 13
    assert all(check["ok"] for check in checks[:-1])
    assert checks[-1]["failed"] == []


@pytest.mark.slow
def test_published_tables(shared_data, monkeypatch):
    monkeypatch.setenv("PROBELINE_SHARED", str(shared_data))
    assert tiny("published_tables", "biobench").count(" GB") == 4


def test_scale(monkeypatch):
    """Writes a cell, and streams it through both heads."""
    monkeypatch.setenv("SCALE", "tiny")
    said = tiny("scale", "imagenet")
    assert "ridge, 3,000 x 48, 20 classes, streamed: peak" in said
    assert "2 iterations, iterations" in said


@pytest.fixture(scope="module")
def paper():
    path = REPOSITORY / "studies" / "paper.yaml"
    return parse_study(path.read_text(encoding="utf-8"), path)


@pytest.mark.parametrize(("speeds", "noise"), [((), 0.0), ((), 0.2), ([0.5] + [1.0] * 7, 0.0)])
def test_eight_gpus_are_idle_for_less_than_a_tenth_of_the_papers_study(paper, speeds, noise):
    eight = MACHINES[1]
    an_image = seconds_an_image(paper, eight)
    found = simulate(blocks_of(paper), 8, an_image, eight.loading, speeds=speeds, noise=noise)
    assert 0 <= found.idle <= 0.1
    images = sum(map(sum, images_of(paper).values()))
    if not speeds and not noise:  # all is computed, once
        computed = (1 - found.idle - found.loading) * 8 * found.seconds
        assert computed == pytest.approx(images * an_image)
    alone = simulate(blocks_of(paper), 1, an_image, 0.0)
    assert (alone.seconds, alone.idle) == (pytest.approx(images * an_image), pytest.approx(0))


def test_simulated_shards_wait_for_the_last_block():
    """Three blocks of equal size for two shards: one shard is idle for one of four turns."""
    found = simulate([[[100, 100, 100]]], 2, 1.0, 0.0)
    assert (found.seconds, found.idle) == (200, 0.25)


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
