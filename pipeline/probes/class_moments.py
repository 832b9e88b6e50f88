"""First and second moments of labelled features, by class, in two passes over parts of the rows.

Written in the words that NumPy and torch share (`pipeline.heads.columns`): a device adds up what it
is given, and no sum there depends on the order in which its threads come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.heads.columns import Array, in_numpy, namespace

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


def class_moments(
    parts: Parts, labels: NDArray[np.integer], like: Array | None = None
) -> ClassMoments:
    """Moments about the mean, which a first pass finds: sums of raw squares lose their digits.

    Parameters
    ----------
    parts : callable
        Gives arrays of shape (some, n_features); called twice.
    labels : ndarray of shape (n_samples,)
    like : array, optional
        Of the library and on the device that compute; NumPy by default.
    """
    like = np.empty(0) if like is None else like
    xp, device = namespace(like), like.device
    present, codes = np.unique(labels, return_inverse=True)
    mean = np.sum([part.sum(axis=0, dtype=np.float64) for part in parts()], axis=0) / len(labels)
    centre = xp.asarray(mean, device=device)
    shape = (len(mean),) * 2, (len(present), len(mean)), (len(present),)
    scatter, sums, squares = (xp.zeros(s, dtype=xp.float64, device=device) for s in shape)
    fourth, done = 0.0, 0
    for part in parts():
        values = xp.asarray(part, device=device)  # as stored: a device widens what it was given
        centred = xp.asarray(values, dtype=xp.float64) - centre
        part_codes = codes[done : done + len(part)]
        norms = xp.einsum("ij,ij->i", centred, centred)
        scatter += centred.T @ centred
        fourth += float(xp.square(norms).sum())
        _add_by_class(sums, squares, centred, norms, part_codes)
        done += len(part)
    return ClassMoments(
        mean, in_numpy(scatter), fourth, np.bincount(codes), in_numpy(sums), in_numpy(squares)
    )


def _add_by_class(
    sums: Array, squares: Array, centred: Array, norms: Array, codes: NDArray[np.intp]
) -> None:
    """In place. On a device by a product: its sums by index come out otherwise each time."""
    xp = namespace(sums)
    if xp is np:
        np.add.at(sums, codes, centred)
        squares += np.bincount(codes, norms, len(squares))
        return
    classes = xp.arange(len(squares), device=sums.device)
    own = xp.asarray(xp.asarray(codes, device=sums.device) == classes[:, None], dtype=xp.float64)
    sums += own @ centred
    squares += own @ norms


def parts_of(features: NDArray[np.floating]) -> Parts:
    """An array's rows, `PART_BYTES` of float64 at a time."""
    step = max(1, PART_BYTES // (8 * max(1, features.shape[1])))
    return lambda: (features[start : start + step] for start in range(0, len(features), step))
