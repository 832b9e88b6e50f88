"""Layouts that renumber blocks, or name everything otherwise: mapped as declared, or refused."""

from __future__ import annotations

import re

import pytest
import timm
import torch
from safetensors.torch import load_file

from pipeline.models.cards import loading_part
from pipeline.models.checkpoint_files import CheckpointError
from pipeline.models.checkpoints import in_order, state_dict_of
from pipeline.models.networks import load_model
from pipeline.models.settings import Checkpoint, Model

LITE = {
    "strip_prefix": "module.",
    "renumber": {"_blocks.": [1, 2, 2, 3, 3, 4, 1]},
    "rename": {
        # The first block has no expansion.
        "_blocks.0.0._depthwise_conv.": "blocks.0.0.conv_dw.",
        "_blocks.0.0._bn1.": "blocks.0.0.bn1.",
        "_blocks.0.0._project_conv.": "blocks.0.0.conv_pw.",
        "_blocks.0.0._bn2.": "blocks.0.0.bn2.",
        "_blocks.": "blocks.",
        "._expand_conv.": ".conv_pw.",
        "._depthwise_conv.": ".conv_dw.",
        "._project_conv.": ".conv_pwl.",
        "._bn2.": ".bn3.",
        "._bn1.": ".bn2.",
        "._bn0.": ".bn1.",
        "_conv_stem.": "conv_stem.",
        "_conv_head.": "conv_head.",
        "_bn0.": "bn1.",
        "_bn1.": "bn2.",
        "_fc.": "classifier.",
    },
}
"""EfficientNet-Lite0 as its PyTorch authors name it, one list of 16 blocks."""


def original(shared_data) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of the original file, in its order."""
    text = (shared_data / "weights" / "efficientnet_lite0_original_keys.txt").read_text()
    found = re.findall(r"^(\S+) \(([\d, ]*)\)$", text, flags=re.MULTILINE)
    return {key: tuple(int(n) for n in shape.split(",") if n.strip()) for key, shape in found}


@pytest.mark.parametrize(
    "rules", [LITE, {"by_order": True, "drop": ["_fc."]}], ids=["names", "order"]
)
def test_efficientnet_lite_from_its_original_names(rules, shared_data, tmp_path):
    """Two ways that know nothing of each other, and the file that others made by a third."""
    keys = original(shared_data)
    ready = shared_data / "weights" / "efficientnet_lite0_in1k.safetensors"
    tensors = load_file(ready)
    network = timm.create_model("tf_efficientnet_lite0")
    assert [tuple(v.shape) for v in network.state_dict().values()] == list(keys.values())
    named = {key: tensors[own] for key, own in zip(keys, network.state_dict(), strict=True)}
    torch.save(named, tmp_path / "lite.pth")
    entry = {"architecture": "tf_efficientnet_lite0"}
    one = load_model("x", Model(**entry, weights=str(ready)))
    other = load_model("x", Model(**entry, weights=str(tmp_path / "lite.pth"), checkpoint=rules))
    assert other.weights_digest == one.weights_digest


def test_blocks_are_counted_through_the_stages():
    state = {f"module._blocks.{n}._bn0.weight": torch.full((1,), float(n)) for n in range(16)}
    found = state_dict_of(state, Checkpoint(**LITE), "here")
    stages = [(s, b) for s, length in enumerate([1, 2, 2, 3, 3, 4, 1]) for b in range(length)]
    assert list(found) == [f"blocks.{s}.{b}.bn1.weight" for s, b in stages]
    assert [int(v) for v in found.values()] == list(range(16))
    state["module._blocks.16._bn0.weight"] = torch.zeros(1)
    with pytest.raises(CheckpointError, match=r"more blocks than the stages have") as caught:
        state_dict_of(state, Checkpoint(**LITE), "here")
    assert "16 blocks _blocks.*, in 7 stages" in str(caught.value)


def test_order_is_refused_where_a_shape_or_a_count_differs():
    network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    state = {f"x{i}": v for i, v in enumerate(network.state_dict().values())}
    assert list(in_order(state, network, "here")) == list(network.state_dict())
    without = {f"x{i}": v for i, v in enumerate(state.values()) if v.ndim}
    assert len(in_order(without, network, "here")) == 6
    for wrong, words in (
        ({**without, "more": torch.ones(1)}, "more (1,)"),
        ({k: v for k, v in without.items() if k != "x5"}, "1.running_var (3,)"),
        ({**without, "x1": torch.ones(4)}, "x1 (4,)"),
    ):
        with pytest.raises(CheckpointError) as caught:
            in_order(wrong, network, "here")
        assert words in str(caught.value)


def test_rules_that_are_not_used_are_in_no_record():
    plain = Model(architecture="test_vit", weights="x.pth", checkpoint={"entry": "model"})
    assert loading_part(plain)["checkpoint"].keys() == {
        "entry", "strip_prefix", "rename", "drop", "missing", "share",
    }  # fmt: skip
    assert "by_order" in loading_part(Model(zoo="byol_resnet50"))["checkpoint"]
    again = Model.model_validate(Model(zoo="byol_resnet50").model_dump())
    assert again.checkpoint.by_order
