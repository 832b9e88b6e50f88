"""Probes on a simulated device: the same scores; records and the stage say what computed them."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest
import torch
from simulated_gpus import NAME, simulate

from cache.errors import ProbelineError
from cache.records import read_record
from pipeline.heads.linear_solvers import computed_like
from pipeline.machine import backends, process_pool
from pipeline.probes import admitting, linear, protocol
from pipeline.probes.class_moments import class_moments, parts_of
from pipeline.probes.predictors import PREDICTORS, Data
from pipeline.project.paths import neighbors_path, record_path

STAGES = ("neighbors", "knn", "linear", "predictors", "fewshot")


@pytest.fixture
def prepared(project):
    project.params["linear"] = {"heads": ["logistic", "ridge"], "normalization": ["none"],
                                "c": [0.1, 1.0]}  # fmt: skip
    project.params["transferability"] = {"names": ["h_score", "nc1"]}
    project.params["fewshot"] = {"shots": [1], "fractions": [], "episodes": 2}
    project.prepare()
    return project


@pytest.fixture
def gpu(prepared, monkeypatch):
    return with_gpu(monkeypatch)


def with_gpu(monkeypatch):
    """One for which every cell is large enough, and which lies in this process."""
    monkeypatch.setenv("PROBELINE_DEVICE", "cuda")
    monkeypatch.setattr(backends, "WORTH", 0)
    monkeypatch.setattr(backends, "WORTH_A_FIT", 0)
    monkeypatch.setattr(process_pool, "APART", 1 << 60)
    return simulate(monkeypatch)


def scores_of(stage: str) -> list[dict]:
    record = read_record(record_path(stage, "pets", "tiny"))
    assert record is not None
    return record.scores


def test_auto_uses_the_gpu_says_so_and_finds_the_same(prepared, monkeypatch):
    on_cpu = {}
    for stage in STAGES:
        said = prepared.run(stage).succeeded("0 cached, 1 computed")
        assert ("1 by numpy on the CPU" in said) == (stage != "knn")
        if stage != "neighbors":
            on_cpu[stage] = scores_of(stage)
            assert {row["details"]["device"] for row in on_cpu[stage]} == {"cpu"}
    shutil.rmtree("results")
    shutil.rmtree("data/neighbors")
    gpu = with_gpu(monkeypatch)
    for stage in STAGES:
        gpu.counts.clear()
        said = prepared.run(stage).succeeded("0 cached, 1 computed")
        assert ("1 by torch on cuda:0" in said) == (stage != "knn")
        assert bool(gpu.counts["uploads"]) == (stage != "knn")
        if stage == "neighbors":
            facts = read_record(neighbors_path("pets", "tiny", "euclidean", "none")).scores
            assert {(f["backend"], f["device"]) for f in facts} == {("torch", NAME)}
            continue
        found = scores_of(stage)
        for ours, theirs in zip(on_cpu[stage], found, strict=True):
            assert (ours["variant"], ours["metric"]) == (theirs["variant"], theirs["metric"])
            assert theirs["value"] == pytest.approx(ours["value"], rel=1e-5, abs=1e-6)
            where = (theirs["backend"], theirs["details"]["device"])
            by_cpu = ours["variant"].startswith("prototypes")
            assert where == (("numpy", "cpu") if by_cpu else ("torch", NAME))
        prepared.run(stage).succeeded("1 cached, 0 computed")  # the device is in no key


@pytest.mark.parametrize("stage", ["neighbors", "knn"])
def test_a_backend_that_is_none_is_refused_by_every_stage(prepared, monkeypatch, stage):
    monkeypatch.setenv("PROBELINE_BACKEND", "linear:faiss")
    prepared.run(stage).refused("PROBELINE_BACKEND", "faiss")
    monkeypatch.setenv("PROBELINE_BACKEND", "lineal:torch")
    prepared.run(stage).refused("PROBELINE_BACKEND", "lineal")


def out_of_memory() -> torch.OutOfMemoryError:
    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")


@pytest.mark.parametrize(
    ("room", "asked", "ends"),
    [
        ("all", "", ("torch", False)),
        ("parts", "", ("torch", True)),
        ("none", "", ("numpy", False)),
        ("none", "linear:torch", None),
    ],
)
def test_what_does_not_fit_is_read_in_parts_then_computed_on_the_cpu(
    gpu, prepared, monkeypatch, capfd, room, asked, ends
):
    """Unless the GPU was asked for by name: then it is refused, and says what helps."""
    run, taken = linear.run_linear, []

    def tight(study, task):
        taken.append((task.backend, task.streamed))
        if task.backend == "torch" and (room == "none" or (room == "parts" and not task.streamed)):
            raise out_of_memory()
        return run(study, task)

    monkeypatch.setattr(linear, "run_linear", tight)
    monkeypatch.setenv("PROBELINE_BACKEND", asked)
    done = prepared.run("linear")
    if ends is None:
        assert done.status == 1
        said = done.err.partition("error: ")[2]  # first it was tried in parts, and that was said
        assert all(w in said for w in ("linear of tiny on pets", "9 GiB", "PROBELINE_DEVICE=cpu"))
        assert taken == [("torch", False), ("torch", True)]
        return
    done.succeeded("1 computed")
    assert taken[-1] == ends
    where = {(row["backend"], row["details"]["device"]) for row in scores_of("linear")}
    assert where == {(ends[0], NAME if ends[0] == "torch" else "cpu")}
    words = {"all": "", "parts": "computed in parts", "none": "computed on the CPU"}[room]
    assert words in done.err


def test_a_task_knows_its_other_ways():
    choice = backends.Choice("linear", "auto")
    task = protocol.Task("d", "m", None, None, ("a",), backend="torch")
    need = protocol.Need(1, 1, 1.0)
    parts = admitting._instead(task, need, choice)
    assert (parts.streamed, parts.instead.backend, parts.instead.streamed) == (True, "numpy", False)
    assert (
        admitting._instead(task, dataclasses.replace(need, streamed=None), choice).backend
        == "numpy"
    )
    assert admitting._instead(task, need, backends.Choice("linear", "torch")).instead is None


def test_predictors_of_a_device_are_the_cpus(gpu, monkeypatch):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 7, 400)
    features = (rng.normal(0, 1, (7, 20))[labels] + rng.normal(0, 1, (400, 20))).astype(np.float32)
    data = Data(labels, parts_of(features), features.__getitem__)
    there = dataclasses.replace(data, backend="torch")
    for name, predict in PREDICTORS.items():
        ours, theirs = predict(data), predict(there)
        assert theirs.value == pytest.approx(ours.value, rel=1e-9, nan_ok=True), name
    ours = class_moments(parts_of(features), labels)
    gpu.counts.clear()
    theirs = class_moments(parts_of(features), labels, computed_like("torch"))
    for field in dataclasses.fields(ours):
        np.testing.assert_allclose(getattr(theirs, field.name), getattr(ours, field.name), 1e-10)
    # The mean, a part of all rows and its labels; what comes back are the moments.
    assert gpu.counts["uploaded_bytes"] == 8 * 20 + features.nbytes + 8 * len(labels)
    assert gpu.counts["downloads"] == 4


def test_an_error_of_a_task_keeps_its_words_on_a_device(gpu, prepared, monkeypatch):
    def fails(study, task):
        raise ProbelineError("a head", "is impossible", remedy="another one")

    monkeypatch.setattr(linear, "run_linear", fails)
    prepared.run("linear").refused("is impossible", "another one")
