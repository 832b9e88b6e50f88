"""What extraction asks of a simulated GPU: one copy there, one wait, the same cells."""

from __future__ import annotations

import shutil
from collections import Counter

import numpy as np
import pytest
import torch
from projects import RESNET, VIT
from simulated_gpus import GPUS, MEMORY, NAME, Gpus, simulate

from cache.cell import Cell
from cache.errors import ProbelineError
from pipeline.embeddings import running
from pipeline.embeddings.forward import Forward
from pipeline.embeddings.provenance import read_provenance
from pipeline.embeddings.uploads import Clock, download, memory_for, upload
from pipeline.machine.devices import this_machine
from pipeline.models.networks import load_model
from pipeline.models.settings import Model
from pipeline.project.paths import cell_address

CUDA = torch.device("cuda", 0)
SMALL = {"architecture": "test_resnet", "weights": "random(0)", "input_size": 32}


@pytest.fixture
def gpu(monkeypatch, quiet_machine) -> Gpus:
    monkeypatch.setenv("PROBELINE_DEVICE", "cuda")
    return simulate(monkeypatch)


def test_the_cells_are_the_cpus_and_each_batch_costs_one_copy_and_one_wait(project, monkeypatch):
    """Five models, two of them of one network, in three geometries: three copies, and no more."""
    project.params["models"] = {
        "a": VIT,
        "patches": {**VIT, "feature": "mean_patch"},
        "b": RESNET,
        "same": {**RESNET, "weights": "random(1)"},
        "large": {**RESNET, "input_size": 48},
    }
    project.params["extraction"]["storage"] = "float32"  # no second pass
    monkeypatch.setenv("PROBELINE_BATCH_SIZE", "2")
    project.prepare()
    names = list(project.params["models"])
    expected = {m: Cell.open(cell_address("pets", m, "train")).read() for m in names}
    shutil.rmtree("data/embeddings")

    monkeypatch.setenv("PROBELINE_DEVICE", "cuda")
    gpu = simulate(monkeypatch)
    batches: list[tuple[bool, Counter[str], dict]] = []
    take = running.Runner.take

    def counting(self, rows, pixels):
        before = gpu.counts.copy()
        take(self, rows, pixels)
        sizes = {geometry: len(images) for geometry, images in pixels.items()}
        batches.append((int(rows[0]) == 0, gpu.counts - before, sizes))

    monkeypatch.setattr(running.Runner, "take", counting)
    project.run("extract", "pets").succeeded("0 cached, 5 computed")
    for model, rows in expected.items():
        found = Cell.open(cell_address("pets", model, "train")).read()
        np.testing.assert_allclose(found, rows, rtol=1e-5, atol=1e-6)
        assert read_provenance("pets", model)["device"] == NAME
    assert len(batches) > 3
    assert {len(sizes) for *_, sizes in batches} == {3}
    for is_first, counts, sizes in batches:
        images = sum(count * g.size**2 * 3 for g, count in sizes.items())
        assert (counts["uploads"], counts["uploaded_bytes"]) == (len(sizes), images)
        assert counts["unpinned_uploads"] == counts["pinning_copies"] == 0  # gathered where it lies
        # What is waited for is the batch before: this one was given to the device first.
        assert (counts["waits"], counts["downloads"]) == ((0, 0) if is_first else (1, 1))


def test_a_batch_that_does_not_fit_is_halved_until_it_does(gpu):
    model = load_model("net", Model.model_validate(SMALL))
    machine = this_machine()
    pixels = np.random.default_rng(0).integers(0, 256, (11, 32, 32, 3), dtype=np.uint8)
    expected = Forward(model, machine, device=torch.device("cpu"))(pixels, ["pooled"])["pooled"]
    forward = Forward(model, machine)
    gpu.most_rows = 3
    found = forward(pixels, ["pooled"])["pooled"]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert gpu.counts["emptied"] == 2  # 11, 5, 2
    assert gpu.counts["downloads"] == 1
    gpu.most_rows = 0.5
    with pytest.raises(ProbelineError, match="does not hold") as caught:
        forward(pixels, ["pooled"])
    assert "PROBELINE_DEVICE=cpu" in caught.value.remedy


def test_features_of_all_networks_come_back_in_one_copy(gpu):
    each = [
        {"pooled": torch.arange(6.0).view(2, 3), "token": torch.ones(2, 1, dtype=torch.float16)},
        {"pooled": torch.arange(4.0).view(1, 4)},
    ]
    there = [{kind: tensor.to(CUDA) for kind, tensor in of.items()} for of in each]
    gpu.counts.clear()
    found = download(there)
    assert (gpu.counts["downloads"], gpu.counts["waits"]) == (1, 1)
    for of, expected in zip(found, each, strict=True):
        assert list(of) == list(expected)
        for kind, values in of.items():
            assert values.dtype == np.float32
            np.testing.assert_array_equal(values, expected[kind].float().numpy())
    assert download([]) == []


def test_pixels_of_other_memory_are_pinned_first(gpu):
    own = memory_for([CUDA])((2, 4, 4, 3))
    assert own.dtype == np.uint8
    upload(own, CUDA)
    assert gpu.counts["pinning_copies"] == 0
    upload(np.zeros((2, 4, 4, 3), np.uint8), CUDA)
    assert (gpu.counts["pinning_copies"], gpu.counts["unpinned_uploads"]) == (1, 0)
    assert gpu.counts["streams_joined"] == 2  # both were copied beside what is computed
    on_cpu = memory_for([torch.device("cpu")])((1, 2, 2, 3))
    assert upload(on_cpu, torch.device("cpu")).data_ptr() == on_cpu.ctypes.data


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_a_clock_tells_seconds(gpu, device):
    clock = Clock(torch.device(device))
    clock.stop()
    assert 0 <= clock.seconds() < 60


def test_memory_that_was_freed_is_kept_beside_a_gpu_too(gpu, monkeypatch):
    asked: list[bool] = []
    monkeypatch.setattr("pipeline.machine.devices._keep_freed_memory", lambda: asked.append(True))
    machine = this_machine()
    assert asked == [True]
    assert (machine.name, machine.memory, machine.devices) == (NAME, MEMORY // 2, (CUDA,))
    assert GPUS is gpu
