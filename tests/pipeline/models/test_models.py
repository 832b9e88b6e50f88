"""Networks: what is loaded is what the study names, the same every time, and left as it was."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from projects import RESNET, VIT
from safetensors.torch import save_file
from torch import nn

from cache.errors import ProbelineError
from pipeline.models.check import check_model
from pipeline.models.networks import digest_weights, load_model
from pipeline.models.settings import Model


def load(**entry):
    return load_model("tiny", Model(**{**VIT, **entry}))


def refused(**entry) -> str:
    with pytest.raises(ProbelineError) as caught:
        load(**entry)
    assert caught.value.place.startswith("params.yaml: models.tiny")
    assert caught.value.remedy
    return str(caught.value)


@pytest.mark.parametrize("entry", [VIT, RESNET])
def test_a_seed_is_one_set_of_weights(entry):
    seeds = ["random(0)", "random(0)", "random(1)"]
    digests = [load_model("m", Model(**{**entry, "weights": s})).weights_digest for s in seeds]
    assert digests[0] == digests[1] != digests[2]


def test_the_name_does_not_enter_the_weights():
    entry = Model(**VIT)
    assert load_model("a", entry).weights_digest == load_model("b", entry).weights_digest


def test_global_random_states_are_left_alone():
    torch.manual_seed(3)
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002
    states = [torch.get_rng_state().tolist(), random.getstate(), repr(np.random.get_state())]  # noqa: NPY002
    load(weights="random(5)")
    assert states == [
        torch.get_rng_state().tolist(), random.getstate(), repr(np.random.get_state())  # noqa: NPY002
    ]  # fmt: skip
    torch.manual_seed(4)  # nor do they enter: another state, the same weights
    random.seed(4)
    np.random.seed(4)  # noqa: NPY002
    assert load().weights_digest == load().weights_digest


def test_networks_are_in_evaluation_mode():
    model = load_model("tiny", Model(**RESNET))
    networks = [m for m in vars(model).values() if isinstance(m, nn.Module)]
    assert networks
    assert not any(part.training for network in networks for part in network.modules())
    assert not any(p.requires_grad for network in networks for p in network.parameters())


def test_the_digest_sees_every_weight_buffer_name_and_type():
    base = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    digest = digest_weights(base)
    assert digest_weights(base) == digest
    changes = [
        lambda m: m[0].weight.data.view(-1)[3].add_(1e-6),
        lambda m: m[1].running_mean.add_(1e-6),
        lambda m: m[1].num_batches_tracked.add_(1),
        lambda m: m.half(),
        lambda m: m.register_buffer("extra", torch.zeros(())),
    ]
    seen = {digest}
    for change in changes:
        other = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
        other.load_state_dict(base.state_dict())
        change(other)
        seen.add(digest_weights(other))
    assert len(seen) == len(changes) + 1


def test_unknown_architectures_name_the_nearest():
    assert "did you mean resnet50" in refused(architecture="resnet5O", arguments={})
    assert "correct the name" in refused(architecture="qqqqqqqqq", arguments={})


@pytest.mark.parametrize(
    "name",
    ["os:system", "subprocess:run", "timm.nowhere:x", "timm.models:nothing", "timm.:x", ":x"],
)
def test_constructors_come_from_timm_only(name):
    assert "no such constructor" in refused(architecture=name, arguments={})


def test_constructors_by_path_work():
    by_name = load()
    by_path = load(architecture="timm.models.vision_transformer:test_vit")
    assert by_path.weights_digest == by_name.weights_digest


@pytest.mark.parametrize("arguments", [{"no_such": 1}, {"img_size": -5}, {"depth": "two"}])
def test_wrong_arguments_are_explained(arguments):
    assert "could not be built" in refused(arguments=arguments)


def test_an_input_size_that_the_network_refuses_is_explained():
    message = refused(architecture="vit_tiny_patch16_224", input_size=32, arguments={})
    assert "32 x 32" in message
    assert "input_size" in message


def test_overrides_reach_the_transform_and_the_rest_is_the_models_own():
    own = load(input_size=None, arguments={}).transform
    assert own.geometry.size == 160
    changed = load(
        mean=[0, 0, 0.5], std=[1, 0.5, 0.25], interpolation="nearest", crop=0.5
    ).transform
    assert changed.mean == (0.0, 0.0, 0.5)
    assert changed.std == (1.0, 0.5, 0.25)
    assert (changed.geometry.size, changed.geometry.crop) == (32, 0.5)
    assert changed.geometry.interpolation == "nearest"


def test_pretrained_weights_out_of_reach_are_explained(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    import huggingface_hub.constants as hub

    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path))
    message = refused(weights="pretrained", arguments={}, input_size=None)
    assert "the hub does not give this model" in message
    assert "connect to the network" in message


def test_a_folder_that_is_called_pretrained_does_not_mean_random_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "no such checkpoint" in refused(weights="pretrained/model.pth")
    assert "no such checkpoint" in refused(weights="random(0).pth")


@pytest.mark.parametrize("entry", [VIT, RESNET])
def test_a_check_refuses_weights_that_see_nothing(entry, tmp_path):
    assert "px, weights" in check_model("tiny", Model(**entry))
    state = load_model("tiny", Model(**entry)).backbone.state_dict()
    blind = {key: torch.zeros_like(value) for key, value in state.items()}
    save_file(blind, tmp_path / "blind.safetensors")
    weights = {**entry, "weights": str(tmp_path / "blind.safetensors")}
    with pytest.raises(ProbelineError, match="the same features for different images") as caught:
        check_model("tiny", Model(**weights))
    assert "equal for 4 images" in str(caught.value)
