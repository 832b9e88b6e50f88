"""The key of a cell and of a record: what must change it, and what must not."""

from __future__ import annotations

import copy

import pytest
from projects import draw

from cache.fingerprint import fingerprint
from pipeline.datasets.indexing import build_index
from pipeline.embeddings.cells import cell_key, open_cells
from pipeline.models.cards import find_card, make_card
from pipeline.models.networks import load_model
from pipeline.project.paths import SPLITS
from pipeline.study.params import load_study
from pipeline.study.records import record_key
from pipeline.study.schema import Study


def key_of(params: dict, dataset: str = "pets", model: str = "tiny", split: str = "train") -> str:
    study = Study.model_validate(params)
    entry = study.models[model]
    card = find_card(model, entry) or make_card(model, entry, load_model(model, entry))
    index = build_index(dataset, study.datasets[dataset])
    return fingerprint(cell_key(study, index, split, entry, card))


@pytest.fixture
def params(project) -> dict:
    return project.params


def changed(params: dict, **entry) -> dict:
    other = copy.deepcopy(params)
    other["models"]["tiny"].update(entry)
    return other


CHANGES = {
    "architecture": {"architecture": "test_vit2"},
    "arguments": {"arguments": {"img_size": 32, "depth": 2}},
    "seed": {"weights": "random(1)"},
    "input size": {"input_size": 64, "arguments": {"img_size": 64}},
    "mean": {"mean": [0.1, 0.2, 0.3]},
    "std": {"std": [0.1, 0.2, 0.3]},
    "crop": {"crop": 0.5},
    "interpolation": {"interpolation": "nearest"},
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_setting_of_a_model_changes_the_key(params, name):
    assert key_of(changed(params, **CHANGES[name])) != key_of(params)


def test_precision_storage_split_and_data_change_the_key(params, project):
    keys = {key_of(params), key_of(params, split="val")}
    for section, value in (("precision", "bfloat16"), ("storage", "float32")):
        other = copy.deepcopy(params)
        other["extraction"][section] = value
        keys.add(key_of(other))
    draw(4321).save(project.folder / "images" / "cat" / "000.png")
    before = {key_of(params), key_of(params, split="val")}
    assert len(keys | before) == 4 + 1  # the changed image is in one of the splits
    (project.folder / "images" / "dog" / "000.png").rename(
        project.folder / "images" / "cat" / "900.png"
    )
    assert not {key_of(params), key_of(params, split="val")} <= before


def test_names_words_and_order_do_not_change_the_key(params):
    other = copy.deepcopy(params)
    other["models"] = {"renamed": {**dict(reversed(params["models"]["tiny"].items()))}}
    other["models"]["renamed"] |= {"family": "other", "method": "m", "backbone": "b"}
    other["datasets"] = {"beasts": {**params["datasets"]["pets"], "role": "out_of_domain"}}
    other["knn"] = {"k": [1]}
    assert key_of(other, "beasts", "renamed") == key_of(params)


def test_naming_the_models_own_transform_does_not_change_the_key(params):
    own = load_model("tiny", Study.model_validate(params).models["tiny"]).transform
    said = changed(params, crop=own.geometry.crop, interpolation=own.geometry.interpolation)
    assert key_of(said) == key_of(params)


def test_a_record_depends_on_its_settings_and_its_cells(project):
    project.prepare()
    keys = []
    for k in ([3], [2], [2, 3]):
        project.params["knn"]["k"] = k
        project.write()
        study = load_study()
        index = build_index("pets", study.datasets["pets"])
        cells = dict(zip(SPLITS, open_cells(study, index, "tiny"), strict=True))
        of = {split: cell.manifest.fingerprint for split, cell in cells.items()}
        keys.append(record_key(study, "knn", "pets", lambda _, of=of: of))
    keys.append(record_key(study, "linear", "pets", lambda _, of=of: of))
    keys.append(record_key(study, "linear", "pets", lambda _: {**of, "val": "another"}))
    assert len(set(map(fingerprint, keys))) == 5


def test_a_transferred_probe_depends_on_the_cells_that_it_is_trained_on(project):
    project.params["datasets"]["more"] = project.params["datasets"]["pets"]
    project.params["transfer"] = {"sources": ["more", "pets"]}
    study = Study.model_validate(project.params)
    of = {
        "pets": {"train": "a", "val": "b", "names": "e"},
        "more": {"train": "c", "val": "d", "names": "f"},
    }
    keys = [record_key(study, "transfer", "pets", of.__getitem__)]
    assert keys[0]["sources"] == {"more": {"train": "c", "names": "f"}}
    of["more"]["val"] = "other test images of the source"
    assert record_key(study, "transfer", "pets", of.__getitem__) == keys[0]
    of["more"]["train"] = "other train images of the source"
    keys.append(record_key(study, "transfer", "pets", of.__getitem__))
    project.params["linear"]["seed"] = 1
    other = Study.model_validate(project.params)
    keys.append(record_key(other, "transfer", "pets", of.__getitem__))
    assert len(set(map(fingerprint, keys))) == 3


def test_cards_are_found_without_loading_and_only_for_the_same_entry(project):
    study = Study.model_validate(project.params)
    entry = study.models["tiny"]
    assert find_card("tiny", entry) is None
    card = make_card("tiny", entry, load_model("tiny", entry))
    assert find_card("tiny", entry) == card
    assert find_card("other", entry) == card
    assert find_card("tiny", entry.model_copy(update={"weights": "random(1)"})) is None


def test_a_damaged_card_is_made_anew(project):
    project.prepare()
    for path in (project.folder / "data" / "cards").rglob("*.json"):
        path.write_bytes(b"{")
    project.run("extract", "pets").succeeded("1 cached, 0 computed")
