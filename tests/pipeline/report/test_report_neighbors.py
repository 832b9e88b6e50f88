"""Neighbours as pictures: those that a slow search finds, marked where the class differs."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest
from made_inputs import make_inputs
from projects import RESNET, VIT
from test_picture_sheet import cut

from cache.cell import Cell
from pipeline.datasets.images import decode
from pipeline.datasets.index import read_index
from pipeline.project.paths import NEIGHBORS, cell_address
from pipeline.report.neighbors import NEAREST, QUERIES, choose, section
from pipeline.report.picture_sheet import squared
from pipeline.study.params import load_study


def found_in(project):
    return section(dataclasses.replace(make_inputs(), study=load_study()))


@pytest.fixture
def searched(project):
    project.params["models"] = {"tiny": {**VIT}, "other": {**RESNET}}
    project.prepare()
    project.run("neighbors").succeeded()
    return project


def slow_nearest(model, count):
    """Rows of train by distance in float64."""
    train, val = (
        Cell.open(cell_address("pets", model, split)).read().astype(np.float64)
        for split in ("train", "val")
    )
    distances = ((val[:, np.newaxis] - train) ** 2).sum(axis=2)
    return np.argsort(distances, axis=1, kind="stable")[:, :count]


def test_pictures_of_the_nearest_train_images(searched):
    index = read_index("pets")
    train, val = index.split("train"), index.split("val")
    found = found_in(searched)
    assert found.gaps == ()
    assert len(found.queries) == min(QUERIES, len(val))
    for query in found.queries:
        row = val.index[val["path"] == query.picture.title][0]
        assert query.picture.label == val["class"][row]
        assert [f.model for f in query.found] == ["tiny", "other"]
        for of_model in query.found:
            expected = slow_nearest(of_model.model, NEAREST)[row]
            assert [p.title for p in of_model.pictures] == train["path"][expected].tolist()
            same = train["class"][expected].to_numpy() == query.picture.label
            assert [not p.other for p in of_model.pictures] == same.tolist()
            assert of_model.same == same.sum()
            for picture in (query.picture, *of_model.pictures):
                data = (searched.folder / "images" / picture.title).read_bytes()
                shown = cut(found.style, picture.position)
                assert np.abs(shown - squared(decode(data, "")).astype(int)).mean() < 8  # JPEG


def test_the_same_study_gives_the_same_section(searched):
    assert found_in(searched) == found_in(searched)


def test_without_images_the_section_says_so(searched):
    shutil.rmtree(searched.folder / "images")
    found = found_in(searched)
    assert (found.queries, found.style) == ((), "")
    assert "does not exist" in found.gaps[0]


def test_a_changed_image_is_not_shown(searched):
    for path in (searched.folder / "images").rglob("*.png"):
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(bytes(data))
    found = found_in(searched)
    assert found.queries == ()
    assert "changed since it was indexed" in found.gaps[0]


def test_a_model_without_neighbours_is_named_and_the_other_is_shown(searched):
    shutil.rmtree(NEIGHBORS / "pets" / "tiny")
    found = found_in(searched)
    assert found.gaps == ("tiny on pets: no neighbours are stored",)
    assert {f.model for query in found.queries for f in query.found} == {"other"}


def test_neighbours_of_other_settings_are_not_shown(searched):
    searched.params["neighbors"]["n_neighbors"] = 4
    searched.write()
    found = found_in(searched)
    assert found.queries == ()
    assert all("other embeddings or settings" in gap for gap in found.gaps)


def test_pictures_can_be_switched_off(searched):
    searched.params["report"] = {"thumbnails": False}
    searched.write()
    found = found_in(searched)
    assert (found.queries, found.style) == ((), "")
    assert "report.thumbnails" in found.withheld


def test_a_study_without_models_has_no_pictures():
    found = section(make_inputs())
    assert (found.queries, found.style) == ((), "")
    assert len(found.gaps) == 1


def test_images_on_which_models_differ_are_preferred():
    rng = np.random.default_rng(0)
    agree = np.ones((100, 5), bool)
    differ = agree.copy()
    differing = np.sort(rng.choice(100, 10, replace=False))
    differ[differing] = False
    chosen = choose([agree, differ], 4)
    assert len(set(chosen.tolist())) == 4
    assert set(chosen.tolist()) <= set(differing.tolist())
    assert (np.diff(chosen) > 0).all()
    np.testing.assert_array_equal(chosen, choose([agree, differ], 4))
    assert choose([agree, differ], 4, seed=1).tolist() != chosen.tolist()


def test_without_differences_the_first_images_are_not_preferred():
    chosen = choose([np.ones((1000, 5), bool)], 6)
    assert chosen.max() > 200


def test_fewer_images_than_asked_for():
    assert choose([np.ones((2, 5), bool)], 6).tolist() == [0, 1]
