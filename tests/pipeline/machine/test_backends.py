"""The backend is what was asked for, or a refusal; never something else."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest
from projects import REPOSITORY
from simulated_gpus import NAME, simulate

from cache.errors import ProbelineError
from pipeline.machine import backends
from pipeline.machine.backends import (
    WORTH,
    WORTH_A_FIT,
    Choice,
    computing_on,
    cuda_devices,
    device_name,
    require_cuml_size,
)
from pipeline.study.protocol_list import backends_offered

OFFERED = backends_offered()


def choose_backend(stage: str) -> Choice:
    return backends.choose_backend(stage, OFFERED)


@pytest.fixture
def ask(monkeypatch):
    return lambda text: monkeypatch.setenv("PROBELINE_BACKEND", text)


@pytest.fixture
def gpus(monkeypatch):
    monkeypatch.delenv("PROBELINE_DEVICE", raising=False)
    return simulate(monkeypatch, 2)


@pytest.mark.parametrize("text", ["auto", "", "  ", "linear:auto"])
@pytest.mark.parametrize("stage", [*OFFERED, "knn", "similarity", "a toy protocol"])
def test_auto_is_our_own_code_where_there_is_no_gpu(ask, text, stage, monkeypatch):
    monkeypatch.setenv("PROBELINE_DEVICE", "cpu")
    ask(text)
    choice = choose_backend(stage)
    assert (choice.of(1.0), choice.of(1e18), choice.gpus) == ("numpy", "numpy", ())


@pytest.mark.parametrize("stage", OFFERED)
def test_auto_takes_a_gpu_for_what_is_large_enough(gpus, stage):
    choice = choose_backend(stage)
    assert choice.gpus == ("cuda:0", "cuda:1")
    assert (choice.of(WORTH), choice.of(WORTH * 0.99)) == ("torch", "numpy")
    assert choice.of(WORTH, int(2 * WORTH / WORTH_A_FIT)) == "numpy"  # many small fits
    assert [choice.is_on_gpu(name) for name in ("torch", "numpy")] == [True, False]
    assert choice.told(["torch", "numpy", "torch"], "cells") == (
        "cells: 2 by torch on cuda:0, cuda:1; 1 by numpy on the CPU"
    )


def test_what_has_no_choice_takes_no_gpu(gpus):
    for stage in ("knn", "similarity", "a toy protocol"):
        assert (choose_backend(stage).gpus, choose_backend(stage).of(1e18)) == ((), "numpy")


@pytest.mark.parametrize("device", ["cpu", "cuda:1"])
def test_the_device_that_is_asked_for_is_taken(gpus, monkeypatch, device):
    monkeypatch.setenv("PROBELINE_DEVICE", device)
    expected = () if device == "cpu" else ("cuda:1",)
    assert choose_backend("linear").gpus == expected
    assert choose_backend("linear").of(WORTH) == ("torch" if expected else "numpy")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sklearn", {"linear": "sklearn", "neighbors": "sklearn"}),
        ("numpy", dict.fromkeys(OFFERED, "numpy")),
        ("torch", dict.fromkeys(OFFERED, "torch")),
        ("linear:sklearn", {"linear": "sklearn", "neighbors": "numpy", "fewshot": "numpy"}),
        ("torch,linear:sklearn", {"linear": "sklearn", "fewshot": "torch"}),
        (" linear : torch , neighbors:sklearn ", {"linear": "torch", "neighbors": "sklearn"}),
        ("torch,predictors:auto", {"predictors": "numpy", "transfer": "torch"}),
    ],
)
def test_a_library_by_name_for_all_stages_or_for_some(ask, text, expected, monkeypatch):
    monkeypatch.setenv("PROBELINE_DEVICE", "cpu")
    ask(text)
    assert {stage: choose_backend(stage).of(1e18) for stage in expected} == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Sklearn", "auto, numpy, torch, sklearn, cuml"),
        ("faiss", "auto, numpy, torch, sklearn, cuml"),
        ("linear:", "is not a backend"),
        ("torch,", "is not a backend"),
        ("knn:torch", "neighbors"),
        ("extract:torch", "no stage that has a choice"),
        ("fewshot:sklearn", "fewshot does not compute with sklearn"),
        ("predictors:cuml", "auto, numpy, torch"),
        ("torch,numpy", "twice"),
        ("linear:torch,linear:numpy", "twice"),
    ],
)
@pytest.mark.parametrize("stage", ["neighbors", "knn"])
def test_what_there_is_not_is_refused_by_whatever_stage_runs(ask, text, words, stage):
    ask(text)
    with pytest.raises(ProbelineError, match=words):
        choose_backend(stage)


def test_what_a_stage_lacks_is_refused_and_the_remedy_is_accepted(ask):
    ask("sklearn")
    with pytest.raises(ProbelineError, match="fewshot does not compute with sklearn") as refusal:
        choose_backend("fewshot")
    assert refusal.value.expected == "auto, numpy, torch"
    ask(refusal.value.remedy.partition("PROBELINE_BACKEND=")[2])
    assert choose_backend("fewshot").of(1.0) == "numpy"
    assert choose_backend("linear").of(1.0) == "sklearn"


@pytest.mark.parametrize(("found", "words"), [(None, "not installed"), (True, "no CUDA device")])
def test_cuml_that_cannot_compute_is_refused(ask, monkeypatch, found, words):
    """It can be imported without a GPU, and would fail when it fits."""
    ask("cuml")
    monkeypatch.setenv("PROBELINE_DEVICE", "cpu")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: found)
    with pytest.raises(ProbelineError, match=words):
        choose_backend("linear")


@pytest.mark.parametrize("shape", [(2**20, 2**11), (2**16, 2**8, 2**7)])
def test_cuml_counts_in_32_bits(shape):
    require_cuml_size("x", 2**31 - 1, 1)
    with pytest.raises(ProbelineError, match=r"2,147,483,648"):
        require_cuml_size("x", *shape)


def test_a_job_computes_on_its_device_for_as_long_as_it_takes(gpus, monkeypatch):
    for before in (None, "cuda:1"):
        if before:
            monkeypatch.setenv("PROBELINE_DEVICE", before)
        with computing_on("cpu"):
            assert cuda_devices() == ()
            assert device_name("torch") == "cpu"
        with computing_on(""):
            assert device_name("torch") == NAME
        assert os.environ.get("PROBELINE_DEVICE") == before
    assert device_name("numpy") == device_name("sklearn") == "cpu"


def test_without_a_driver_nobody_imports_torch():
    code = (
        "import sys; from pipeline.machine import backends as b; b._has_driver = lambda: False\n"
        "choice = b.choose_backend('x', {'x': ('numpy', 'torch')})\n"
        "assert choice.of(1e18) == 'numpy'; assert 'torch' not in sys.modules"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PROBELINE_")}
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, env=environment, check=True)


def test_every_stage_that_chooses_is_one_of_dvc_yamls():
    text = (REPOSITORY / "dvc.yaml").read_text()
    assert all(f"\n  {stage}:" in text for stage in OFFERED)
    assert {name for names in OFFERED.values() for name in names} == set(backends.BACKENDS)
