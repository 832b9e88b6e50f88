"""What a model sees is, pixel for pixel, what timm's evaluation transform gives."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import draw
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.data import create_transform

from pipeline.transforms import Geometry, Transform

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


def test_a_transform_survives_its_dictionary():
    transform = Transform(Geometry(32, 0.9, "bicubic"), (0.1, 0.2, 0.3), (1.0, 2.0, 3.0))
    assert Transform.from_dict(transform.to_dict()) == transform
