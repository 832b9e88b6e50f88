"""What the report says of embeddings is made from the settings that change their numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
from made_inputs import make_inputs

from pipeline.models.cards import loading_part
from pipeline.models.feature_kinds import FEATURES, Feature
from pipeline.models.settings import Model
from pipeline.report.inputs import Inputs
from pipeline.report.methods import embeddings
from pipeline.report.origins import provenance_table
from pipeline.study.schema import Study

PLAIN = {"architecture": "test_vit", "weights": "random(0)"}

CHANGES = {
    "architecture": "test_vit2",
    "weights": "random(1)",
    "arguments": {"global_pool": "avg"},
    "checkpoint": {"strip_prefix": "backbone."},
    "feature": "last4_cls",
    "input_size": 32,
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "interpolation": "nearest",
    "crop_mode": "squash",
    "crop": 0.5,
}
"""Another value for every setting of a model that changes numbers."""


def study(**models: dict) -> Study:
    datasets = {"pets": {"source": "folder", "path": "pets", "role": "in_domain"}}
    said = make_inputs().study.model_dump() | {"datasets": datasets, "models": models}
    return Study.model_validate(said)


def rows_of(asked: Study) -> list[dict]:
    inputs: Inputs = replace(make_inputs(), study=asked)
    return [{k: v for k, v in row.items() if k != "model"} for row in provenance_table(inputs)]


def test_every_setting_that_changes_numbers_is_tried():
    assert CHANGES.keys() == loading_part(Model.model_validate(PLAIN)).keys()


@pytest.mark.parametrize("field", CHANGES)
def test_two_models_that_differ_in_one_setting_have_different_rows(field):
    one, other = rows_of(study(one=PLAIN, other={**PLAIN, field: CHANGES[field]}))
    assert one != other
    assert str(CHANGES[field]).replace("'", '"') in " ".join(other.values())


def test_words_alone_make_no_other_row():
    one, other = rows_of(study(one=PLAIN, other={**PLAIN, "family": "x", "method": "y"}))
    assert one == other


@pytest.mark.parametrize("feature", FEATURES)
def test_the_methods_say_what_the_feature_is(feature):
    said = embeddings(study(one={**PLAIN, "feature": feature}, two={**PLAIN, "feature": feature}))
    assert f"Its embedding is {FEATURES[feature].words}. " in said
    others = [kind.words for name, kind in FEATURES.items() if name != feature]
    assert not [words for words in others if f"is {words}." in said]


def test_features_have_words_of_their_own():
    assert get_args(Feature) == tuple(FEATURES)
    assert len({kind.words for kind in FEATURES.values()}) == len(FEATURES)


def test_of_several_features_the_methods_name_the_models():
    said = embeddings(
        study(
            a={**PLAIN, "feature": "cls"},
            b=PLAIN,
            c={**PLAIN, "feature": "cls"},
            d={"architecture": "elsewhere", "weights": "imported"},
        )
    )
    assert f"{FEATURES['cls'].words} (a, c); or {FEATURES['pooled'].words} (b)" in said
    assert "or imported (d). Embeddings are computed in float32 and kept as float16" in said


@pytest.mark.parametrize("storage", ["float16", "float32"])
def test_the_methods_say_how_embeddings_are_kept(storage):
    asked = study(a=PLAIN)
    extraction = asked.extraction.model_copy(update={"storage": storage, "precision": "bfloat16"})
    said = embeddings(asked.model_copy(update={"extraction": extraction}))
    assert f"computed in bfloat16 and kept as {storage}" in said
    assert ("float32 where its range needs that" in said) == (storage == "float16")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"zoo": "dino_vits16"}, "common to all: "),
        ({"zoo": "clip_vitb16"}, "as timm records: "),
        ({"zoo": "clip_vitb16", "preprocessing": "authors"}, "as its authors evaluate: "),
        ({"zoo": "clip_vitb16", "crop": 1.0}, "or as set: "),
        (PLAIN, "or as set: "),
    ],
)
def test_whose_transform_it_is(said, words):
    facts = {
        "weights": "0" * 64, "transform": {"size": 224, "crop": 0.9}, "precision": "float32",
        "device": "cpu", "processor": "x", "versions": {"torch": "2"}, "python": "3",
    }  # fmt: skip
    inputs = replace(make_inputs(), study=study(m0=said), provenance={("pets", "m0"): facts})
    (row,) = provenance_table(inputs)
    assert words in row["transform"]
