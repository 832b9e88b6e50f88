"""The record beside a model's cells: written by several processes, read from strangers."""

import json

import pytest

from cache.seals import sealed_json
from cache.storage import Storage
from pipeline.embeddings import provenance
from pipeline.embeddings.provenance import kept_path, read_provenance, record_provenance
from pipeline.models.card import Card
from pipeline.models.settings import Model
from pipeline.project.paths import cell_address

ENTRY = Model.model_validate({"architecture": "test_vit", "weights": "random(0)"})
CARD = Card("a" * 64, {"size": 32}, 9, 99)


def record(split: str, images: int = 3) -> None:
    cell_address("pets", "tiny", split).partial.mkdir(parents=True, exist_ok=True)
    record_provenance(
        "pets", "tiny", ENTRY, CARD, split=split, images=images, seconds=1.0,
        storage=Storage(), device="cpu", precision="float32",
    )  # fmt: skip


def test_two_processes_that_record_two_splits_at_once_lose_neither(project, monkeypatch):
    real = provenance._still_recorded

    def meanwhile(*given):
        facts = real(*given)  # the other one is not yet recorded
        monkeypatch.setattr(provenance, "_still_recorded", real)
        record("train", images=5)
        return facts

    monkeypatch.setattr(provenance, "_still_recorded", meanwhile)
    record("val")
    splits = read_provenance("pets", "tiny")["splits"]
    assert {name: part["images"] for name, part in splits.items()} == {"train": 5, "val": 3}
    assert list(splits) == ["train", "val"]  # the same bytes, whoever came first


@pytest.mark.parametrize("kept", [{}, {"splits": {}}, {"splits": {"train": {}}, "transform": {}}])
def test_what_a_stranger_keeps_beside_an_unfinished_cell_is_not_recorded(project, kept):
    path = kept_path(cell_address("pets", "tiny", "train"))
    path.parent.mkdir(parents=True)
    path.write_bytes(sealed_json(kept))
    record("train")
    assert read_provenance("pets", "tiny")["splits"]["train"]["images"] == 3
    assert "sealed" in json.loads(path.read_bytes())
