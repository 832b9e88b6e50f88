"""A training that learned is told from one that did not, by its loss alone."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from projects import VIT
from test_pretrain_training import PLACE, entry_of
from torch.nn import functional

from pipeline.models.networks import load_model
from pipeline.models.settings import Model
from pipeline.pretraining.chance import chance_loss, remarks_on
from pipeline.pretraining.encoder import Encoder
from pipeline.pretraining.images import TrainingImages
from pipeline.pretraining.training import Training
from pipeline.study.pretraining import METHODS

TRAINED = [method for method in METHODS if method != "random"]


def pictures(count: int = 32) -> TrainingImages:
    """Smooth, of four corners' colours; brighter towards one corner, and one of two classes."""
    rng = np.random.default_rng(0)
    corners = torch.from_numpy(rng.random((count, 3, 2, 2), dtype=np.float32))
    corners = (corners + torch.tensor([[1.0, 0.6], [0.3, 0.0]])) / 2
    classes = torch.arange(count) % 2
    corners[classes == 1] *= 0.5
    grown = functional.interpolate(corners, size=(32, 32), mode="bilinear")
    return TrainingImages((grown * 255).to(torch.uint8), classes, 2)


def run_of(
    method: str, folder: Path, backbone: dict = VIT, images: int = 32, **options
) -> Training:
    entry = entry_of(method, **{"epochs": 2, "queue": 16, "prototypes": 8} | options)
    model = load_model("tiny", Model(**{**backbone, "weights": f"random({entry.seed})"}))
    run = Training(entry, Encoder(model), pictures(images), torch.device("cpu"), PLACE)
    folder.mkdir(exist_ok=True)
    run.run(folder / method, "key", lambda _: None)
    return run


def record_of(run: Training, **more) -> dict:
    losses = {"chance_loss": run.chance_loss(), "untrained_loss": run.untrained_loss}
    return {"epochs": run.epochs, "collapsed": False, **losses, **more}


@pytest.mark.parametrize("method", METHODS)
def test_a_training_at_rate_zero_is_told_from_one_that_learned(method, tmp_path):
    run = run_of(method, tmp_path, learning_rate=1e-15)
    record = record_of(run)
    if method == "random":
        assert (record["epochs"], remarks_on(record)) == ([], [])
        return
    (remark,) = remarks_on(record)
    assert remark.startswith("has hardly been trained: its last loss")
    # What a training that learned ends with lies below both references.
    below = min(record["chance_loss"], record["untrained_loss"] * 0.99)
    learned = {**record, "epochs": [{"loss": below - 0.01 * abs(below) - 0.01}]}
    assert remarks_on(learned) == []


SMALL_RESNET = {
    "architecture": "resnet18",
    "arguments": {"layers": [1, 1, 1, 1], "channels": [16, 32, 64, 128], "stem_type": "deep",
                  "stem_width": 8},
    "weights": "random(0)", "input_size": 32,
}  # fmt: skip


@pytest.mark.parametrize("method", TRAINED)
def test_a_few_steps_leave_chance(method, tmp_path):
    """Eighty, on images that differ plainly; no score is looked at."""
    few = {"images": 64, "epochs": 20, "batch_size": 16, "queue": 32, "prototypes": 16}
    backbone = VIT if method in ("mae", "simmim") else SMALL_RESNET
    run = run_of(method, tmp_path, backbone, learning_rate=0.004, **few)
    assert remarks_on(record_of(run)) == []


def test_the_chances():
    """Written out, with N = 8 images a batch, a queue of 16 and 8 prototypes."""
    expected = {
        "random": None, "supervised": math.log(3), "rotnet": math.log(4),
        "jigsaw": math.log(24), "simclr": math.log(15), "moco": math.log(17), "byol": 0,
        "simsiam": 0, "dino": math.log(8), "swav": math.log(8), "barlow_twins": 128,
        "vicreg": 24.75, "mae": None, "simmim": None,
    }  # fmt: skip
    found = {method: chance_loss(entry_of(method), [5, 5, 5]) for method in METHODS}
    assert found == pytest.approx(expected)
    assert chance_loss(entry_of("supervised"), [9, 1, 0]) == pytest.approx(
        -0.9 * math.log(0.9) - 0.1 * math.log(0.1)
    )


@pytest.mark.parametrize("method", ["simclr", "moco", "swav", "dino", "barlow_twins", "vicreg"])
def test_equal_outputs_have_the_loss_of_chance(method, tmp_path):
    """Lightly's own criterion, of projections that are the same for all images."""
    run = run_of(method, tmp_path, epochs=1)
    entry, criterion = entry_of(method), run.method.criterion
    same = torch.ones(8, 128)
    if method == "moco":
        criterion.memory_bank.bank.fill_(128**-0.5)
    if method == "swav":
        loss = criterion([torch.ones(8, 8)] * 2, []).squeeze()
    elif method == "dino":
        criterion.center.zero_()
        loss = criterion([torch.ones(8, 8)] * 2, [torch.ones(8, 8)] * 2)
    else:
        loss = criterion(same, same)
    assert loss.item() == pytest.approx(chance_loss(entry, [4, 4]), rel=1e-4)


@pytest.mark.parametrize("method", ["mae", "simmim"])
def test_no_picture_that_is_the_same_for_all_has_a_smaller_loss(method, tmp_path):
    run = run_of(method, tmp_path, epochs=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        chance = run.method.chance(pictures().pixels.float() / 255)
        torch.manual_seed(0)
        seen = run.method.encoder.normalised(run.method.views(pictures().pixels.float() / 255))
    for other in (seen.mean(dim=0), seen.median(dim=0).values, seen[0], torch.zeros(3, 32, 32)):
        error = seen - other
        loss = error.square().mean() if method == "mae" else error.abs().mean()
        assert chance <= loss.item() + 1e-6


@pytest.mark.parametrize("method", ["moco", "dino", "byol", "mae"])
def test_what_is_measured_before_changes_nothing_after(method, tmp_path, monkeypatch):
    one = run_of(method, tmp_path / "one")
    monkeypatch.setattr(Training, "_untrained", lambda self: None)
    other = run_of(method, tmp_path / "other")
    assert [e["loss"] for e in one.epochs] == [e["loss"] for e in other.epochs]
    ours, theirs = (run.method.kept.backbone.state_dict() for run in (one, other))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_resumed_training_keeps_the_loss_of_the_network_as_it_was_drawn(tmp_path):
    whole = run_of("supervised", tmp_path)
    resumed = run_of("supervised", tmp_path)  # all epochs are there
    assert resumed.untrained_loss == whole.untrained_loss is not None


def test_records_of_former_versions_say_what_they_know():
    assert remarks_on({"epochs": [{"loss": 3.0}]}) == []
    (said,) = remarks_on({"epochs": [{"loss": 3.0}], "collapsed": True, "width": 8, "rankme": 1.0})
    assert said.startswith("has collapsed, as far as the rank")
    both = {"epochs": [{"loss": 3.0}], "collapsed": True, "width": 8, "rankme": 1.0,
            "chance_loss": 2.5, "untrained_loss": 4.0}  # fmt: skip
    first, second = remarks_on(both)
    assert "is not below 2.500" in first
    assert "collapsed" in second


def test_the_report_names_trainings_that_learned_nothing(monkeypatch):
    from types import SimpleNamespace

    from pipeline.report import gaps_models

    records = {
        "poor": {"epochs": [{"loss": 3.0}], "chance_loss": 2.5},
        "good": {"epochs": [{"loss": 2.0}], "chance_loss": 2.5},
    }
    monkeypatch.setattr(gaps_models, "read_training", records.get)
    inputs = SimpleNamespace(study=SimpleNamespace(pretrain=dict.fromkeys([*records, "absent"])))
    found = gaps_models.remarks_on_pretraining(inputs)
    (place,) = found.places
    assert place.startswith("poor has hardly been trained")
    assert found.checked == 3
    none = gaps_models.remarks_on_pretraining(SimpleNamespace(study=SimpleNamespace(pretrain={})))
    assert none.checked == 0  # and so the page does not tell of it
