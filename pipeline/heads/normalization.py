"""Normalising features before a probe, with statistics of the train split only.

In float64, a block of rows at a time: what is held is the input and a float32 output.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.heads.slabs import Rows, part

Features = NDArray[np.float32]

BLOCK = 4096
"""Rows that are widened to float64 together."""


@dataclass(frozen=True)
class Normalizer:
    """What a train split says of how to normalise any features of the same model.

    Attributes
    ----------
    unit : bool
        Whether each row is first brought to Euclidean length 1; a row of zeros stays.
    mean : ndarray of shape (n_features,), float64
        Subtracted then; an intercept absorbs it.
    scale : ndarray of shape (n_features,) or (1,), float64
        Divides then.
    """

    unit: bool
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]

    @classmethod
    def fit(cls, kind: str, train: Rows) -> Normalizer:
        """Take the statistics of a train split, or of a part of it.

        Parameters
        ----------
        kind : {"none", "zscore", "l2"}
            "zscore" brings each column to mean 0 and standard deviation 1, a constant one to 0.
            "none" and "l2" (of rows of unit length) divide by one scalar, RMS norm / √d: a
            regularisation strength then means the same for every model and the model's own
            geometry stays.
        train : Rows of shape (n_train, n_features)
        """
        unit = kind == "l2"
        n, d = train.shape
        mean = np.zeros(d)
        for rows in _blocks(train, unit):  # exact for a constant column: 24 bits of 53 a row
            mean += rows.sum(axis=0)
        mean /= n
        squares = np.zeros(d)
        for rows in _blocks(train, unit):
            squares += np.square(rows - mean).sum(axis=0)
        spread = squares / n if kind == "zscore" else squares.sum(keepdims=True) / (n * d)
        scale = np.sqrt(spread)
        scale[scale == 0] = 1.0
        return cls(unit, mean, scale)

    def __call__(self, features: NDArray[np.floating]) -> Features:
        """Normalise features of any data set, shape (n, n_features)."""
        result = np.empty(features.shape, np.float32)
        # Finite: a train spread of 1e-38 must not make infinities of other rows.
        limit = float(np.finfo(np.float32).max)
        start = 0
        for rows in _blocks(features, self.unit):
            rows -= self.mean
            rows /= self.scale
            result[start : start + len(rows)] = np.clip(rows, -limit, limit)
            start += len(rows)
        return result


def centre_and_scale(train: Rows, *others: Rows) -> tuple[Rows, ...]:
    """Subtract the train mean and divide by one train scalar, RMS norm / √d.

    Arrays of few features; of many, views that are normalised as they are read.
    """
    normalizer = Normalizer.fit("none", train)
    return tuple(part(x, normalize=normalizer) for x in (train, *others))


def unit_length(*features: Features) -> tuple[Features, ...]:
    """Each row to Euclidean length 1; a row of zeros stays."""
    return tuple(
        np.concatenate(
            [x[:0].astype(np.float32), *(rows.astype(np.float32) for rows in _blocks(x, unit=True))]
        )
        for x in features
    )


def _blocks(features: Rows, unit: bool) -> Iterator[NDArray[np.float64]]:
    """Rows in order, as float64 copies."""
    for start in range(0, len(features), BLOCK):
        rows = features[start : start + BLOCK].astype(np.float64)
        if unit:
            length = np.linalg.norm(rows, axis=1, keepdims=True)
            length[length == 0] = 1.0
            rows /= length
        yield rows
