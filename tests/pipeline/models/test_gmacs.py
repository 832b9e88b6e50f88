"""Multiply-adds are recorded where embeddings are made, and counted later for older ones."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from projects import VIT

from cache.errors import CellCorruptError
from pipeline.models.card import Card
from pipeline.models.cards import make_card
from pipeline.models.networks import LoadedModel, load_model
from pipeline.models.settings import Model
from pipeline.models.sizes import gmacs_of, network_size
from pipeline.models.transforms import Geometry, Transform
from pipeline.project.paths import provenance_path
from pipeline.results.costs import recorded_costs

TINY = Model(**VIT)
TRANSFORM = Transform(Geometry(32, 1.0, "bilinear", "center"), (0.5,) * 3, (0.5,) * 3)


class Network(torch.nn.Module):
    """Two layers whose work is known by hand, or one that looks at pixels."""

    def __init__(self, *, looks: bool = False) -> None:
        super().__init__()
        self.convolution = torch.nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
        self.head = torch.nn.Linear(8, 5)
        self.looks = looks

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        if self.looks and float(images.sum()) > 1:
            return images
        return self.convolution(images)

    def forward_head(self, features: torch.Tensor, *, pre_logits: bool) -> torch.Tensor:
        return self.head(features.mean((2, 3)))


def loaded(network: torch.nn.Module) -> LoadedModel:
    return LoadedModel(network.eval(), "pooled", TRANSFORM, "digest", 5, 0)


def test_products_are_counted_as_by_hand():
    found = gmacs_of(loaded(Network()), "here")
    assert found == (16 * 16 * 8 * 3 * 9 + 8 * 5) / 1e9


def test_a_network_that_looks_at_pixels_has_no_number():
    assert gmacs_of(loaded(Network(looks=True)), "here") is None


def test_the_network_itself_stays_as_it_is():
    network = Network()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    gmacs_of(loaded(network), "here")
    assert all(tensor.device.type == "cpu" for tensor in network.state_dict().values())
    assert all(torch.equal(tensor, before[n]) for n, tensor in network.state_dict().items())


def test_the_card_of_a_loaded_model_says_what_its_bare_network_says(project):
    card = make_card("tiny", TINY, load_model("tiny", TINY))
    assert card.gmacs == network_size("tiny", TINY).gmacs > 0


RECORD = {
    "weights": "digest",
    "transform": {},
    "parameters": 7,
    "dimension": 4,
    "splits": {"train": {"images": 3, "seconds": 1.0, "remarks": []}},
}
"""What is recorded of a model, before there were multiply-adds and digests."""


def recorded(**facts):
    path = provenance_path("pets", "tiny")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**RECORD, **facts}))
    return recorded_costs("pets", "tiny", TINY)


def test_costs_take_what_is_recorded_and_count_what_is_not(project, monkeypatch):
    assert recorded(gmacs=1.5)["gmacs"] == 1.5
    counted = network_size("tiny", TINY).gmacs
    assert recorded()["gmacs"] == recorded(gmacs=None)["gmacs"] == counted
    monkeypatch.setattr("pipeline.models.sizes.network_size", lambda *_: pytest.fail("again"))
    assert recorded()["gmacs"] == counted  # remembered


@pytest.mark.parametrize("odd", ["much", [1.5], True, 1e300])
def test_odd_multiply_adds_are_refused_where_they_are_recorded(project, odd):
    with pytest.raises(CellCorruptError, match="is damaged"):
        recorded(gmacs=odd)


def test_a_network_that_is_none_today_has_no_number(project):
    entry = Model(architecture="no_such_network", weights="random(0)")
    provenance_path("pets", "tiny").parent.mkdir(parents=True, exist_ok=True)
    provenance_path("pets", "tiny").write_text(json.dumps(RECORD))
    assert np.isnan(recorded_costs("pets", "tiny", entry)["gmacs"])


def test_a_card_without_the_number_is_still_a_card():
    assert Card(weights="w", transform={}, columns=4, parameters=7).gmacs is None
