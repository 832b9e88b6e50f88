"""Accuracies of all models on redrawn test images: what they would be on other images alike."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.statistics.arrays import Floats

EXACT_UP_TO = 2_000
"""Test images up to which they are redrawn one by one."""

_ELEMENTS = 4_000_000
"""Numbers in one block of drawn images: 32 MB."""


def multinomial_draws(
    units: NDArray[np.floating],
    strata: NDArray[np.int64],
    draws: int,
    rng: np.random.Generator,
) -> Floats:
    """Scores on images redrawn with replacement, the same images for all models.

    Parameters
    ----------
    units : ndarray of shape (n_models, n_images)
        What each image adds to each model's score; rows sum to the scores.
    strata : ndarray of shape (n_images,)
        Images are redrawn within these.
    draws : int
    rng : Generator

    Returns
    -------
    ndarray of shape (draws, n_models)
    """
    order = np.argsort(strata, kind="stable")
    _, start, stratum, size = np.unique(
        strata[order], return_index=True, return_inverse=True, return_counts=True
    )
    ordered = units[:, order].T.astype(np.float64)
    images = len(order)
    highest = size[0] if len(size) == 1 else size[stratum]  # one number is several times faster
    found = np.empty((draws, len(units)))
    step = max(1, _ELEMENTS // max(images, 1))
    for first in range(0, draws, step):
        count = min(step, draws - first)
        chosen = rng.integers(highest, size=(count, images)) + start[stratum]
        chosen += np.arange(count)[:, np.newaxis] * images
        times = np.bincount(chosen.ravel(), minlength=count * images).reshape(count, images)
        found[first : first + count] = times.astype(np.float64) @ ordered
    return found


def normal_draws(
    scores: Floats, covariance: Floats, draws: int, rng: np.random.Generator
) -> Floats:
    """The same for many images: normal, with the models' covariance over images.

    Parameters
    ----------
    scores : ndarray of shape (n_models,)
    covariance : ndarray of shape (n_models, n_models)
        Of the scores, empirical.
    draws : int
    rng : Generator

    Returns
    -------
    ndarray of shape (draws, n_models)
    """
    variances, directions = np.linalg.eigh(covariance)
    root = directions * np.sqrt(np.maximum(variances, 0))
    found: Floats = scores + rng.standard_normal((draws, len(scores))) @ root.T
    return found
