"""Where weights come from, and under which licence, in words that a taken folder repeats."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from pipeline.models.licence import licence_of, recorded_licence, weights_source
from pipeline.models.settings import Model


@pytest.fixture(autouse=True)
def _in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def of(**said) -> Model:
    return Model.model_validate({"architecture": "resnet18", **said})


def test_the_zoos_licences_are_those_of_their_authors():
    swav = Model.model_validate({"zoo": "swav_resnet50"})
    assert recorded_licence(swav) == licence_of(swav) == "CC BY-NC 4.0"
    assert weights_source("swav", swav) == swav.weights


def test_timms_licences_are_timms():
    own = Model.model_validate({"zoo": "supervised_resnet50_a1"})
    assert own.weights == "pretrained"
    assert licence_of(own) == "apache-2.0"
    assert recorded_licence(own) == ""
    Path("weights.lock.json").write_text(
        json.dumps({f"timm:{own.architecture}": {"source": "https://a.b/c", "revision": "d1"}})
    )
    assert weights_source("a1", own).endswith(f"{own.architecture}, https://a.b/c, d1")


def test_what_was_fetched_has_its_digest():
    entry = of(weights="https://a.b/model.pth")
    name = Path(entry.weights_file).name
    Path("weights.lock.json").write_text(json.dumps({name: {"sha256": "5" * 64}}))
    assert weights_source("own", entry) == f"https://a.b/model.pth, SHA-256 {'5' * 64}"
    assert licence_of(entry) == ""


def test_a_file_of_ones_own_is_named_without_its_folder(tmp_path):
    (tmp_path / "mine.pth").write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    said = weights_source("own", of(weights=str(tmp_path / "mine.pth")))
    assert said == f"a file of your own, mine.pth, SHA-256 {digest}"


def test_a_file_that_is_not_on_this_machine_has_its_recorded_digest():
    entry = of(weights="gone.pth")
    assert weights_source("own", entry, "7" * 64) == (
        f"a file of your own, gone.pth, SHA-256 {'7' * 64}"
    )
    assert weights_source("own", entry) == "a file of your own, gone.pth"


def test_a_studys_own_are_its_own():
    assert "seed 3: never trained" in weights_source("r", of(weights="random(3)"))
    made = of(weights="pretrain(byol)")
    assert weights_source("m", made) == "trained by the study itself (pretrain.byol)"
    assert licence_of(made) == "none but yours: made by the study"
