"""Recipes, learning rates and layer-wise decay against their published values."""

from __future__ import annotations

import math

import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.finetuning.layer_decay import layer_ids, parameter_groups
from pipeline.finetuning.recipes import PRESETS, Recipe, recipe_of, run_key
from pipeline.finetuning.schedule import factor
from pipeline.study.finetune import Run
from pipeline.study.study_text import StudyError


def recipe(name: str, share: float = 1.0, transformer: bool = False, **changes) -> Recipe:
    return recipe_of(Run(recipe=name, **changes), share=share, transformer=transformer)


PUBLISHED = [  # recipe, share, backbone's and head's rate at 256 images, epochs, warm-up
    ("sgd", 1.0, 0.1, 0.1, 100, 5),
    ("sgd_byol2", 0.1, 0.1, 0.1, 30, 0),
    ("sgd_byol2", 0.01, 0.1, 0.1, 30, 0),
    ("sgd_swav", 0.1, 0.01, 0.2, 20, 0),
    ("sgd_swav", 0.01, 0.02, 5.0, 20, 0),
    ("sgd_byol1", 0.1, 0.01, 0.01, 30, 0),
    ("sgd_barlowtwins", 0.1, 0.005, 0.5, 20, 0),  # the published code has the two swapped
]


@pytest.mark.parametrize("whose", ["sgd", "paper"])
@pytest.mark.parametrize(("name", "share", "rate", "head", "epochs", "warmup"), PUBLISHED)
def test_presets_of_the_study(name, share, rate, head, epochs, warmup, whose):
    name = name.replace("sgd", whose)
    found = recipe(name, share)
    assert (found.learning_rate, found.head_learning_rate) == (rate, head)
    assert (found.epochs, found.warmup_epochs) == (epochs, warmup)
    assert (found.optimizer, found.batch_size, found.clip) == ("sgd", 256, 0.5)
    assert (found.weight_decay, found.mixup, found.cutmix, found.ema) == (0, 0, 0, 0)
    assert (found.layer_decay, found.drop_path, found.label_smoothing) == (1, 0, 0)
    vit = recipe(name, share, transformer=True)
    assert (vit.layer_decay, vit.drop_path, vit.label_smoothing) == (0.65, 0.2, 0.1)


def test_what_a_run_names_goes_before_its_recipe():
    own = {"epochs": 3, "clip": 2.0, "layer_decay": 1.0, "learning_rate": 7.0, "mixup": 0.0}
    found = recipe("sgd_swav", 0.01, transformer=True, **own)
    assert {name: getattr(found, name) for name in own} == own
    assert found.head_learning_rate == 5.0
    assert found.drop_path == 0.2


@pytest.mark.parametrize("name", PRESETS)
def test_a_value_that_is_the_recipes_own_changes_no_key(name):
    own = {"epochs": PRESETS[name].epochs, "clip": PRESETS[name].clip}
    assert run_key(Run(recipe=name)) == run_key(Run(recipe=name, **own))


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 9}, {"fraction": 0.2}, {"shots": 3}, {"fraction": 0.1, "draw": 1},
        {"train": "lora"}, {"train": "lora", "lora_rank": 3}, {"flip": False}, {"view_area": 0.5},
        {"selection": "last"}, {"precision": "bfloat16"}, {"batch_norm": True},
        {"warmup_epochs": 1}, {"batch_size": 8}, {"learning_rate": 0.3},
        {"head_learning_rate": 0.3}, {"weight_decay": 0.3}, {"clip": 0.3}, {"layer_decay": 0.3},
        {"drop_path": 0.3}, {"label_smoothing": 0.3}, {"mixup": 0.3}, {"cutmix": 0.3}, {"ema": 0.3},
    ],
)  # fmt: skip
def test_every_setting_of_a_run_changes_its_key(change):
    keys = [run_key(Run(recipe="sgd", **more)) for more in ({}, change)]
    assert keys[0] != keys[1]
    assert set(change) <= set(Run.model_fields)


def test_the_study_scales_its_rate_by_the_batch_over_256():
    assert recipe("sgd", batch_size=64).scaled(0.1) == pytest.approx(0.025)
    assert recipe("sgd").scaled(0.1) == 0.1
    assert recipe("sgd", batch_size=1024).scaled(0.1) == pytest.approx(0.4)


@pytest.mark.parametrize("epoch", range(100))
def test_the_learning_rate_of_every_epoch_is_the_published_one(epoch):
    """By the cosine's half-angle form; five epochs of sixths, then down to 0.0003 of the rate."""
    if epoch < 5:
        expected = [1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6][epoch]
    else:
        expected = math.cos(math.pi / 2 * (epoch - 5) / 95) ** 2
    assert factor(epoch, 100, 5) == pytest.approx(expected, rel=1e-9)


@given(st.integers(1, 300), st.integers(0, 20))
def test_the_schedule_agrees_with_pytorchs_own(epochs, warmup):
    if warmup >= epochs:
        rising = [factor(e, epochs, warmup) for e in range(epochs)]
        assert rising == [(e + 1) / (warmup + 1) for e in range(epochs)]
        return
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs - warmup)
    assert factor(0, epochs, warmup) > 0
    for epoch in range(warmup, epochs):
        rate = optimizer.param_groups[0]["lr"]
        assert factor(epoch, epochs, warmup) == pytest.approx(rate, abs=1e-6)
        optimizer.step()
        cosine.step()


NETWORKS = {
    "vit_tiny_patch16_224": 12, "vit_base_patch16_rope_reg1_gap_256": 12, "test_vit": 6,
    "beit_base_patch16_224": 12, "resnet18": None, "resnet50": None, "test_resnet": None,
    "convnext_atto": None, "test_convnext": None, "swin_tiny_patch4_window7_224": 12,
    "swinv2_cr_tiny_224": 12, "mobilenetv3_small_050": None, "efficientnet_b0": None,
    "eva02_tiny_patch14_224": 12, "densenet121": None, "poolformer_s12": None,
    "xcit_nano_12_p16_224": None, "regnetx_002": None, "vgg11": None, "hiera_tiny_224": None,
}  # fmt: skip
"""Architectures of timm, and the number of blocks that are layers, where that is one number."""


def made(name: str) -> torch.nn.Module:
    with torch.device("meta"):
        return timm.create_model(name, num_classes=0)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("optimizer", ["sgd", "modern"])
def test_groups_hold_every_parameter_exactly_once(name, optimizer):
    backbone = made(name)
    head = torch.nn.Linear(4, 3)
    rules = recipe(optimizer, transformer=True)
    groups = parameter_groups(backbone, head, rules)
    grouped = [id(p) for group in groups for p in group["params"]]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == {id(p) for p in [*backbone.parameters(), *head.parameters()]}
    ids = layer_ids(backbone)
    assert set(ids.values()) == set(range(max(ids.values()) + 1))
    rates = {id(p): group["base"] for group in groups for p in group["params"]}
    top = max(ids.values())
    for parameter_name, parameter in backbone.named_parameters():
        expected = rules.learning_rate * rules.layer_decay ** (top + 1 - ids[parameter_name])
        assert rates[id(parameter)] == pytest.approx(expected)
    assert {rates[id(p)] for p in head.parameters()} == {rules.head_learning_rate}


@pytest.mark.parametrize("name", [name for name, blocks in NETWORKS.items() if blocks])
def test_the_layers_of_a_transformer_are_its_blocks(name):
    """Stem, blocks one by one, norms with the last: as many layers as blocks, and the stem."""
    assert max(layer_ids(made(name)).values()) == NETWORKS[name]


PUBLISHED_VIT = {"cls_token": 13, "pos_embed": 13, "patch_embed": 13, "norm": 1, "head": 0} | {
    f"blocks.{block}": 12 - block for block in range(12)
}
"""ViT-B/16 fine-tuned by the published study: the power of 0.65 by which each rate is scaled."""


def test_the_ids_and_rates_of_a_vit_are_the_published_ones():
    """The paper's, for 12 blocks: embeddings 0.65^13, block k 0.65^(12-k), norm 0.65, head 1."""
    backbone, head = made("vit_base_patch16_224"), torch.nn.ModuleDict()
    head["head"] = torch.nn.Linear(768, 10)
    ids = layer_ids(backbone)
    groups = parameter_groups(backbone, head, recipe("sgd", transformer=True))
    rate_of = {id(p): g["base"] / 0.1 for g in groups for p in g["params"]}
    seen = set()
    for name, parameter in [*backbone.named_parameters(), *head.named_parameters()]:
        part = ".".join(name.split(".")[: 2 if name.startswith("blocks") else 1])
        seen.add(part)
        assert rate_of[id(parameter)] == pytest.approx(0.65 ** PUBLISHED_VIT[part]), name
        if part != "head":
            assert ids[name] == 13 - PUBLISHED_VIT[part], name
    assert seen == set(PUBLISHED_VIT)
    assert min(rate_of.values()) == pytest.approx(0.0037, rel=1e-2)


def test_vectors_tokens_and_positions_have_no_weight_decay():
    backbone = made("vit_tiny_patch16_224")
    head = torch.nn.Linear(192, 10)
    groups = parameter_groups(backbone, head, recipe("modern"))
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    exempt = {"cls_token", "pos_embed"}
    for name, parameter in [*backbone.named_parameters(), *head.named_parameters()]:
        plain = parameter.ndim == 1 or name in exempt
        assert decay[id(parameter)] == (0.0 if plain else 0.05), name


def test_a_pattern_of_names_without_weight_decay_is_heeded():
    """XCiT names ``pos_embed.*``."""
    backbone = made("xcit_nano_12_p16_224")
    groups = parameter_groups(backbone, torch.nn.Linear(4, 3), recipe("modern"))
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert decay[id(backbone.get_parameter("pos_embed.token_projection.weight"))] == 0.0


def test_frozen_parameters_are_in_no_group():
    backbone = made("test_resnet")
    for name, parameter in backbone.named_parameters():
        parameter.requires_grad_(name.startswith("layer4"))
    groups = parameter_groups(backbone, torch.nn.Linear(4, 2), recipe("sgd"))
    count = sum(len(group["params"]) for group in groups)
    assert count == 2 + sum(name.startswith("layer4") for name, _ in backbone.named_parameters())


BAD_RUNS = {
    "both budgets": ({"shots": 1, "fraction": 0.1}, "at most one of"),
    "a draw of everything": ({"draw": 1}, "one draw"),
    "a wrong key": ({"epoch": 3}, "did you mean `epochs`?"),
    "a wrong recipe": ({"recipe": "studi"}, "'modern'"),
    "a former name": ({"recipe": "study"}, "`sgd`, which is the same"),
    "another former name": ({"recipe": "study_swav"}, "or `paper_swav`, as published"),
    "a share of nothing": ({"fraction": 0.0}, "greater than 0"),
    "text for a number": ({"batch_size": "64"}, "quotes"),
}


@pytest.mark.parametrize("what", BAD_RUNS)
def test_runs_that_can_not_be(what, project):
    from pipeline.study.params import load_study

    change, words = BAD_RUNS[what]
    project.params["finetune"] = {"runs": {"full": {"recipe": "sgd", **change}}}
    project.write()
    with pytest.raises(StudyError) as caught:
        load_study()
    assert words in str(caught.value)
    assert "finetune.runs.full" in str(caught.value)
