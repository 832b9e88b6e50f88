"""Nothing of a model's image transform is invisible: each part says who gave it."""

from __future__ import annotations

import pytest
import timm
from projects import RESNET, VIT
from timm.models import get_pretrained_cfg

from pipeline.models.settings import Model
from pipeline.models.sizes import network_size
from pipeline.models.transform_origin import in_one_line, not_given, transform_parts

PARTS = {"mean", "std", "crop", "interpolation", "input_size", "crop_mode"}


def origins(**entry) -> dict[str, str]:
    return {part.name: part.origin for part in transform_parts(Model.model_validate(entry))}


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ("own.pth", "timm's default, not given"),
        ("https://example.org/own.pth", "timm's default, not given"),
        ("random(0)", "timm's default, not given"),
        ("pretrained", "recorded with these weights"),
    ],
)
def test_what_is_given_and_what_is_not(weights, says):
    found = origins(architecture="resnet18", weights=weights, mean=[0.5] * 3, crop=0.9)
    assert found.keys() == PARTS
    given = {name for name, origin in found.items() if origin == "given"}
    assert given == {"mean", "crop"}
    assert {found[name] for name in PARTS - given} == {says}


def test_a_hubs_code_brings_no_transform_with_its_weights():
    found = origins(architecture="torchhub:a/b:net@main", weights="pretrained", trust=True)
    assert set(found.values()) == {"timm's default, not given"}


def test_the_zoo_gives_all_and_imported_embeddings_have_none():
    assert set(origins(zoo="dino_vitb16").values()) == {"given"}
    assert origins(architecture="x", weights="imported") == {}


def test_only_a_checkpoint_of_ones_own_is_warned_of():
    for weights in ("random(0)", "pretrained", "imported", "pretrain(mine)"):
        assert not_given(Model(architecture="resnet18", weights=weights)) == ()
    own = Model(architecture="resnet18", weights="own.pth", std=[0.2] * 3, interpolation="bicubic")
    assert not_given(own) == ("mean", "crop")
    assert not_given(Model.model_validate({"zoo": "swav_resnet50"})) == ()


def test_one_line_holds_values_and_origins():
    entry = Model(architecture="resnet18", weights="own.pth", mean=[0.5, 0.25, 0.125])
    line = in_one_line(
        transform_parts(
            entry,
            {"size": 224, "crop": 0.875, "interpolation": "bilinear", "mode": "center",
             "mean": [0.5, 0.25, 0.125], "std": [0.229, 0.224, 0.225]},
        )
    )  # fmt: skip
    assert line == (
        "mean 0.5 0.25 0.125 (given); std 0.229 0.224 0.225, crop 0.875, interpolation bilinear, "
        "input size 224, crop mode center (timm's default, not given)"
    )


@pytest.mark.parametrize("architecture", ["resnet50", "vit_base_patch16_224", "mobilenetv2_100"])
def test_a_networks_size_is_known_without_building_it(architecture):
    """Parameters by timm's own network; multiply-adds as their papers give them."""
    found = network_size("net", Model(architecture=architecture, weights="own.pth"))
    network = timm.create_model(architecture, num_classes=0)
    assert found.parameters == sum(p.numel() for p in network.parameters())
    assert found.columns == network.num_features
    published = {"resnet50": 4.1, "vit_base_patch16_224": 17.6, "mobilenetv2_100": 0.3}
    assert found.gmacs == pytest.approx(published[architecture], rel=0.02)
    assert found.is_convolutional == (architecture != "vit_base_patch16_224")
    config = get_pretrained_cfg(architecture)
    assert found.transform["mean"] == list(config.mean)
    assert found.transform["interpolation"] == config.interpolation


def test_models_show_and_check_print_it(project):
    own = {**VIT, "weights": "own.safetensors", "std": [0.5, 0.5, 0.5]}
    project.params["models"] |= {"own": own, "net": {**RESNET, "crop": 0.5}}
    project.write()
    said = project.run("cli", "models", "show", "own").succeeded("warning: own is a checkpoint")
    lines = {line.split("  ")[0].strip(): line for line in said.splitlines()}
    assert lines["std"].endswith("0.5 0.5 0.5 (given)")
    assert lines["mean"].endswith("(timm's default, not given)")
    assert "not known" not in said  # a look at the network says what the default is
    assert "mean, crop and interpolation are timm's default" in said
    said = project.run("cli", "models", "check", "net").succeeded("crop 0.5", "(given)")
    assert "mean 0.485 0.456 0.406" in said or "mean 0.5 0.5 0.5" in said
    assert "warning" not in said
