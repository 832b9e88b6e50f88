"""Real handwritten digits that need no download, and domain shifts of them.

The 1,797 digits that scikit-learn ships (UCI's optical recognition of handwritten digits: 8 x 8
pixels, 16 grey levels), enlarged to 32 x 32, and six deterministic shifts. The i-th image of each
shift is the i-th digit, so that all of them share one split. And the digits from 5 to 9 alone, for
models that were trained on the others.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from cache.errors import ProbelineError
from pipeline.datasets.doors import open_root
from pipeline.datasets.picture_tar import write_pictures
from pipeline.datasets.roots import Entry, Root
from pipeline.datasets.samples import sample_table
from pipeline.datasets.settings import Dataset
from pipeline.project.paths import RAW

SIDE = 32
Images = NDArray[np.float64]
"""ndarray of shape (n_images, SIDE, SIDE) or (n_images, SIDE, SIDE, 3), values in [0, 1]."""


def _plain(digits: Images, rng: np.random.Generator) -> Images:
    return digits


def _rotated(digits: Images, rng: np.random.Generator) -> Images:
    """Turned by 25 to 60 degrees, either way."""
    from scipy.ndimage import rotate

    angles = rng.uniform(25, 60, len(digits)) * rng.choice([-1, 1], len(digits))
    return np.stack(
        [rotate(d, a, reshape=False, order=1) for d, a in zip(digits, angles, strict=True)]
    )


def _inverted(digits: Images, rng: np.random.Generator) -> Images:
    """Dark ink on a light page."""
    return 1.0 - digits


def _noisy(digits: Images, rng: np.random.Generator) -> Images:
    """Gaussian noise of standard deviation 0.35."""
    return digits + rng.normal(0, 0.35, digits.shape)


def _blurred(digits: Images, rng: np.random.Generator) -> Images:
    """Seen at 4 x 4 pixels, then enlarged."""
    small = digits.reshape(len(digits), 4, SIDE // 4, 4, SIDE // 4).mean(axis=(2, 4))
    return np.stack([_enlarge(image) for image in small])


def _edges(digits: Images, rng: np.random.Generator) -> Images:
    """Only the strokes' outlines: the gradient's magnitude."""
    from scipy.ndimage import sobel

    magnitude: Images = np.hypot(sobel(digits, axis=1), sobel(digits, axis=2))
    strongest: Images = magnitude.max(axis=(1, 2), keepdims=True)
    return magnitude / strongest


def _photo(digits: Images, rng: np.random.Generator) -> Images:
    """The digit as a difference on a random patch of scikit-learn's two photographs."""
    from sklearn.datasets import load_sample_images

    photos = [photo / 255.0 for photo in load_sample_images().images]
    blended = []
    for digit in digits:
        photo = photos[rng.integers(len(photos))]
        top = rng.integers(photo.shape[0] - SIDE)
        left = rng.integers(photo.shape[1] - SIDE)
        patch = photo[top : top + SIDE, left : left + SIDE]
        blended.append(np.abs(patch - digit[..., np.newaxis]))
    return np.stack(blended)


SHIFTS: MappingProxyType[str, Callable[[Images, np.random.Generator], Images]] = MappingProxyType(
    {
        "digits": _plain,
        "digits_rotated": _rotated,
        "digits_inverted": _inverted,
        "digits_noisy": _noisy,
        "digits_blurred": _blurred,
        "digits_edges": _edges,
        "digits_photo": _photo,
        "digits_5_to_9": _plain,
    }
)


ONLY: MappingProxyType[str, range] = MappingProxyType({"digits_5_to_9": range(5, 10)})
"""Digits of the data sets that do not have all."""


def make(name: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """One of `SHIFTS`.

    Returns
    -------
    images : ndarray of shape (1797, 32, 32, 3)
        Fewer where the data set has only some of the digits.
    labels : ndarray of shape (1797,)
    """
    from sklearn.datasets import load_digits

    data = load_digits()
    digits = np.stack([_enlarge(image / 16.0) for image in data.images])
    shifted = SHIFTS[name](digits, np.random.default_rng(0))
    grey = np.rint(np.clip(shifted, 0, 1) * 255).astype(np.uint8)
    colour = grey if grey.ndim == 4 else np.repeat(grey[..., np.newaxis], 3, axis=-1)
    labels = data.target.astype(np.int64)
    kept = np.isin(labels, ONLY.get(name, range(10)))
    return colour[kept], labels[kept]


def tar_path(name: str) -> Path:
    """Where a built-in data set lies once made."""
    return RAW / f"{name}.tar"


def write_tar(name: str) -> Path:
    """Write a built-in data set as PNG files ``<class>/<number>.png`` in a tar file, if absent."""
    path = tar_path(name)
    if path.exists():
        return path
    images, labels = make(name)
    pairs = enumerate(zip(images, labels, strict=True))
    write_pictures(path, ((f"{label}/{n:04d}.png", pixels) for n, (pixels, label) in pairs))
    return path


def open_digits(name: str, dataset: Dataset) -> Root:
    """The tar file of the built-in data set that an entry names, made if absent.

    Raises
    ------
    ProbelineError
        When there is no such data set.
    """
    builtin = dataset.source_name
    if builtin not in SHIFTS:
        raise ProbelineError(
            f"params.yaml: datasets.{name}.source",
            "there is no such built-in data set",
            expected=f"one of {', '.join(SHIFTS)}",
            found=builtin,
            remedy="choose one of these, or use `source: folder` with your own images",
        )
    return open_root(write_tar(builtin), f"params.yaml: datasets.{name}.path")


def digits_to_come(name: str, dataset: Dataset) -> pd.DataFrame:
    """Their labels, without making the images."""
    from sklearn.datasets import load_digits

    kept = ONLY.get(dataset.source_name, range(10))
    labels = [str(label) for label in load_digits().target if label in kept]
    entries = [Entry(str(number), 0, 0) for number in range(len(labels))]
    return sample_table(entries, labels, [None] * len(labels))


def _enlarge(image: NDArray[np.float64]) -> NDArray[np.float64]:
    picture = Image.fromarray(image.astype(np.float32))
    return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float64)
