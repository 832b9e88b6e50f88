"""Keys of records stay as they are: else a finished study computes everything again."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from cache.fingerprint import fingerprint
from pipeline.study.records import key_on, protocols_of
from pipeline.study.schema import Study

DIGESTS = {
    "knn": "2cd74e5060c7d3154fb4b9c3af419c45c0bf2eec2b9f3625426a3b5c8a5d65ce",
    "linear": "aa3cd62bece70775f2de829c8ecb2e3301a3e5dcc0d2a8837a6c9c6d03be0139",
    "fewshot": "ab033fdff0a6ad83a65d93db5dd34b79795b9477443ffd0e9ff2cd8620a11cad",
    "finetune": "cf0f2b429e072635bfca1df5ade4ec2bffdee51acabe4d35f1ef29bbdf5b49d4",
    "transfer": "120f2fcaa6efc25d8677044b89c3afdcf5f86bab5f66062402662257684a8d50",
    "predictors": "cc2bd0e6e6919846dc49a504466e58da066f49ecb8c910bac7cba86676874a9b",
}
"""Of the code before protocols were objects."""


@pytest.fixture
def study(project) -> Study:
    """Every protocol, and every setting that has a rule of its own in a key."""
    project.params |= {
        "datasets": {
            name: {"source": "folder", "path": name, "role": "in_domain"}
            for name in ("pets", "others")
        },
        "extraction": {"views": 3},
        "neighbors": {"keep": 200, "metric": ["euclidean", "cosine"],
                      "normalization": ["none", "zscore"]},
        "knn": {"presets": ["study", "dino"], "k": [3], "tuned": True},
        "linear": {"heads": ["ridge", "sgd"], "c": [0.1, 1.0]},
        "fewshot": {
            "shots": [1, 5], "fractions": [0.1], "class_counts": [2],
            "coarse": {d: {"x": ["cat"], "y": ["dog"]} for d in ("pets", "others")},
        },
        "transfer": {"sources": ["pets", "others"]},
        "predictors": {"names": ["rankme", "alignment"]},
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
        name="pets", names_digest="n", pad=None, samples_digest=lambda split: f"of {split}"
    )

    def cells(dataset: str) -> dict[str, str]:
        return {"train": f"{dataset} a", "val": f"{dataset} b", "names": f"{dataset} c"}

    found = {p: fingerprint(key_on(study, p, index, "tiny", cells)) for p in protocols_of(study)}
    assert found == DIGESTS
