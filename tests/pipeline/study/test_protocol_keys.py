"""Keys of records stay as they are: else a finished study computes everything again."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from cache.fingerprint import fingerprint
from pipeline.study.records import key_on, protocols_of, record_key
from pipeline.study.schema import Study

DIGESTS = {
    "knn": "03131d706c4d6cc92d5973de8ebd4e5eac4105cd2e0b4593f2f823b71a0d0450",
    "linear": "13a9cfe2ec992753b8c6746055f6a982d94934266afbadd41331ebe479df942a",
    "fewshot": "cb118c5ff5b2e4618bb04a37e2d4118b7e8aa92c8c1babe206ef9694f6b364e5",
    "finetune": "cf0f2b429e072635bfca1df5ade4ec2bffdee51acabe4d35f1ef29bbdf5b49d4",
    "transfer": "0a42ac0bc24f66996fd9fbcfe7763933f340d5e1d8b2aa0edca926031e31c7e3",
    "predictors": "cc2bd0e6e6919846dc49a504466e58da066f49ecb8c910bac7cba86676874a9b",
}
"""Of record format 3, for what classifies; else of the code before protocols were objects.
Few-shot's since λ of ridge is 1 where many shots are the only ones of their class; transfer's since
a k beside the presets, which it does not use, is no part of it."""


@pytest.fixture
def study(project) -> Study:
    """Every protocol, and every setting that has a rule of its own in a key."""
    project.params |= {
        "datasets": {
            name: {"source": "folder", "path": name, "role": "in_domain"}
            for name in ("pets", "others")
        },
        "extraction": {"views": 3},
        "neighbors": {"n_neighbors": 200, "metric": ["euclidean", "cosine"],
                      "normalization": ["none", "zscore"]},
        "knn": {"presets": ["paper", "dino"], "k": [3], "tuned": True},
        "linear": {"heads": ["ridge", "sgd"], "c": [0.1, 1.0]},
        "fewshot": {
            "shots": [1, 5], "fractions": [0.1], "ways": [2],
            "coarse": {d: {"x": ["cat"], "y": ["dog"]} for d in ("pets", "others")},
        },
        "transfer": {"sources": ["pets", "others"]},
        "transferability": {"names": ["rankme", "alignment"]},
        "finetune": {"enabled": True, "runs": {
            "few": {"recipe": "modern", "shots": 5, "epochs": 3, "warmup_epochs": 1},
            "full": {"recipe": "sgd"},
        }},
    }  # fmt: skip
    return Study.model_validate(project.params)


def test_keys_are_those_of_before(study, monkeypatch):
    card = SimpleNamespace(weights="w", transform={"size": 32})
    monkeypatch.setattr("pipeline.finetuning.cells._card", lambda *_: card)
    index = SimpleNamespace(
        name="pets",
        names_digest="n",
        pad=None,
        seeds="row",
        grey_key={},
        samples_digest=lambda split: f"of {split}",
    )

    def cells(dataset: str) -> dict[str, str]:
        return {"train": f"{dataset} a", "val": f"{dataset} b", "names": f"{dataset} c"}

    found = {p: fingerprint(key_on(study, p, index, "tiny", cells)) for p in protocols_of(study)}
    assert found == DIGESTS


def test_a_k_that_is_not_transferred_is_no_part_of_the_key(study):
    def key(**knn):
        asked = study.model_copy(update={"knn": study.knn.model_copy(update=knn)})
        of = record_key(asked, "transfer", "pets", lambda dataset: {"train": "a", "names": "c"})
        return fingerprint(of)

    assert key(k=[3]) == key(k=[3, 7]) == key(k=[])
    assert key(k=[3]) != key(k=[3], presets=["paper"])
    assert key(k=[3], presets=[]) != key(k=[7], presets=[])  # the first of the grid is transferred
