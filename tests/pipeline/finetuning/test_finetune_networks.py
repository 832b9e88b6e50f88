"""Which parts of a network learn, and that what was asked for reaches every block."""

from __future__ import annotations

import builtins
from pathlib import Path

import numpy as np
import pytest
import torch
from finetune_cases import SMALL, ask, finetuned, furthest, prepare, weights
from projects import RESNET, VIT
from torch.nn import functional

from cache.errors import ProbelineError
from pipeline.finetuning import adapters, training
from pipeline.finetuning.classifier import Classifier, check_drop_path, is_transformer
from pipeline.finetuning.history import Epoch, chosen
from pipeline.finetuning.job import load_for
from pipeline.finetuning.layer_decay import layer_ids
from pipeline.finetuning.optimization import drawing, mixup_of
from pipeline.finetuning.recipes import recipe_of
from pipeline.models.features import compute_features
from pipeline.models.networks import load_model
from pipeline.models.settings import Model
from pipeline.study.finetune import Run

CONVNEXT = {"architecture": "test_convnext", "weights": "random(0)", "input_size": 64}
ENTRIES = {"vit": VIT, "resnet": RESNET, "convnext": CONVNEXT}


def classifier(name: str, **run) -> Classifier:
    model = load_model(name, Model(**ENTRIES[name]))
    return Classifier(model, 3, Run(recipe="sgd", **run), 0, "here")


def images(network: Classifier, count: int = 4) -> torch.Tensor:
    size = network.image_size
    pixels = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    return network.normalised(torch.from_numpy(pixels))


@pytest.mark.parametrize("name", ENTRIES)
@pytest.mark.parametrize("train", ["all", "second_half", "lora", "head"])
def test_a_step_changes_what_learns_and_nothing_else(name, train):
    if (name, train) == ("resnet", "lora"):
        return
    network = classifier(name, train=train).train()
    before = {n: t.clone() for n, t in network.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=1.0)
    functional.cross_entropy(network(images(network)), torch.tensor([0, 1, 2, 0])).backward()
    optimizer.step()
    changed = {n for n, t in network.state_dict().items() if not torch.equal(t, before[n])}
    changed = {n.removeprefix("backbone.") for n in changed if not n.startswith("head.")}
    assert network.head[-1].weight.grad is not None
    if train == "all":
        assert all(p.grad is not None for p in network.backbone.parameters())
        assert changed
    elif train == "head":
        assert not changed
    elif train == "lora":  # the first factor's gradient is zero while the second is
        assert changed
        assert all("lora_B" in n for n in changed)
    else:
        ids = layer_ids(network.backbone)
        half = max(ids.values()) // 2
        learned = {n for n in changed if n in ids}
        assert learned
        assert {ids[n] > half for n in learned} == {True}
        statistics = {n for n in changed if "running" in n}
        assert all(ids[n.rsplit(".", 1)[0] + ".weight"] > half for n in statistics)
        assert bool(statistics) == (name == "resnet")


def test_half_of_a_vits_blocks_learn():
    network = classifier("vit", train="second_half")
    trained = {n for n, p in network.backbone.named_parameters() if p.requires_grad}
    blocks = {n.split(".")[1] for n in trained if n.startswith("blocks.")}
    assert blocks == {"3", "4", "5"}
    assert not {n for n in trained if not n.startswith(("blocks.", "norm."))}


@pytest.mark.parametrize("train", ["all", "second_half", "lora", "head"])
def test_the_untrained_network_computes_the_cached_feature(train):
    """The head's input is the feature of the extraction, and adapters begin as nothing."""
    network = classifier("vit", train=train).eval()
    model = load_model("vit", Model(**VIT))
    with torch.inference_mode():
        expected = compute_features(model.backbone, images(network), ["pooled"])["pooled"]
        expected = network.head(expected)
        assert torch.allclose(network(images(network)), expected, atol=1e-6)


@pytest.mark.parametrize("feature", ["cls", "mean_patch", "cls+mean_patch", "last4_cls"])
def test_any_feature_can_be_the_heads_input(feature):
    model = load_model("vit", Model(**{**VIT, "feature": feature}))
    network = Classifier(model, 3, Run(recipe="sgd"), 0, "here")
    assert network(images(network)).shape == (4, 3)
    assert network.head[-1].in_features == model.columns


def test_adapters_need_linear_layers():
    with pytest.raises(ProbelineError, match="has none") as caught:
        classifier("resnet", train="lora")
    assert "second_half" in caught.value.remedy


def test_adapters_without_their_library_are_refused(monkeypatch):
    monkeypatch.setattr(adapters, "find_spec", lambda _: None)
    with pytest.raises(ProbelineError, match="peft, which is not installed") as caught:
        classifier("vit", train="lora")
    assert "probeline[finetune]" in caught.value.remedy


def test_networks_without_adapters_do_not_import_their_library(monkeypatch):
    real = builtins.__import__

    def no_peft(name, *arguments, **options):
        assert name.split(".")[0] != "peft"
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", no_peft)
    classifier("vit")


def test_a_batch_norm_before_the_head():
    network = classifier("vit", batch_norm=True)
    norm, linear = network.head
    assert (norm.num_features, norm.eps, norm.affine) == (linear.in_features, 1e-5, True)


def test_which_networks_are_vision_transformers():
    assert is_transformer(classifier("vit").backbone)
    assert not is_transformer(classifier("resnet").backbone)
    assert not is_transformer(classifier("convnext").backbone)


BEIT = {"architecture": "beit_base_patch16_224", "arguments": {"img_size": 32, "depth": 3}}
EVA = {"architecture": "eva02_tiny_patch14_224", "arguments": {"img_size": 28, "depth": 3}}


@pytest.mark.parametrize(
    ("entry", "size"), [(VIT, 32), (BEIT, 32), (EVA, 28)], ids=["vit", "beit", "eva"]
)
def test_drop_path_reaches_every_block(entry, size):
    recipe = recipe_of(Run(recipe="sgd"), share=1, transformer=True)
    model = load_for(
        "m", Model(**{**entry, "weights": "random(0)", "input_size": size}), recipe, "x"
    )
    blocks = model.backbone.blocks
    plain = load_model("m", Model(**{**entry, "weights": "random(0)", "input_size": size}))
    assert model.weights_digest == plain.weights_digest
    for number, block in enumerate(blocks):
        rate = recipe.drop_path * number / (len(blocks) - 1)
        probabilities = {m.drop_prob for m in block.modules() if hasattr(m, "drop_prob")}
        assert list(probabilities) == ([pytest.approx(rate)] if number else [])
    check_drop_path(plain.backbone, 0.0, "x")
    with pytest.raises(ProbelineError, match="does not reach block 1 of") as caught:
        check_drop_path(plain.backbone, 0.2, "here")
    assert caught.value.place == "here.drop_path"


def test_an_architecture_without_drop_path_is_refused():
    recipe = recipe_of(Run(recipe="sgd", drop_path=0.2), share=1, transformer=False)
    entry = Model(architecture="vgg11", weights="random(0)", input_size=32)
    with pytest.raises(ProbelineError):
        load_for("m", entry, recipe, "here")


def epoch(number: int, top1: float | None, loss: float | None = 1.0) -> Epoch:
    return Epoch(number, 0.1, 1.0, top1, loss if top1 is not None else None, 1.0)


def test_the_chosen_epoch():
    assert chosen([epoch(1, 0.5), epoch(2, 0.7), epoch(3, 0.6)]) == 2
    assert chosen([epoch(1, 0.7), epoch(2, 0.7, 0.9), epoch(3, 0.7, 0.9)]) == 2
    assert chosen([epoch(1, None), epoch(2, None)]) == 2


def test_random_numbers_are_of_the_seed_and_the_epoch():
    def draws(*what: int) -> tuple[float, float]:
        with drawing(torch.device("cpu"), *what):
            return torch.rand(1).item(), float(np.random.rand())  # noqa: NPY002

    assert draws(0, 1, 0) == draws(0, 1, 0)
    assert len({draws(*what) for what in ((0, 1, 0), (1, 1, 0), (0, 2, 0), (0, 1, 1))}) == 4


def test_mixed_targets_are_smoothed_once_and_sum_to_one():
    recipe = recipe_of(Run(recipe="modern"), share=1, transformer=False)
    mixup = mixup_of(recipe, 5)
    assert mixup is not None
    with drawing(torch.device("cpu"), 0):
        _, targets = mixup(torch.rand(8, 3, 4, 4), torch.arange(8) % 5)
    assert torch.allclose(targets.sum(dim=1), torch.ones(8))
    assert targets.min().item() == pytest.approx(0.1 / 5)
    assert mixup_of(recipe_of(Run(recipe="sgd"), share=1, transformer=False), 5) is None


@pytest.mark.parametrize("model", ["tiny", "net"])
@pytest.mark.parametrize(("recipe", "size"), [("sgd", 8), ("paper", 12)])
def test_the_study_equals_a_plain_loop(recipe, size, model, project, monkeypatch):
    """Weights after three epochs, against PyTorch's own parts and the published formulas.

    As published, 32 images in batches of 12 end with one of 8, whose mean is over 8.
    """
    small = {**SMALL, "recipe": recipe, "batch_size": size}
    prepare(project, small={**small, "label_smoothing": 0.1, "layer_decay": 1.0})
    real, taken = training.Training._step, []

    def step(self, count, pixels, labels, *where):
        taken.append((self._job, pixels.copy(), labels.copy(), self._plain.param_groups[0]["lr"]))
        return real(self, count, pixels, labels, *where)

    monkeypatch.setattr(training.Training, "_step", step)
    kept = Path("kept")
    found = finetuned(model, kept=kept)
    steps = len(taken) // 3
    rates = [0.1 * size / 256 * share for share in (1 / 2, 1, 1 / 2)]
    assert [len(t[2]) for t in taken[:3]] == ([8, 8, 8] if recipe == "sgd" else [12, 12, 8])
    assert [t[3] for t in taken] == pytest.approx(np.repeat(rates, steps).tolist())
    assert [e.learning_rate for e in found.history] == pytest.approx(rates)

    network = taken[0][0].classifier().train()
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0, momentum=0.9)
    for number, (_, pixels, labels, _) in enumerate(taken):
        optimizer.param_groups[0]["lr"] = rates[number // steps]
        optimizer.zero_grad()
        scores = network(network.normalised(torch.from_numpy(pixels)))
        loss = functional.cross_entropy(scores, torch.from_numpy(labels), label_smoothing=0.1)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 0.5)
        optimizer.step()
    expected = {n: t.detach() for n, t in network.named_parameters()}
    assert furthest(expected, weights(kept)) < 1e-5


@pytest.mark.parametrize("train", ["second_half", "lora", "head"])
def test_cheaper_ways_of_training_run_and_count_what_they_train(train, project):
    prepare(project)
    ask(project, small={**SMALL, "recipe": "modern", "train": train, "epochs": 2})
    found = finetuned()
    assert 0 < found.cost["trained"] < found.cost["parameters"]
    assert found.details["train"] == train
    assert np.isfinite(found.outcome.log_probability).all()


def test_lower_precision_is_close(project):
    prepare(project)
    full = finetuned(kept=Path("full"))
    ask(project, small={**SMALL, "precision": "bfloat16"})
    half = finetuned(kept=Path("half"))
    assert half.history[-1].train_loss == pytest.approx(full.history[-1].train_loss, abs=0.05)
    assert half.history[-1].train_loss != full.history[-1].train_loss
