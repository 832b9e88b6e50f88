"""Normalising features before a probe, with statistics of the train split only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float32]


def zscore(train: Features, *others: Features) -> tuple[Features, ...]:
    """Each column to mean 0 and standard deviation 1 over `train`; constant columns become 0."""
    mean = train.mean(axis=0, dtype=np.float64)
    deviation = train.std(axis=0, dtype=np.float64)
    deviation[deviation == 0] = 1.0
    return tuple(_as_float32((x - mean) / deviation) for x in (train, *others))


def unit_length(*features: Features) -> tuple[Features, ...]:
    """Each row to Euclidean length 1; a row of zeros stays."""
    scaled = []
    for x in features:
        length = np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True)
        length[length == 0] = 1.0
        scaled.append((x / length).astype(np.float32))
    return tuple(scaled)


def centre_and_scale(train: Features, *others: Features) -> tuple[Features, ...]:
    """Subtract the train mean and divide by one train scalar, RMS norm / √d.

    One scalar for all columns, so that a regularisation strength means the same for every
    model and the model's own geometry stays.
    """
    mean = train.mean(axis=0, dtype=np.float64)
    scale = float(np.sqrt(np.square(train - mean, dtype=np.float64).mean()))
    return tuple(_as_float32((x - mean) / (scale or 1.0)) for x in (train, *others))


def _as_float32(values: NDArray[np.float64]) -> Features:
    """In float32, finite: a train spread of 1e-38 must not make infinities of other rows."""
    limit = float(np.finfo(np.float32).max)
    return np.clip(values, -limit, limit).astype(np.float32)
