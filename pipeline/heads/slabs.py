"""Features a slab of rows at a time, whether they lie in memory or in the cache.

What a head computes for each image and class, or in a wider type than the features', exists for
one slab only: what it needs then grows with features x features and features x classes, never with
images x classes. Rows come by slices in ascending order, so that a cell's chunks are read once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Slab = NDArray[np.floating]

SLAB = 1 << 21
"""Values of one slab: its rows x the larger of features and classes. What is no larger is one slab,
and is computed with just as if there were none."""


DEVICE_SLAB = 1 << 26
"""The same on a GPU, for which small steps are all launch; less where its memory is small."""


class Rows(Protocol):
    """Features that give their rows by slices: an array, or a cell of the cache."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Images and features."""

    @property
    def dtype(self) -> Any:
        """Of the rows."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> Slab: ...


def slabs(
    rows: int, width: int, most: int | None = None, size: int | None = None
) -> Iterator[slice]:
    """Slices of `rows` rows, in order, each of at most `SLAB` values.

    Parameters
    ----------
    rows : int
    width : int
        Values of a row: of features, classes, or the larger of both.
    most : int, optional
        Rows of a slab, where there is another limit.
    size : int, optional
        Values of a slab, if not `SLAB`.
    """
    step = max(1, min((size or SLAB) // max(1, width), most or rows))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def slab_size(like: Any) -> int:
    """Values of a slab where `like` lies."""
    if not is_placed(like) or like.device.type != "cuda":
        return SLAB
    # By what the device has, not by what is free: the same fit has the same sums each time.
    most = int(sys.modules["torch"].cuda.get_device_properties(like.device).total_memory)
    return max(SLAB, min(DEVICE_SLAB, most // 512))  # some dozen arrays of 8 bytes a value


def is_small(features: Rows) -> bool:
    """Whether features are one slab, of which copies cost nothing."""
    return features.shape[0] * features.shape[1] <= SLAB


def is_streamed(features: Any) -> bool:
    """Whether rows are read each time, as there is no room for a copy of all."""
    while isinstance(features, Part) and not features.streamed:
        features = features.features
    return bool(getattr(features, "streamed", False))


@dataclass(frozen=True)
class Part:
    """Some rows of features, normalised when they are read.

    Attributes
    ----------
    features : Rows
    rows : ndarray of shape (n_rows,), int64, or None
        Ascending; None: all.
    normalize : callable or None
        From some rows to as many.
    dtype : type
        In which they are given.
    streamed : bool
        Whether no copy of them is to be kept.
    """

    features: Rows
    rows: NDArray[np.int64] | None = None
    normalize: Callable[[Slab], Slab] | None = None
    dtype: type[np.floating] = np.float32
    streamed: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Images and features."""
        return len(self), self.features.shape[1]

    def __len__(self) -> int:
        return len(self.features) if self.rows is None else len(self.rows)

    def __getitem__(self, rows: slice) -> Slab:
        values = self._chosen(rows)
        if self.normalize is not None:
            values = self.normalize(values)
        return values.astype(self.dtype, copy=False)

    def _chosen(self, rows: slice) -> Slab:
        if self.rows is None:
            return self.features[rows]
        wanted = self.rows[rows]
        if isinstance(self.features, np.ndarray):
            return np.asarray(self.features[wanted])
        read = np.empty((len(wanted), self.features.shape[1]), np.float32)
        # Only the stretch that holds them is read, a slab at a time.
        first, last = (int(wanted[0]), int(wanted[-1]) + 1) if len(wanted) else (0, 0)
        for stretch in slabs(last - first, self.features.shape[1]):
            start, stop = first + stretch.start, first + stretch.stop
            here = slice(*np.searchsorted(wanted, [start, stop]))
            if here.start < here.stop:
                read[here] = self.features[start:stop][wanted[here] - start]
        return read


def part(
    features: Rows,
    rows: NDArray[np.bool_] | None = None,
    normalize: Callable[[Slab], Slab] | None = None,
    dtype: type[np.floating] = np.float32,
) -> Rows:
    """Rows of features as they are to be computed with: a copy where they are small, else a view.

    Parameters
    ----------
    features : Rows
    rows : ndarray of shape (n,), bool, optional
        Those that are meant; all by default.
    normalize : callable, optional
    dtype : type
    """
    if not (isinstance(features, np.ndarray) and is_small(features)):
        chosen = None if rows is None else np.flatnonzero(rows)
        return Part(features, chosen, normalize, dtype)
    values = features if rows is None else features[rows]
    if normalize is not None:
        values = normalize(values)
    return values.astype(dtype, copy=False)


def is_placed(features: Any) -> bool:
    """Whether features lie in torch's memory, of whatever device."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(features, torch.Tensor)


def placed(features: Rows, like: Any) -> Rows:
    """Features where `like` lies: on a device they are uploaded once, and not slab by slab.

    Parameters
    ----------
    features : Rows
        Streamed ones stay as they are: whoever reads them uploads each slab.
    like : array
        Of NumPy, which takes them as they come, or of torch.
    """
    if not is_placed(like) or is_placed(features) or is_streamed(features):
        return features
    torch = sys.modules["torch"]
    if isinstance(features, np.ndarray):
        whole_there: Rows = torch.asarray(np.ascontiguousarray(features), device=like.device)
        return whole_there
    dtype = torch.float64 if np.dtype(features.dtype) == np.float64 else torch.float32
    found: Any = torch.empty(features.shape, dtype=dtype, device=like.device)
    for rows in slabs(*features.shape):
        found[rows] = torch.asarray(features[rows], device=like.device)
    there: Rows = found
    return there


def taken(features: Rows, rows: NDArray[np.int64]) -> Rows:
    """Some rows, as they are: a copy of an array's, a view of those that are read."""
    return features[rows] if isinstance(features, np.ndarray) else Part(features, rows)


def whole(features: Rows) -> Slab:
    """All rows at once, for libraries that take nothing less."""
    if isinstance(features, np.ndarray):
        return features
    found = [features[rows] for rows in slabs(*features.shape)]
    return np.concatenate(found) if found else np.empty(features.shape, np.float32)
