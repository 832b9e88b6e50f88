"""Pre-training methods: what each one sees, what it changes, and what it keeps."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from projects import RESNET, VIT

from cache.errors import ProbelineError
from pipeline.models.networks import load_model
from pipeline.models.settings import Model
from pipeline.pretraining.encoder import Encoder, Setting
from pipeline.pretraining.label_methods import ORDERS, quarter_turned, shuffled
from pipeline.pretraining.methods import METHODS
from pipeline.pretraining.teacher_methods import MOMENTUM
from pipeline.pretraining.views import Augmentation
from pipeline.study.pretraining import METHODS as NAMES
from pipeline.study.pretraining import Pretrain

CONVNEXT = {"architecture": "test_convnext", "weights": "random(0)", "input_size": 32}
BACKBONES = {"resnet": RESNET, "vit": VIT, "convnext": CONVNEXT}
MASKED = ("mae", "simmim")
POSSIBLE = [
    (method, backbone)
    for method in METHODS
    for backbone in BACKBONES
    if method != "random" and (method not in MASKED or backbone == "vit")
]


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        yield


def made(method: str, backbone: str, **options):
    model = load_model("tiny", Model(**BACKBONES[backbone]))
    model.backbone.requires_grad_(True)
    entry = Pretrain(
        method=method, architecture="any", dataset="any", queue=16, prototypes=8, **options
    )
    return METHODS[method](
        Encoder(model), Setting(entry, 3, Augmentation(), "params.yaml: pretrain.tiny")
    ).train()


def batch(count: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.rand(count, 3, 32, 32), torch.arange(count) % 3


def test_every_method_that_a_study_may_name_is_there():
    assert tuple(METHODS) == NAMES


@pytest.mark.parametrize(("method", "backbone"), POSSIBLE)
def test_a_few_steps_lower_the_loss_and_reach_the_whole_backbone(method, backbone):
    training = made(method, backbone)
    before = copy.deepcopy(training.encoder.backbone.state_dict())
    images, labels = batch()
    optimizer = torch.optim.Adam([p for p in training.parameters() if p.requires_grad], lr=2e-3)
    losses = []
    for step in range(12):
        torch.manual_seed(0)  # the same views: the loss of this very batch must fall
        loss = training.loss(images, labels)
        assert loss.shape == ()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        training.after_step((step + 1) / 12)
        losses.append(loss.item())
    assert np.isfinite(losses).all()
    if method not in ("moco", "dino", "swav", "byol"):  # their targets move
        assert min(losses[-3:]) < losses[0]
    after = training.encoder.backbone.state_dict()
    still = {k for k in before if torch.equal(before[k], after[k])}
    # Masked methods read tokens, not what the classifier's pooling does with them.
    assert not {k for k in still if not k.startswith(("head", "fc_norm"))}, still


@pytest.mark.parametrize(("method", "backbone"), POSSIBLE)
def test_what_is_kept_is_the_architecture_and_nothing_else(method, backbone):
    kept = made(method, backbone).kept.backbone.state_dict()
    asked = BACKBONES[backbone]
    own = timm.create_model(
        asked["architecture"], num_classes=0, **asked.get("arguments", {})
    ).state_dict()
    assert {k: v.shape for k, v in kept.items()} == {k: v.shape for k, v in own.items()}


@pytest.mark.parametrize("backbone", ["resnet", "convnext"])
@pytest.mark.parametrize("method", MASKED)
def test_methods_that_hide_patches_want_a_transformer(method, backbone):
    with pytest.raises(ProbelineError, match="hides patches") as caught:
        made(method, backbone)
    assert caught.value.place == "params.yaml: pretrain.tiny.method"
    assert "vision transformer" in str(caught.value)


@pytest.mark.parametrize("method", [m for m in METHODS if m not in ("random", "supervised")])
def test_only_the_supervised_method_looks_at_labels(method):
    images, labels = batch()
    losses = []
    for shown in (labels, labels.flip(0)):
        torch.manual_seed(1)
        losses.append(made(method, "vit").loss(images, shown).item())
    assert losses[0] == losses[1]


@given(seed=st.integers(0, 100), size=st.integers(2, 9))
@settings(max_examples=20, deadline=None)
def test_quarter_turns_are_numpys(seed, size):
    rng = np.random.default_rng(seed)
    images, turns = rng.random((7, 3, size, size)), rng.integers(0, 4, 7)
    found = quarter_turned(torch.from_numpy(images), torch.from_numpy(turns)).numpy()
    expected = [np.rot90(i, t, (1, 2)) for i, t in zip(images, turns, strict=True)]
    np.testing.assert_array_equal(found, np.stack(expected))


@given(seed=st.integers(0, 100), half=st.integers(1, 5), odd=st.booleans())
@settings(max_examples=20, deadline=None)
def test_tiles_go_where_their_order_says(seed, half, odd):
    rng = np.random.default_rng(seed)
    images = rng.random((6, 3, 2 * half + odd, 2 * half + odd))
    orders = rng.integers(0, len(ORDERS), 6)
    found = shuffled(torch.from_numpy(images), torch.from_numpy(orders)).numpy()
    corners = [(0, 0), (0, half), (half, 0), (half, half)]
    for image, order, seen in zip(images, orders, found, strict=True):
        for (top, left), source in zip(corners, ORDERS[order], strict=True):
            y, x = corners[source]
            np.testing.assert_array_equal(
                seen[:, top : top + half, left : left + half],
                image[:, y : y + half, x : x + half],
            )


def test_all_orders_of_four_tiles_are_told_apart():
    assert len(set(ORDERS)) == 24
    assert {tuple(sorted(order)) for order in ORDERS} == {(0, 1, 2, 3)}


def test_the_mae_never_sees_the_patches_that_it_reconstructs():
    training = made("mae", "vit")
    images, _ = batch(4)
    kept, hidden = training.hide(4, 0.75)
    assert kept.shape[1] + hidden.shape[1] == training.masked.sequence_length
    assert (kept[:, 0] == 0).all()  # the class token is no patch
    side, patch = 32 // training.patch, training.patch
    other = images.clone()
    for image, tokens in zip(other, hidden - training.prefix, strict=True):
        for token in tokens.tolist():
            y, x = divmod(token, side)
            image[:, y * patch : (y + 1) * patch, x * patch : (x + 1) * patch] = 0.5
    seen = [training.masked.encode(i, idx_keep=kept) for i in (images, other)]
    torch.testing.assert_close(seen[0], seen[1])
    assert not torch.equal(training.pixels(images, hidden), training.pixels(other, hidden))
    assert (training.pixels(other, hidden) == 0.5).all()


@pytest.mark.parametrize("method", ["moco", "byol", "dino"])
def test_the_teacher_is_a_moving_average(method):
    training = made(method, "vit")
    student = [p.detach().clone() + 1 for p in training.student.parameters()]
    with torch.no_grad():
        for parameter, value in zip(training.student.parameters(), student, strict=True):
            parameter.copy_(value)
    before = [p.clone() for p in training.teacher.parameters()]
    training.after_step(0.5)
    weight = 1 - (1 - MOMENTUM) * (1 + np.cos(np.pi * 0.5)) / 2
    for old, new, target in zip(before, training.teacher.parameters(), student, strict=True):
        torch.testing.assert_close(new, weight * old + (1 - weight) * target)
    training.after_step(1.0)  # at the end it stands still
    torch.testing.assert_close(
        [p.clone() for p in training.teacher.parameters()],
        [weight * o + (1 - weight) * s for o, s in zip(before, student, strict=True)],
    )
    assert not any(p.requires_grad for p in training.teacher.parameters())


def test_dino_keeps_its_teacher_and_the_others_what_was_trained():
    dino, byol = made("dino", "vit"), made("byol", "vit")
    assert dino.kept is dino.teacher[0]
    assert byol.kept is byol.encoder


def test_the_documented_departures_are_the_codes():
    from pathlib import Path

    from pipeline.pretraining.departures import DEPARTURES, table

    documented = (Path(__file__).parents[3] / "docs/pretraining.md").read_text()
    assert table() in documented
    assert set(METHODS) - {"random"} <= {departure.method for departure in DEPARTURES}
