import numpy as np
import pytest
import timm
import torch

from cache.errors import ProbelineError
from pipeline.embeddings.forward import Forward
from pipeline.machine.devices import this_machine
from pipeline.models.features import compute_features
from pipeline.models.networks import load_model
from pipeline.models.settings import Model

IMAGES = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def network(name="test_vit", **arguments):
    torch.manual_seed(0)
    return timm.create_model(name, num_classes=0, **arguments).eval()


@torch.inference_mode()
def test_features_of_a_transformer_are_those_that_timm_gives():
    vit = network(img_size=32)
    kinds = ["pooled", "cls", "mean_patch", "cls+mean_patch", "last4_cls"]
    found = compute_features(vit, IMAGES, kinds)
    tokens = vit.forward_features(IMAGES)
    torch.testing.assert_close(found["pooled"], vit(IMAGES))
    torch.testing.assert_close(found["cls"], tokens[:, 0])
    torch.testing.assert_close(found["mean_patch"], tokens[:, 1:].mean(1))
    assert torch.equal(found["cls+mean_patch"], torch.cat([found["cls"], found["mean_patch"]], 1))
    blocks = vit.get_intermediate_layers(IMAGES, n=4, return_prefix_tokens=True, norm=True)
    torch.testing.assert_close(found["last4_cls"], torch.cat([p[:, 0] for _, p in blocks], 1))


@torch.inference_mode()
@pytest.mark.parametrize(
    ("name", "axes"), [("test_resnet", (2, 3)), ("test_convnext", (2, 3)), ("swin_tiny", (1, 2))]
)
def test_mean_patch_of_a_feature_map_is_its_mean_over_positions(name, axes):
    if name == "swin_tiny":  # channels last, the smallest that timm has of its kind
        net = network(
            "swin_tiny_patch4_window7_224",
            img_size=32,
            window_size=1,
            embed_dim=8,
            depths=(1, 1),
            num_heads=(1, 1),
        )
    else:
        net = network(name)
    found = compute_features(net, IMAGES, ["mean_patch"])["mean_patch"]
    torch.testing.assert_close(found, net.forward_features(IMAGES).mean(axes))
    assert found.shape[1] == net.num_features


@pytest.mark.parametrize("kind", ["cls", "cls+mean_patch", "last4_cls"])
def test_a_network_without_class_token_is_refused(kind):
    with pytest.raises(ProbelineError, match="no class token"):
        compute_features(network("test_resnet"), IMAGES, [kind])


def test_the_layer_that_first_puts_out_nan_is_named(quiet_machine):
    entry = Model(
        architecture="test_vit", weights="random(0)", arguments={"img_size": 32}, input_size=32
    )
    model = load_model("tiny", entry)
    with torch.no_grad():
        model.backbone.blocks[2].mlp.fc2.bias[0] = float("nan")
    forward = Forward(model, this_machine())
    layer = forward.first_layer_not_finite(np.zeros((32, 32, 3), np.uint8))
    assert layer == "blocks.2.mlp.fc2"


def test_models_that_differ_in_their_feature_share_every_forward_pass(project, monkeypatch):
    calls = []
    run = Forward._run
    monkeypatch.setattr(
        Forward, "_run", lambda self, pixels, kinds: calls.append(kinds) or run(self, pixels, kinds)
    )
    tiny = project.params["models"]["tiny"]
    project.params["models"]["classes"] = {**tiny, "feature": "cls"}
    project.params["models"]["both"] = {**tiny, "feature": "cls+mean_patch"}
    project.params["extraction"] = {"storage": "float32"}
    project.prepare()
    assert [sorted(kinds) for kinds in calls] == [["cls", "cls+mean_patch", "pooled"]] * len(calls)
    assert len(calls) == 2  # one batch for each split
    project.run("extract", "pets").succeeded("3 cached, 0 computed")


def test_a_feature_that_the_model_lacks_names_the_model(project):
    project.params["models"]["tiny"] = {
        "architecture": "test_resnet",
        "weights": "random(0)",
        "input_size": 32,
        "feature": "cls",
    }
    project.write()
    project.run("index", "pets").succeeded()
    project.run("extract", "pets").refused("models.tiny.feature", "no class token")
