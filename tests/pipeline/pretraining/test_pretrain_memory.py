"""A device whose memory does not hold a batch: the same numbers by parts, or a refusal."""

from __future__ import annotations

import numpy as np
import pytest
import simulated_gpus
import torch
from projects import RESNET, VIT
from simulated_gpus import simulate
from test_pretrain_training import PLACE, entry_of, images, training

from cache.errors import ProbelineError
from pipeline.pretraining import parts, run
from pipeline.pretraining.encoder import Encoder
from pipeline.pretraining.parts import Parts, placed, why_not
from pipeline.pretraining.rank import rank_of

BY_PARTS = ["supervised", "rotnet", "jigsaw", "mae", "simmim"]
WHOLE = ["simclr", "moco", "byol", "simsiam", "dino", "swav", "barlow_twins", "vicreg"]


@pytest.fixture(autouse=True)
def no_search_of_all_objects(monkeypatch):
    monkeypatch.setattr(parts, "release", lambda: None)


def narrow(method, most: int) -> list[int]:
    """The network holds no more images than `most`; what it was given."""
    seen: list[int] = []

    def look(_module, given):
        count = len(given[0])
        seen.append(count)
        if count > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    backbone = method.encoder.backbone
    first = backbone.patch_embed if hasattr(backbone, "patch_embed") else backbone
    first.register_forward_pre_hook(look)
    return seen


def gradient_of(method_name: str, most: int | None = None, fails_in: int = 0):
    """Loss and gradient of one batch of eight, and what the network was given."""
    made = training(entry_of(method_name))
    seen = narrow(made.method, most) if most else []
    if fails_in:
        parameter = next(p for p in made.method.encoder.backbone.parameters() if p.requires_grad)
        calls: list[int] = []

        def fail(gradient):
            calls.append(1)
            if len(calls) == fails_in:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return gradient

        parameter.register_hook(fail)
    batch = images(8)
    torch.manual_seed(3)
    loss = made._parts.loss(batch.pixels.float() / 255, batch.labels, learn=True)
    drawn = torch.rand(3).tolist()
    gradients = {n: p.grad for n, p in made.method.named_parameters() if p.grad is not None}
    return loss, gradients, seen, drawn


@pytest.mark.parametrize("name", BY_PARTS)
def test_loss_and_gradient_by_parts_are_those_of_the_batch(name, capsys):
    loss, gradients, *_ = gradient_of(name)
    found, by_parts, seen, _ = gradient_of(name, most=3)
    assert seen == [8, 4, 2, 2, 2, 2]
    assert found == pytest.approx(loss, rel=1e-5)
    assert by_parts.keys() == gradients.keys()
    for parameter, gradient in gradients.items():
        np.testing.assert_allclose(by_parts[parameter], gradient, rtol=2e-3, atol=2e-6)
    said = capsys.readouterr().err
    assert "goes on with 2, accumulated: the same batch of 8" in said
    assert PLACE in said


def test_memory_that_runs_out_on_the_way_back_leaves_no_half_gradient():
    loss, gradients, *_ = gradient_of("supervised")
    # The whole batch, then the second of two parts; then four parts do.
    found, by_parts, *_ = gradient_of("supervised", most=4, fails_in=2)
    assert found == pytest.approx(loss, rel=1e-5)
    for parameter, gradient in gradients.items():
        np.testing.assert_allclose(by_parts[parameter], gradient, rtol=2e-3, atol=2e-6)


def test_a_training_by_parts_has_the_losses_of_the_whole(tmp_path, capsys):
    whole, narrowed = training(entry_of("mae")), training(entry_of("mae"))
    narrow(narrowed.method, 5)
    for name, each in (("whole", whole), ("parts", narrowed)):
        each.run(tmp_path / name, "key", lambda _: None)
    assert narrowed.untrained_loss == pytest.approx(whole.untrained_loss, rel=1e-5)
    losses = [[epoch["loss"] for epoch in each.epochs] for each in (whole, narrowed)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)
    assert capsys.readouterr().err.count("out of memory with 8 images") == 1  # it is remembered


REFUSED = [(name, VIT, "compares the images of a batch") for name in WHOLE] + [
    ("supervised", RESNET, "a BatchNorm takes statistics"),
    ("supervised", {**VIT, "arguments": {"img_size": 32, "proj_drop_rate": 0.1}}, "Dropout draws"),
]


@pytest.mark.parametrize(("name", "backbone", "why"), REFUSED)
def test_where_parts_would_give_other_numbers_the_batch_is_refused(name, backbone, why, tmp_path):
    made = training(entry_of(name), backbone)
    narrow(made.method, 2)
    with pytest.raises(ProbelineError, match=why) as caught:
        made.run(tmp_path / "kept", "key", lambda _: None)
    error = caught.value
    assert error.place == f"{PLACE}.batch_size"
    assert "8 images of 32 x 32 pixels" in error.expected
    assert "Tried to allocate 2.00 GiB" in error.found
    for word in ("more memory", "PROBELINE_DEVICE=cpu", "batch_size"):
        assert word in error.remedy
    assert not (tmp_path / "kept").exists()


def test_a_device_that_does_not_hold_one_image_is_said(tmp_path):
    made = training(entry_of("supervised"))
    narrow(made.method, 0)
    with pytest.raises(ProbelineError, match="does not hold") as caught:
        made.run(tmp_path / "kept", "key", lambda _: None)
    assert "a batch of 8 images" in caught.value.place


def test_other_failures_are_not_taken_for_a_lack_of_memory(tmp_path, monkeypatch):
    made = training(entry_of("supervised"))

    def fail(*_):
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(made.method, "loss", fail)
    with pytest.raises(RuntimeError, match="shapes"):
        made.run(tmp_path / "kept", "key", lambda _: None)


def test_of_all_methods_it_is_known_whether_parts_will_do():
    for name in BY_PARTS:
        assert why_not(training(entry_of(name)).method) == ""


def test_what_fails_elsewhere_for_memory_is_a_refusal_too(monkeypatch):
    def fail(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(run, "_pretrain", fail)
    with pytest.raises(ProbelineError, match="does not hold it") as caught:
        run.pretrain_one(None, "tiny", None, print)
    assert caught.value.place == PLACE


def test_on_a_simulated_device_a_batch_goes_by_parts_and_images_stay_where_there_is_room(
    monkeypatch,
):
    made = training(entry_of("supervised"))
    batch = images(8)
    pixels = batch.pixels.float() / 255
    torch.manual_seed(3)
    expected = made._parts.loss(pixels, batch.labels, learn=False)
    rank = rank_of(made.method.encoder, batch.pixels)
    gpu = simulate(monkeypatch)
    device = torch.device("cuda:0")
    with torch.inference_mode():
        method = made.method.to(device)
        monkeypatch.setattr(parts, "_states", lambda _: [torch.get_rng_state()])
        monkeypatch.setattr(parts, "_restore", lambda states, _: torch.set_rng_state(states[0]))
        monkeypatch.setattr(type(method.views), "__call__", lambda self, images: images)
        there = placed(batch.pixels, device)
        assert there.device == device
        monkeypatch.setattr(simulated_gpus, "LIMITED", ("aten::convolution",))
        gpu.most_rows = 4
        by_parts = Parts(method, 8, device, PLACE)
        found = by_parts.loss(there.float() / 255, batch.labels.to(device), learn=False)
        assert by_parts._at_once.size == 4
        assert np.isfinite(found)
        gpu.most_rows = None
        whole = Parts(method, 8, device, PLACE)
        assert whole.loss(there.float() / 255, batch.labels.to(device), learn=False) == (
            pytest.approx(found, rel=1e-4)
        )
    assert np.isfinite(expected)
    assert isinstance(method.encoder, Encoder)
    assert rank.images == 8
