"""A network on its devices: compiled where that pays, several devices side by side."""

from __future__ import annotations

import dataclasses
import shutil
import threading

import numpy as np
import pytest
import torch
from projects import RESNET, VIT
from torch._dynamo.exc import TorchDynamoException

from cache.cell import Cell
from cache.errors import ProbelineError
from pipeline.embeddings.compiling import PAYS_FROM, should_compile
from pipeline.embeddings.forward import Forward
from pipeline.machine.devices import Machine, this_machine
from pipeline.models.networks import load_model
from pipeline.models.settings import Model
from pipeline.project.paths import cell_address

CPU = torch.device("cpu")


def network(entry: dict) -> Forward:
    return Forward(load_model("net", Model.model_validate(entry)), this_machine())


@pytest.mark.slow
def test_a_compiled_network_gives_the_same_rows_for_every_size_of_batch(quiet_machine, monkeypatch):
    # Batch norms with statistics of their own: folding them must not lose them.
    entry = {"architecture": "test_efficientnet", "weights": "random(0)", "input_size": 64}
    model = load_model("net", Model.model_validate(entry))
    for module in model.backbone.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.5, 0.5)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
    pixels = np.random.default_rng(0).integers(0, 256, (23, 64, 64, 3), dtype=np.uint8)
    machine = dataclasses.replace(this_machine(), pixels=8 * 64**2)
    expected = Forward(model, machine)(pixels, ["pooled"])["pooled"]
    monkeypatch.setenv("PROBELINE_COMPILE", "always")
    forward = Forward(model, machine)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for rows in (23, 8, 1):
            found = forward(pixels[:rows], ["pooled"])["pooled"]
            assert found.shape == (rows, expected.shape[1])
            error = np.linalg.norm(found - expected[:rows], axis=1)
            assert (error < 1e-5 * np.linalg.norm(expected[:rows], axis=1)).all()


def test_compiling_is_chosen_where_it_pays(quiet_machine, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}")
    convolutional, transformer = network(RESNET)._backbone, network(VIT)._backbone
    assert should_compile(convolutional, CPU, PAYS_FROM)
    assert not should_compile(convolutional, CPU, PAYS_FROM - 1)
    assert not should_compile(transformer, CPU, PAYS_FROM)
    assert not should_compile(convolutional, torch.device("cuda"), PAYS_FROM)
    monkeypatch.setenv("PROBELINE_COMPILE", "always")
    assert should_compile(transformer, CPU, 1)
    monkeypatch.setenv("PROBELINE_COMPILE", "never")
    assert not should_compile(convolutional, CPU, PAYS_FROM)
    monkeypatch.setenv("PROBELINE_COMPILE", "yes")
    with pytest.raises(ProbelineError, match="PROBELINE_COMPILE"):
        should_compile(convolutional, CPU, PAYS_FROM)
    monkeypatch.setenv("PROBELINE_COMPILE", "auto")
    monkeypatch.setattr("shutil.which", lambda name: None)  # no compiler on this machine
    assert not should_compile(convolutional, CPU, PAYS_FROM)


def test_a_network_that_cannot_be_compiled_runs_without(quiet_machine, monkeypatch, capsys):
    forward = network(RESNET)
    pixels = np.zeros((3, 32, 32, 3), np.uint8)
    expected = forward(pixels, ["pooled"])["pooled"]

    def fails(*_arguments):
        raise TorchDynamoException("no such operator\nand much more")

    forward._compiled = fails
    assert np.array_equal(forward(pixels, ["pooled"])["pooled"], expected)
    assert "(no such operator)" in capsys.readouterr().err
    assert forward(pixels, ["pooled"])
    assert not capsys.readouterr().err  # said once
    forward._compiled = fails
    monkeypatch.setenv("PROBELINE_COMPILE", "always")
    with pytest.raises(TorchDynamoException):
        forward(pixels, ["pooled"])


def test_several_devices_work_side_by_side_and_give_the_same_cells(project, monkeypatch):
    project.params["models"] = {"a": VIT, "b": RESNET, "c": {**VIT, "weights": "random(1)"}}
    # No second pass for columns that need it: of one device's networks, it runs in this thread.
    project.params["extraction"]["storage"] = "float32"
    project.prepare()
    expected = {m: Cell.open(cell_address("pets", m, "train")).read() for m in "abc"}
    threads: dict[str, set[str]] = {}
    run = Forward._run

    def spy(self, pixels, kinds):
        threads.setdefault(str(self.device), set()).add(threading.current_thread().name)
        return run(self, pixels, kinds)

    def two_devices() -> Machine:
        machine = this_machine()
        return dataclasses.replace(machine, devices=(CPU, torch.device("cpu", 0)))

    monkeypatch.setattr(Forward, "_run", spy)
    monkeypatch.setattr("pipeline.embeddings.missing.this_machine", two_devices)
    shutil.rmtree("data/embeddings")
    project.run("extract", "pets").succeeded("0 cached, 3 computed")
    assert set(threads) == {"cpu", "cpu:0"}
    assert all("device" in name for names in threads.values() for name in names)
    for model, rows in expected.items():
        assert np.array_equal(Cell.open(cell_address("pets", model, "train")).read(), rows)
