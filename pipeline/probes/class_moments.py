"""First and second moments of labelled features, by class, in two passes over parts of the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PART_BYTES = 64 << 20
"""Of the float64 copy of a part of an array's rows."""

Parts = Callable[[], Iterable[NDArray[np.floating]]]
"""Gives all rows in order, some at a time, whenever it is called."""


@dataclass(frozen=True)
class ClassMoments:
    """What the transferability metrics need to know of n labelled rows; all in float64.

    Attributes
    ----------
    mean : ndarray of shape (n_features,)
    scatter : ndarray of shape (n_features, n_features)
        Σ (x - mean)(x - mean)ᵀ.
    fourth : float
        Σ ‖x - mean‖⁴.
    counts : ndarray of shape (n_present,)
        Images of each class that occurs; all below follow its order.
    sums : ndarray of shape (n_present, n_features)
        Σ (x - mean) over a class.
    squares : ndarray of shape (n_present,)
        Σ ‖x - mean‖² over a class.
    """

    mean: NDArray[np.float64]
    scatter: NDArray[np.float64]
    fourth: float
    counts: NDArray[np.int64]
    sums: NDArray[np.float64]
    squares: NDArray[np.float64]

    @property
    def rows(self) -> int:
        """Number of images."""
        return int(self.counts.sum())

    @property
    def class_means(self) -> NDArray[np.float64]:
        """Less the common mean, shape (n_present, n_features)."""
        means: NDArray[np.float64] = self.sums / self.counts[:, np.newaxis]
        return means


def class_moments(parts: Parts, labels: NDArray[np.integer]) -> ClassMoments:
    """Moments about the mean, which a first pass finds: sums of raw squares lose their digits.

    Parameters
    ----------
    parts : callable
        Gives arrays of shape (some, n_features); called twice.
    labels : ndarray of shape (n_samples,)
    """
    present, codes = np.unique(labels, return_inverse=True)
    mean = np.sum([part.sum(axis=0, dtype=np.float64) for part in parts()], axis=0) / len(labels)
    scatter, fourth = np.zeros((len(mean),) * 2), 0.0
    sums, squares = np.zeros((len(present), len(mean))), np.zeros(len(present))
    done = 0
    for part in parts():
        centred = part.astype(np.float64) - mean
        part_codes = codes[done : done + len(part)]
        norms = np.einsum("ij,ij->i", centred, centred)
        scatter += centred.T @ centred
        fourth += float(np.square(norms).sum())
        np.add.at(sums, part_codes, centred)
        squares += np.bincount(part_codes, norms, len(present))
        done += len(part)
    return ClassMoments(mean, scatter, fourth, np.bincount(codes), sums, squares)


def parts_of(features: NDArray[np.floating]) -> Parts:
    """An array's rows, `PART_BYTES` of float64 at a time."""
    step = max(1, PART_BYTES // (8 * max(1, features.shape[1])))
    return lambda: (features[start : start + step] for start in range(0, len(features), step))
