"""What a model sees is, pixel for pixel, what timm's evaluation transform gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from projects import draw
from timm.data import create_transform

from pipeline.models.transforms import Geometry

INTERPOLATIONS = ["nearest", "bilinear", "bicubic", "lanczos"]


def timms(image, size: int, crop: float, interpolation: str) -> np.ndarray:
    transform = create_transform(
        input_size=(3, size, size), is_training=False, crop_pct=crop, interpolation=interpolation,
        normalize=False,
    )  # fmt: skip
    return np.asarray(transform(image)).transpose(1, 2, 0)


@settings(max_examples=120, deadline=None)
@given(
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    size=st.integers(1, 96),
    crop=st.sampled_from([1.0, 0.95, 0.9, 0.875, 0.85, 0.7, 0.5]),
    interpolation=st.sampled_from(INTERPOLATIONS),
)
def test_the_geometry_is_timms(width, height, size, crop, interpolation):
    image = draw(width * 1000 + height, (width, height))
    found = Geometry(size, crop, interpolation).apply(image)
    assert found.shape == (size, size, 3)
    np.testing.assert_array_equal(found, timms(image, size, crop, interpolation))


@pytest.mark.parametrize("size", [(1, 1), (1, 2000), (2000, 1), (3, 900)])
def test_extreme_shapes(size):
    image = draw(1, size)
    found = Geometry(32, 0.875, "bicubic").apply(image)
    np.testing.assert_array_equal(found, timms(image, 32, 0.875, "bicubic"))


def test_a_square_image_of_the_right_size_passes_unchanged():
    image = draw(2, (48, 48))
    np.testing.assert_array_equal(Geometry(48, 1.0, "bicubic").apply(image), image)


def test_a_strip_whose_resized_whole_would_fill_the_memory(monkeypatch):
    image = draw(3, (3, 900))
    whole = Geometry(32, 0.875, "bicubic").apply(image)
    monkeypatch.setattr("pipeline.models.transforms._LARGEST", 0)
    part = Geometry(32, 0.875, "bicubic").apply(image)
    assert np.abs(part.astype(int) - whole).max() <= 1
    monkeypatch.undo()
    assert Geometry(224, 1.0, "bicubic").apply(draw(1, (1, 60_000))).shape == (224, 224, 3)


def test_squash_ignores_the_aspect_ratio_as_timm_does():
    image = draw(5, (50, 31))
    transform = create_transform(
        (3, 32, 32),
        crop_pct=0.9,
        interpolation="bicubic",
        crop_mode="squash",
        mean=(0, 0, 0),
        std=(1, 1, 1),
    )
    found = Geometry(32, 0.9, "bicubic", "squash").apply(image)
    wanted = np.rint(transform(image).numpy().transpose(1, 2, 0) * 255)
    np.testing.assert_array_equal(found, wanted)
