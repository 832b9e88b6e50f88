import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.models.transforms import View, _draw_box

CELL = "data/embeddings/pets/tiny.zarr"


@given(st.tuples(st.integers(1, 400), st.integers(1, 400)), st.integers(0, 99))
def test_a_view_lies_inside_the_image(size, seed):
    left, top, right, bottom = _draw_box(size, np.random.default_rng(seed))
    assert 0 <= left < right <= size[0]
    assert 0 <= top < bottom <= size[1]


def test_a_view_depends_on_its_number_and_row_alone():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 40, 3), dtype=np.uint8))
    one = View(16, "bilinear", 1)
    assert np.array_equal(one.apply(image, 5), one.apply(image, 5))
    assert not np.array_equal(one.apply(image, 5), one.apply(image, 6))
    assert not np.array_equal(one.apply(image, 5), View(16, "bilinear", 2).apply(image, 5))
    assert one.apply(image, 5).shape == (16, 16, 3)


def test_half_of_the_views_are_mirrored():
    ramp = Image.fromarray(np.tile(np.arange(256, dtype=np.uint8)[:, None], (256, 1, 3)))
    mirrored = [
        v[0, 0, 0] > v[0, -1, 0]
        for v in (View(8, "bilinear", 1).apply(ramp, r) for r in range(400))
    ]
    assert 0.4 < np.mean(mirrored) < 0.6


@pytest.fixture
def with_views(project):
    project.params["extraction"] = {"views": 2}
    project.prepare()
    return project


def test_views_are_more_cells_of_train(with_views):
    opened = {
        g: xr.open_zarr(CELL, group=g).embedding.values
        for g in ("train", "train_view_1", "train_view_2")
    }
    assert len({values.shape for values in opened.values()}) == 1
    assert len({values.tobytes() for values in opened.values()}) == 3
    with_views.run("extract", "pets").succeeded("1 cached, 0 computed")


def test_more_views_compute_only_the_new_ones(with_views):
    before = with_views.files(CELL)
    with_views.params["extraction"] = {"views": 3}
    with_views.write()
    with_views.run("extract", "pets").succeeded("0 cached, 1 computed")
    after = with_views.files(CELL)
    assert (with_views.folder / CELL / "train_view_3").is_dir()
    for path, data in before.items():
        if path != f"{CELL}/zarr.json":
            assert after[path] == data
