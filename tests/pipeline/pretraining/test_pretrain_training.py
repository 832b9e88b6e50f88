"""Pre-training runs: the same weights after a kill, and every way of failing has words."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from projects import RESNET, VIT
from torch import nn

from cache.errors import ProbelineError
from pipeline.models.networks import load_model
from pipeline.models.settings import Model
from pipeline.pretraining.encoder import Encoder
from pipeline.pretraining.images import TrainingImages, check_enough
from pipeline.pretraining.rank import Rank, rank_of
from pipeline.pretraining.training import DivergedError, Training, schedule
from pipeline.study.pretraining import Pretrain

PLACE = "params.yaml: pretrain.tiny"


class KilledError(Exception):
    """Stands for the end of the process between two epochs."""


def entry_of(method: str, **options) -> Pretrain:
    small = {"epochs": 4, "batch_size": 8, "queue": 16, "prototypes": 8, "input_size": 32}
    return Pretrain(
        **{"method": method, "architecture": "any", "dataset": "any", **small, **options}
    )


def images(count: int = 20) -> TrainingImages:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)
    return TrainingImages(torch.from_numpy(pixels), torch.arange(count) % 2, 2)


def training(entry: Pretrain, backbone: dict = VIT) -> Training:
    model = load_model("tiny", Model(**{**backbone, "weights": f"random({entry.seed})"}))
    return Training(entry, Encoder(model), images(), torch.device("cpu"), PLACE)


def weights(run: Training) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in run.method.kept.backbone.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("method", ["supervised", "moco", "dino", "mae"])
def test_a_killed_training_ends_with_the_same_weights(method, tmp_path):
    whole = training(entry_of(method))
    whole.run(tmp_path / "whole", "key", lambda _: None)

    kept, epochs = tmp_path / "kept", []

    def until_two(done: int) -> None:
        epochs.append(done)
        if sum(epochs) == 2:
            raise KilledError

    with pytest.raises(KilledError):
        training(entry_of(method)).run(kept, "key", until_two)
    resumed, reported = training(entry_of(method)), []
    resumed.run(kept, "key", reported.append)
    assert reported == [2, 1, 1]
    assert same(weights(whole), weights(resumed))
    assert [e["loss"] for e in whole.epochs] == [e["loss"] for e in resumed.epochs]


@pytest.mark.parametrize("method", ["jigsaw", "moco", "dino", "swav", "simmim"])
def test_a_seed_gives_the_same_weights_and_another_seed_others(method, tmp_path):
    runs = []
    for seed in (0, 0, 1):
        run = training(entry_of(method, seed=seed, epochs=1))
        run.run(tmp_path / f"{method}{len(runs)}", "key", lambda _: None)
        runs.append(weights(run))
    assert same(runs[0], runs[1])
    assert not same(runs[0], runs[2])


def test_training_leaves_the_callers_random_numbers_alone(tmp_path):
    before = torch.get_rng_state()
    training(entry_of("simclr", epochs=1)).run(tmp_path / "kept", "key", lambda _: None)
    assert torch.equal(before, torch.get_rng_state())


def test_the_control_is_the_initial_network(tmp_path):
    control = training(entry_of("random"))
    control.run(tmp_path / "kept", "key", lambda _: None)
    own = load_model("tiny", Model(**VIT)).backbone.state_dict()
    assert control.epochs == []
    assert same(own, weights(control))


def test_a_state_of_other_settings_is_not_continued(tmp_path):
    kept, reported = tmp_path / "kept", []
    training(entry_of("supervised", epochs=2)).run(kept, "one", lambda _: None)
    training(entry_of("supervised", epochs=2)).run(kept, "other", reported.append)
    assert reported == [0, 1, 1]


@pytest.mark.parametrize("damage", [lambda whole: whole[:-100], lambda whole: b"no state"])
def test_a_damaged_state_is_named(tmp_path, damage):
    kept = tmp_path / "kept"
    training(entry_of("supervised", epochs=1)).run(kept, "key", lambda _: None)
    kept.write_bytes(damage(kept.read_bytes()))
    with pytest.raises(ProbelineError, match="unfinished training is damaged") as caught:
        training(entry_of("supervised", epochs=1)).run(kept, "key", lambda _: None)
    assert "delete it" in str(caught.value)


@pytest.mark.parametrize("at", [1, 3])
def test_a_loss_that_is_no_number_stops_and_the_last_good_state_stays(at, tmp_path, monkeypatch):
    """In epoch `at` + 1, whose first epoch is 1."""
    run = training(entry_of("supervised"))
    real, calls, good = run.method.loss, [], {}

    def loss(pixels, labels):
        calls.append(1)
        result = real(pixels, labels)
        # Two steps measure the network as it was drawn.
        return result * float("nan") if len(calls) == 2 * at + 4 else result

    monkeypatch.setattr(run.method, "loss", loss)
    with pytest.raises(DivergedError) as caught:
        run.run(tmp_path / "kept", "key", lambda _: good.update(weights(run)))
    for word in (PLACE, f"epoch {at + 1} of 4", "step 2 of 2", "learning_rate", str(tmp_path)):
        assert word in str(caught.value)
    continued = training(entry_of("supervised"))
    continued._continue(tmp_path / "kept", "key")
    assert len(continued.epochs) == at
    assert same(good, weights(continued))
    assert all(torch.isfinite(v).all() for v in weights(continued).values())


BY_ONE = [("supervised", VIT), ("mae", VIT), ("random", RESNET)]
"""Take no statistics of a batch: neither backbone nor head has a BatchNorm, or nothing is done."""


@pytest.mark.parametrize("backbone", [VIT, RESNET], ids=["vit", "resnet"])
@pytest.mark.parametrize("method", ["random", "supervised", "simclr", "moco", "mae"])
def test_a_batch_of_one(method, backbone, tmp_path):
    entry = entry_of(method, batch_size=1, epochs=1)
    if (method, backbone) in [*BY_ONE, ("random", VIT)]:
        training(entry, backbone).run(tmp_path / "kept", "key", lambda _: None)
    elif (method, backbone) != ("mae", RESNET):
        with pytest.raises(ProbelineError, match="BatchNorm has no statistics") as caught:
            training(entry, backbone)
        assert caught.value.place == f"{PLACE}.batch_size"


TOO_FEW = [
    ("supervised", {"batch_size": 21}, "batch_size"),
    ("moco", {"queue": 21}, "queue"),
    ("swav", {"prototypes": 21}, "prototypes"),
    ("dino", {"prototypes": 21}, "prototypes"),
]


@pytest.mark.parametrize(("method", "options", "name"), TOO_FEW)
def test_too_few_images(method, options, name):
    entry = entry_of(method, **options)
    with pytest.raises(ProbelineError) as caught:
        check_enough(entry, 20, PLACE)
    assert caught.value.place == f"{PLACE}.{name}"
    assert (caught.value.found, caught.value.expected) == ("21", "at most 20")
    check_enough(entry, 21, PLACE)
    check_enough(entry_of("random", **options), 20, PLACE)


def test_a_queue_matters_to_its_method_only():
    check_enough(entry_of("simclr", queue=10_000, prototypes=10_000), 20, PLACE)


@given(st.floats(1e-6, 1))
@settings(deadline=None)
def test_the_learning_rate_rises_then_falls(progress):
    assert 0 <= schedule(progress) <= 1
    assert schedule(1) == pytest.approx(0, abs=1e-12)
    if progress < 0.1:
        assert schedule(progress) == pytest.approx(10 * progress)
    else:  # the cosine as its half-angle form
        expected = math.cos(math.pi / 2 * (progress - 0.1) / 0.9) ** 2
        assert schedule(progress) == pytest.approx(expected)


def test_the_rank_is_of_all_images_in_evaluation_mode():
    """Against singular values of the features, one image at a time."""
    encoder = Encoder(load_model("tiny", Model(**RESNET))).train()
    pixels = images(40).pixels
    rank = rank_of(encoder, pixels)
    assert encoder.training
    encoder.eval()
    with torch.inference_mode():
        rows = torch.cat([encoder(pixels[i : i + 1].float() / 255) for i in range(40)]).double()
    share = np.linalg.svd(rows.numpy(), compute_uv=False)
    share = share / share.sum()
    assert rank.rankme == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-2)
    assert rank.width == rows.shape[1]


def test_a_collapsed_network_is_seen():
    """One whose norms give every image the same features."""
    encoder = Encoder(load_model("tiny", Model(**RESNET)))
    assert not rank_of(encoder, images().pixels).collapsed
    for name, parameter in encoder.backbone.named_parameters():
        if parameter.ndim == 1:
            nn.init.constant_(parameter, 1.0 if name.endswith("bias") else 0.0)
    rank = rank_of(encoder, images().pixels)
    assert rank.rankme == pytest.approx(1, abs=1e-3)
    assert rank.collapsed


@pytest.mark.parametrize("rank", [1.0, 1.4, float("nan")])
def test_a_rank_of_next_to_nothing_is_collapsed(rank):
    assert Rank(rank, 8, 1000).collapsed
    assert not Rank(30.0, 64, 1000).collapsed
    assert Rank(2.9, 100, 1000).collapsed
    assert not Rank(2.9, 100, 20).collapsed  # twenty images allow no more than 20
