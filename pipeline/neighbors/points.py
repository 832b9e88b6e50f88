"""Features as points, and distances as stored: the same in a search and in what is taken home."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def points_of(
    features: NDArray[np.floating],
    mean: NDArray[np.float64] | None,
    deviation: NDArray[np.float64] | None,
    *,
    unit: bool,
) -> NDArray[np.float64]:
    """Points between which squared Euclidean distances are taken, in float64.

    Parameters
    ----------
    features : ndarray of shape (n_rows, n_features)
    mean, deviation : ndarray of shape (n_features,), optional
        Subtracted, and divided by, first.
    unit : bool
        Whether rows are brought to length 1 then; a row of zeros stays.
    """
    points = features.astype(np.float64)
    if mean is not None:
        points -= mean
    if deviation is not None:
        points /= deviation
    if unit:
        length = np.sqrt(np.vecdot(points, points))[:, np.newaxis]
        length[length == 0] = 1.0
        points /= length
    return points


def rounded(distances: NDArray[np.float64]) -> NDArray[np.float32]:
    """In float32; what is not 0 stays so, for only exact matches are 0, and finite."""
    limits = np.finfo(np.float32)
    near = np.clip(distances, float(limits.tiny), float(limits.max)).astype(np.float32)
    return np.where(distances == 0, np.float32(0), near)
