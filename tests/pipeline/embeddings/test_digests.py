"""`data/cells`: what DVC sees of cells. It changes with any byte of one, and with nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from projects import VIT

CELLS = Path("data/cells/pets.json")
STORE = Path("data/embeddings/pets/tiny.zarr")


@pytest.fixture
def extracted(project, kept_project):
    return project.once(kept_project.with_name("extracted"), project.prepare)


def test_it_names_the_studys_whole_cells_and_stays_where_they_do(extracted):
    before = CELLS.read_bytes()
    assert {name: sorted(of) for name, of in json.loads(before).items()} == {
        "tiny": ["train", "val"]
    }
    shutil.copytree(STORE, STORE.with_name("another.zarr"))  # of a model that left the study
    chunk = STORE / "train/embedding/c/0/0"
    rows = chunk.read_bytes()
    chunk.write_bytes(bytes(len(rows)))
    extracted.run("extract", "pets").succeeded("made again")  # of the same rows
    assert (chunk.read_bytes(), CELLS.read_bytes()) == (rows, before)
    CELLS.unlink()
    extracted.run("extract", "pets").succeeded("1 cached, 0 computed")
    assert CELLS.read_bytes() == before


def test_other_rows_and_other_labels_are_other_digests(extracted):
    before = json.loads(CELLS.read_bytes())
    extracted.params["models"]["tiny"] = {**VIT, "weights": "random(1)"}
    extracted.write()
    extracted.run("extract", "pets").succeeded("0 cached, 1 computed")
    rows = json.loads(CELLS.read_bytes())
    assert all(rows["tiny"][split] != before["tiny"][split] for split in ("train", "val"))
    shutil.move("images/dog", "images/wolf")
    extracted.run("index", "pets").succeeded()
    extracted.run("extract", "pets").succeeded("copied")
    assert json.loads(CELLS.read_bytes())["tiny"] != rows["tiny"]


def test_those_of_a_data_set_that_left_are_kept_aside_and_come_back(extracted):
    extracted.run("study").succeeded()
    before = CELLS.read_bytes()
    pets = extracted.params["datasets"].pop("pets")
    extracted.params["datasets"]["cats"] = pets
    extracted.write()
    extracted.run("study").succeeded("the index of pets is kept aside")
    sections = {path.name for path in Path("data/study/datasets").iterdir()}
    assert (CELLS.exists(), sections) == (False, {"cats.json"})
    extracted.params["datasets"] = {"pets": pets}
    extracted.write()
    extracted.run("study").succeeded()
    assert CELLS.read_bytes() == before
