"""The zoo: every layout of the published checkpoints, read back exactly; entries in studies."""

from __future__ import annotations

import beit_reference
import numpy as np
import published
import pytest
import timm
import torch
from projects import REPOSITORY

from cache.errors import ProbelineError
from pipeline.datasets.known import corpora, known_names, with_contents
from pipeline.models.checkpoint_files import CheckpointError
from pipeline.models.features import compute_features
from pipeline.models.networks import load_model
from pipeline.models.settings import Model
from pipeline.models.zoo import zoo_model, zoo_names
from pipeline.study.params import load_study

THE_STUDY = [
    "jigsaw_resnet50",
    "rotnet_resnet50",
    "npid_resnet50",
    "sela_v2_resnet50",
    "npid_plusplus_resnet50",
    "pirl_resnet50",
    "clusterfit_resnet50",
    "deepcluster_v2_resnet50",
    "swav_resnet50",
    "simclr_resnet50",
    "moco_v2_resnet50",
    "simsiam_resnet50",
    "byol_resnet50",
    "dino_resnet50",
    "barlowtwins_resnet50",
    "densecl_resnet50",
    "dino_vitb16",
    "ibot_vitb16",
    "mocov3_resnet50",
    "mocov3_vitb16",
    "mae_vitb16",
    "maskfeat_vitb16",
    "beit_v2_vitb16",
    "milan_vitb16",
    "eva_vitb16",
    "pixmim_vitb16",
]

SMALL = {
    "resnet50": {"layers": [1, 1, 1, 1], "channels": [8, 8, 16, 16], "stem_width": 8},
    "vit_base_patch16_224": {"embed_dim": 24, "depth": 2, "num_heads": 2},
    "vit_small_patch16_224": {"embed_dim": 24, "depth": 2, "num_heads": 2},
    "beitv2_base_patch16_224": {"embed_dim": 24, "depth": 2, "num_heads": 2},
}
"""Networks with the keys of the large ones: what a rule maps is names."""


def small(name: str) -> Model:
    """The zoo's entry on a small network of the same architecture."""
    entry = Model(zoo=name)
    return entry.model_copy(update={"arguments": SMALL[entry.architecture]})


def reference(entry: Model) -> torch.nn.Module:
    """A network with weights that no default initialisation gives."""
    torch.manual_seed(1)
    network = timm.create_model(entry.architecture, num_classes=0, **entry.arguments).eval()
    with torch.no_grad():
        for value in network.state_dict().values():
            if value.is_floating_point():
                value.copy_(torch.rand_like(value) * 0.2 + 0.05)
        tables = [v for k, v in network.state_dict().items() if "relative_position_bias" in k]
        for table in tables:
            if table.is_floating_point():
                table.copy_(tables[0])
    return network


def test_every_file_of_the_paper_is_described():
    """But BEiT v2's, which has a network of its own to compare with."""
    assert {*published.descriptions(), "beit_v2_vitb16"} >= set(THE_STUDY)
    assert all(said["source"] for said in published.descriptions().values())


@pytest.mark.parametrize("name", published.descriptions())
def test_published_layouts_give_the_models_own_features(name, tmp_path):
    entry = small(name)
    network = reference(entry)
    path = tmp_path / "weights.pth"
    published.write(name, network.state_dict(), path)
    local = entry.model_copy(update={"weights": str(path)})
    loaded = load_model(name, local)
    images = torch.rand(2, 3, 224, 224)
    with torch.inference_mode():
        wanted = network.forward_head(network.forward_features(images), pre_logits=True)
        found = loaded.backbone.forward_head(
            loaded.backbone.forward_features(images), pre_logits=True
        )
    assert torch.equal(found, wanted)
    assert not loaded.backbone.training  # BatchNorm really frozen
    assert not any(p.requires_grad for p in loaded.backbone.parameters())


def test_beit_v2_is_the_authors_network(tmp_path):
    state = beit_reference.pretraining_state(5)
    path = tmp_path / "weights.pth"
    torch.save(beit_reference.checkpoint(state), path)
    arguments = {
        "embed_dim": beit_reference.WIDTH,
        "depth": beit_reference.DEPTH,
        "num_heads": beit_reference.HEADS,
    }
    entry = Model(zoo="beit_v2_vitb16", weights=str(path), arguments=arguments)
    torch.manual_seed(1)
    images = torch.randn(3, 3, 224, 224)
    with torch.inference_mode():
        loaded = load_model("x", entry)
        found = compute_features(loaded.backbone, images, ["pooled"])["pooled"]
        wanted = beit_reference.pooled(state, images)
    assert wanted.std() > 0.3
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_a_surplus_key_is_refused(tmp_path):
    entry = small("dino_resnet50")
    path = tmp_path / "weights.pth"
    state = reference(entry).state_dict()
    torch.save({**state, "surprise.weight": torch.ones(2)}, path)
    with pytest.raises(CheckpointError, match=r"surplus: surprise\.weight"):
        load_model("x", entry.model_copy(update={"weights": str(path)}))


def test_the_26_models_of_the_study():
    entries = {name: Model(zoo=name) for name in THE_STUDY}
    assert sum(e.backbone == "resnet50" for e in entries.values()) == 17
    assert sum(e.backbone == "vit_b16" for e in entries.values()) == 9
    assert sum(e.objective == "generative" for e in entries.values()) == 6
    assert all(e.supervision == "self_supervised" and e.is_remote for e in entries.values())
    assert all(
        (e.input_size, e.crop, e.interpolation) == (224, 0.875, "bilinear")
        for e in entries.values()
    )
    assert len({e.weights_file for e in entries.values()}) == 26
    digits = [(e.source.sha256, e.weights) for e in entries.values() if e.source.sha256]
    assert all(digest in address for digest, address in digits)


PIXELS = ("input_size", "crop", "crop_mode", "interpolation")


def pixels(entry: Model) -> tuple:
    return tuple(getattr(entry, field) for field in PIXELS)


def test_the_paper_and_ones_own_images_compare_like_with_like():
    """The same pixels for all models: else a difference may be one of crops and filters."""
    for name, size in (("paper", 26), ("own_images", 8)):
        models = load_study(REPOSITORY / "studies" / f"{name}.yaml").models
        assert len(models) == size
        assert {pixels(entry) for entry in models.values()} == {(224, 0.875, "center", "bilinear")}
        assert {entry.preprocessing for entry in models.values()} == {"common"}


@pytest.mark.parametrize("name", zoo_names())
def test_every_preprocessing_of_every_entry(name):
    known = zoo_model(name)
    assert known.entry["preprocessing"] in ("authors", "timm", "common")
    common = Model(zoo=name, preprocessing="common")
    assert pixels(common) == (224, 0.875, "center", "bilinear")
    assert pixels(Model(zoo=name, preprocessing="timm")) == (None,) * 4
    if "authors_source" not in known.facts:
        assert name.startswith("random_") or name == "eva02_base"  # nobody's, and not looked up
        with pytest.raises(ValueError, match="nobody looked up"):
            Model(zoo=name, preprocessing="authors")
        return
    authors = Model(zoo=name, preprocessing="authors")
    told = ", ".join(f"{f} {v}" for f, v in zip(PIXELS, pixels(authors), strict=True))
    assert sorted(told.split(", ")) == sorted(known.facts["authors_transform"].split(", "))
    assert known.facts["authors_feature"]
    assert authors.mean == common.mean
    assert authors.feature == common.feature


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # read in the authors' own code; resized short side, crop, filter
        ("dinov2_vits14", (256, 224, "bicubic")),
        ("dinov3_vitb16", (256, 224, "bicubic")),
        ("dino_vitb16", (256, 224, "bicubic")),
        ("mae_vitb16", (256, 224, "bicubic")),
        ("byol_resnet50", (256, 224, "bilinear")),
        ("swav_resnet50", (256, 224, "bilinear")),
        ("deit_vits16", (256, 224, "bicubic")),
        ("clip_vitb16", (224, 224, "bicubic")),
    ],
)
def test_what_authors_do(name, expected):
    entry = Model(zoo=name, preprocessing="authors")
    assert (entry.input_size / entry.crop, entry.input_size, entry.interpolation) == expected


def test_a_network_is_told_an_input_size_that_is_not_its_own():
    entry = Model(zoo="dinov2_vits14", weights="random(0)")
    assert (entry.preprocessing, entry.input_size) == ("authors", 224)
    assert load_model("x", entry).transform.geometry.size == 224
    assert Model(zoo="dinov2_vits14", preprocessing="timm").arguments == {}


def test_a_preprocessing_without_the_zoo():
    plain = {"architecture": "test_vit", "weights": "random(0)"}
    assert pixels(Model(**plain, preprocessing="common")) == (224, 0.875, "center", "bilinear")
    assert Model(**plain).preprocessing == "own"
    with pytest.raises(ValueError, match="no `preprocessing: authors` without `zoo`"):
        Model(**plain, preprocessing="authors")
    changed = Model(zoo="dino_vits16", crop=1.0)
    assert (changed.preprocessing, changed.crop) == ("own", 1.0)
    for entry in (changed, Model(zoo="clip_vitb16", preprocessing="authors")):
        assert Model.model_validate(entry.model_dump()) == entry


def test_what_models_saw_is_known_by_name():
    named = {*known_names(), *corpora()}
    for name in zoo_names():
        seen = Model(zoo=name).trained_on
        assert seen is not None
        assert set(seen) <= named, name
        assert bool(seen) != name.startswith("random_")
    for name in THE_STUDY:  # and through the CLIP models that made the targets
        clip = name in ("beit_v2_vitb16", "milan_vitb16", "eva_vitb16")
        assert Model(zoo=name).trained_on == ["imagenet"] + ["wit400m"] * clip
        assert bool(zoo_model(name).facts.get("clip_target")) == clip
    assert Model(zoo="clip_vitb16").trained_on == ["wit400m"]
    assert Model(zoo="dino_vits16", trained_on=[]).trained_on == []
    assert Model(architecture="test_vit", weights="random(0)").trained_on is None


def test_corpora_contain_known_data_sets():
    assert with_contents(["lvd142m", "cub"]) == {"lvd142m", "cub", "imagenet"}
    assert with_contents(["webli"]) == {"webli"}
    inside = with_contents(corpora()) - set(corpora())
    assert inside <= set(known_names())
    assert not set(corpora()) & set(known_names())


def test_every_entry_is_a_usable_model():
    known = set(timm.list_models(pretrained=True)) | set(timm.list_models())
    for name in zoo_names():
        entry = Model(zoo=name)
        assert entry.architecture in known or entry.architecture.split(".")[0] in known
        assert entry.family != "unknown"


@pytest.mark.parametrize("backbone", ["resnet50", "vit_s16", "vit_b16"])
def test_facts_of_backbones_are_true(backbone):
    known = zoo_model(
        {"resnet50": "random_resnet50"}.get(backbone, f"random_{backbone.replace('_', '')}")
    )
    with torch.device("meta"):
        network = timm.create_model(known.entry["architecture"], num_classes=0)
    assert sum(p.numel() for p in network.parameters()) == known.facts["parameters"]


def test_a_study_overrides_what_it_likes():
    entry = Model(zoo="dino_vitb16", feature="cls+mean_patch", crop=1.0)
    assert (entry.feature, entry.crop, entry.method) == ("cls+mean_patch", 1.0, "dino")


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(ValueError, match="did you mean dino_vitb16"):
        Model(zoo="dino_vitb_16")


def test_numbers_are_all_that_an_array_may_hold(tmp_path):
    """An array of objects is a pickle of anything."""

    class Harm:
        def __reduce__(self):
            return (print, ("harm",))

    path = tmp_path / "weights.pth"
    arrays = {"conv1.weight": np.array([Harm()], dtype=object)}
    torch.save({"model_state_dict": arrays}, path)
    with pytest.raises(ProbelineError):
        load_model("x", small("npid_resnet50").model_copy(update={"weights": str(path)}))
