"""What is known of a kNN preset is read from it: by the schema, its checks and the report."""

from __future__ import annotations

from typing import get_args

import pytest
from made_inputs import make_inputs
from pydantic import ValidationError

from pipeline.nearest.votes import Voting
from pipeline.probes import knn_presets
from pipeline.probes.knn_presets import PRESETS, Preset, PresetName, Variant
from pipeline.probes.knn_variants import variants
from pipeline.report.methods import methods
from pipeline.study import Study


def study(preset: str | None, spaces=None, keep: int = 200, **knn) -> Study:
    spaces = spaces or {"metric": ["euclidean", "cosine"], "normalization": ["none", "zscore"]}
    changes = {"neighbors": {**spaces, "keep": keep}, "datasets": DATASETS, "models": MODELS}
    changes["knn"] = {"presets": [preset] if preset else [], **knn}
    return Study.model_validate(make_inputs().study.model_dump() | changes)


DATASETS = {"pets": {"source": "folder", "path": "pets", "role": "in_domain"}}
MODELS = {"tiny": {"architecture": "test_vit", "weights": "random(0)"}}


def test_params_may_name_every_preset_and_variants_are_told_apart():
    assert get_args(PresetName) == tuple(PRESETS)
    names = [variant.name for preset in PRESETS.values() for variant in preset.variants]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_needs_its_largest_k_and_its_spaces(name):
    of = PRESETS[name].variants
    largest = max(variant.voting.k for variant in of)
    assert variants(study(name, keep=largest)) == list(of)
    with pytest.raises(ValidationError, match=f"at least {largest}, "):
        study(name, keep=largest - 1)
    needed = {variant.space for variant in of}
    for metric, normalization in needed:
        without = [s for s in ("none", "zscore", "l2") if s != normalization]
        with pytest.raises(ValidationError, match=f"no {name}, or {metric} .*and {normalization}"):
            study(name, {"metric": ["euclidean", "cosine"], "normalization": without})


@pytest.mark.parametrize("name", PRESETS)
def test_the_methods_say_what_the_preset_is(name):
    said = methods(study(name))["knn"]
    first = PRESETS[name].variants[0]
    assert f"Headline: {first.voting.k} neighbours" in said
    assert first.space[0].lower() in said.lower()
    assert PRESETS[name].source in said


def test_the_checks_and_the_methods_follow_a_preset_that_is_changed(monkeypatch):
    changed = Preset("Nobody 1900", (Variant("x", ("cosine", "l2"), Voting(7, "uniform")),))
    monkeypatch.setitem(knn_presets.PRESETS, "study", changed)
    with pytest.raises(ValidationError, match=r"no study, or cosine in .* and l2 in"):
        study("study")
    spaces = {"metric": ["cosine"], "normalization": ["l2"]}
    with pytest.raises(ValidationError, match="at least 7, "):
        study("study", spaces, keep=6)
    said = methods(study("study", spaces, keep=7))["knn"]
    assert "7 neighbours, cosine distance, equal votes" in said
    assert "scaled to unit length, as in Nobody 1900." in said


def test_the_methods_describe_the_first_of_a_grid():
    """Softmax goes with cosine alone: the first variant is by another weighting."""
    asked = study(None, k=[3], weighting=["softmax", "uniform"])
    assert variants(asked)[0].name == "k3_euclidean_uniform_none"
    assert "3 neighbours, Euclidean distance, equal votes" in methods(asked)["knn"]
    one = methods(study(None, k=[1], weighting=["softmax"], temperature=[0.2]))["knn"]
    assert "1 neighbour, cosine similarity s, votes weighted by exp(s/0.2)" in one
