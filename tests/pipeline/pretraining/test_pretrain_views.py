"""Batched augmentation: inside the image, per image, and nothing that was not asked for."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from pipeline.pretraining.views import Augmentation

STILL = {
    "rotation": 0.0,
    "shear": 0.0,
    "zoom": (1.0, 1.0),
    "stretch": 0.0,
    "contrast": 0.0,
    "brightness": 0.0,
    "saturation": 0.0,
    "noise": 0.0,
    "blur": 0.0,
    "erase": 0.0,
}
"""Strengths that change nothing."""


def pictures(count: int, size: int = 16, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def seeded(number: int) -> None:
    torch.manual_seed(number)


@pytest.fixture(autouse=True)
def own_random_numbers():
    with torch.random.fork_rng(devices=[]):
        yield


def test_without_strength_nothing_changes():
    images = pictures(5)
    torch.testing.assert_close(Augmentation(**STILL)(images), images, atol=1e-6, rtol=0)


@given(seed=st.integers(0, 1000), size=st.sampled_from([7, 16, 33]), flip=st.booleans())
@settings(max_examples=20, deadline=None)
def test_shape_and_range_stay(seed, size, flip):
    with torch.random.fork_rng(devices=[]):
        seeded(seed)
        images = pictures(6, size, seed)
        seen = Augmentation(flip=flip)(images)
    assert seen.shape == images.shape
    assert seen.min() >= 0
    assert seen.max() <= 1


def test_every_image_gets_numbers_of_its_own():
    seeded(1)
    one = pictures(1).expand(8, -1, -1, -1)
    for strength in ("rotation", "shear", "contrast", "brightness", "noise", "blur", "erase"):
        asked = Augmentation(**{**STILL, strength: 0.5 if strength != "rotation" else 20.0})
        seen = asked(one)
        apart = [(seen[i] - seen[j]).abs().max() for i in range(8) for j in range(i)]
        assert sum(d > 1e-4 for d in apart) >= 25, strength  # erasing may twice miss the image


def test_grey_images_stay_grey():
    seeded(2)
    grey = pictures(4)[:, :1].expand(-1, 3, -1, -1)
    seen = Augmentation()(grey)
    torch.testing.assert_close(seen[:, 0], seen[:, 2], atol=1e-5, rtol=0)


@given(
    seed=st.integers(0, 1000),
    low=st.floats(0.1, 0.99),
    flip=st.booleans(),
)
@settings(max_examples=30, deadline=None)
def test_a_crop_lies_inside_the_image(seed, low, flip):
    kind = Augmentation(**{**STILL, "zoom": (low, 1.0), "flip": flip})
    with torch.random.fork_rng(devices=[]):
        seeded(seed)
        maps = kind.matrices(50, torch.zeros(1)).numpy()
    corners = np.array([[x, y, 1] for x in (-1, 1) for y in (-1, 1)], np.float32)
    assert np.abs(maps @ corners.T).max() <= 1 + 1e-5
    assert (np.abs(maps[:, 0, 0]) >= low - 1e-5).all()


def test_half_of_the_images_are_mirrored_only_where_that_is_asked_for():
    seeded(3)
    images = pictures(400, 8)
    seen = Augmentation(**STILL, flip=True)(images)
    mirrored = (seen - images.flip(3)).abs().amax(dim=(1, 2, 3)) < 1e-5
    same = (seen - images).abs().amax(dim=(1, 2, 3)) < 1e-5
    assert (mirrored ^ same).all()
    assert 150 < mirrored.sum() < 250
    assert (Augmentation(**STILL)(images) - images).abs().max() < 1e-5


def test_a_rotation_is_scipys_rotation():
    """Against an independent resampling: bilinear, the same angle, edges repeated."""
    seeded(4)
    kind = Augmentation(**{**STILL, "rotation": 30.0})
    images = pictures(6, 17)
    state = torch.get_rng_state()
    maps = kind.matrices(6, images)
    torch.set_rng_state(state)
    seen = kind(images).numpy()
    for image, matrix, view in zip(images.numpy(), maps.numpy(), seen, strict=True):
        angle = math.atan2(matrix[1, 0], matrix[0, 0])
        assert abs(angle) <= math.radians(30)
        rows, columns = np.mgrid[0:17, 0:17] - 8.0
        x = np.cos(angle) * columns - np.sin(angle) * rows
        y = np.sin(angle) * columns + np.cos(angle) * rows
        for channel, one in zip(image, view, strict=True):
            expected = map_coordinates(channel, [y + 8, x + 8], order=1, mode="nearest")
            np.testing.assert_allclose(one, expected, atol=1e-4)
