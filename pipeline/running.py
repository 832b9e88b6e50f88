"""The k smallest values of each row of a matrix that is seen block of columns by block."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MOST_COLUMNS = 1 << 29
"""A column's number has to fit into the digits that a float64 has beyond a float32."""

ROOM = 3
"""Values held for each row, in multiples of k."""

BAND = 256
"""Rows chosen from at a time, which bounds the memory of masks and places."""

_COLUMN = np.int64(MOST_COLUMNS - 1)

Keys = NDArray[np.inexact]


class Running:
    """Each row's smallest values so far, and the columns that they come from.

    A row's limit is the k-th smallest of its values up to the last tidying; of a new block only
    what does not exceed it is copied, and k values are chosen again when twice as many have
    gathered. A value and its column are kept as one number, so that choosing moves both: a float32
    becomes a float64 whose last bits are the column, a float64 the real part of a complex number
    (NumPy orders those by real part, then by imaginary part: of equal values, the earlier column).
    The order of the blocks does not matter, but for which of equal float32 values stays.

    Parameters
    ----------
    rows, k : int
    dtype : type
        Of the values: float32 or float64.
    """

    def __init__(self, rows: int, k: int, dtype: type[np.floating]) -> None:
        self.k = k
        self._room = ROOM * k
        self._keys = np.full((rows, self._room), np.inf, key_type(dtype))
        self._count = np.zeros(rows, np.int64)
        self._limit = np.full(rows, np.finfo(dtype).max, dtype)

    def offer(self, rows: slice, block: NDArray[np.floating], columns: NDArray[np.int32]) -> None:
        """Take in a block; different rows may be offered by different threads.

        Parameters
        ----------
        rows : slice
        block : ndarray of shape (n_rows, n_columns), C-contiguous
            Infinity and NaN are passed over.
        columns : ndarray of shape (n_columns,)
            Names of the block's columns.
        """
        for start in range(rows.start, rows.stop, BAND):
            band = slice(start, min(start + BAND, rows.stop))
            self._offer(band, block[start - rows.start : band.stop - rows.start], columns)

    def _offer(self, rows: slice, block: NDArray[np.floating], columns: NDArray[np.int32]) -> None:
        limit = self._limit[rows]
        hits, new = _up_to(block, limit)
        many = new > self._room - self.k
        if many.any():  # a first block, or a query's own class
            limit[many] = np.fmin(limit[many], _kth(block[many], self.k))
            hits, new = _up_to(block, limit)
        if not len(hits):
            return
        count = self._count[rows]
        width = int((count + new).max())
        keys = self._keys[rows] if width <= self._room else self._widened(rows, width)
        # The i-th hit of a row goes to the row's i-th free place.
        row = np.arange(len(block))
        before = np.cumsum(new) - new
        place = np.arange(len(hits)) + np.repeat(row * keys.shape[1] + count - before, new)
        column = columns.take(hits - np.repeat(row * block.shape[1], new))
        keys.reshape(-1)[place] = _pack(block.reshape(-1).take(hits), column)
        count += new
        if width > self._room:
            self._keep(rows, keys)
        elif count.mean() > 2 * self.k:
            self._tidy(rows)

    def smallest(self, rows: slice) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        """Values, ascending, and columns, each of shape (n_rows, k).

        Where a row has fewer, infinity and -1.
        """
        self._tidy(rows)
        return _unpack(np.sort(self._keys[rows, : self.k], axis=1))

    def _widened(self, rows: slice, width: int) -> Keys:
        keys = np.full((rows.stop - rows.start, width), np.inf, self._keys.dtype)
        keys[:, : self._room] = self._keys[rows]
        return keys

    def _tidy(self, rows: slice) -> None:
        """Keep the k smallest of what has gathered."""
        width = int(self._count[rows].max(initial=0))
        if width > self.k:
            self._keep(rows, self._keys[rows, :width])

    def _keep(self, rows: slice, keys: Keys) -> None:
        keys.partition(self.k - 1, axis=1)
        self._keys[rows, : self.k] = keys[:, : self.k]
        self._keys[rows, self.k :] = np.inf
        self._count[rows] = np.minimum(self._count[rows], self.k)
        last, _ = _unpack(keys[:, self.k - 1])
        full = np.isfinite(last)
        limit = self._limit[rows]
        if limit.dtype == np.float32:  # a further equal value is not needed
            below = np.nextafter(last[full].astype(np.float32), np.float32(-np.inf))
            limit[full] = np.minimum(limit[full], below)
        else:
            limit[full] = np.minimum(limit[full], last[full])


def key_type(dtype: type[np.floating]) -> type[np.inexact]:
    """Of the numbers that hold a value of `dtype` and its column."""
    return np.float64 if dtype == np.float32 else np.complex128


def _up_to(
    block: NDArray[np.floating], limit: NDArray[np.floating]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Flat places of a block's values up to their row's limit, and how many each row has."""
    hits = np.flatnonzero(block <= limit[:, np.newaxis])
    ends = np.searchsorted(hits, np.arange(len(block) + 1) * block.shape[1])
    return hits, np.diff(ends)


def _kth(block: NDArray[np.floating], k: int) -> NDArray[np.floating]:
    """Each row's k-th smallest value."""
    kth: NDArray[np.floating] = np.partition(block, k - 1, axis=1)[:, k - 1]
    return kth


def _pack(values: NDArray[np.floating], columns: NDArray[np.int32]) -> Keys:
    if values.dtype == np.float32:
        keys = values.astype(np.float64)
        bits = keys.view(np.int64)
        bits |= columns
        return keys
    pairs = np.empty(len(values), np.complex128)
    pairs.real, pairs.imag = values, columns
    return pairs


def _unpack(keys: Keys) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    if keys.dtype == np.float64:
        bits = keys.view(np.int64)
        values = (bits & ~_COLUMN).view(np.float64)
        columns = (bits & _COLUMN).astype(np.int32)
    else:
        values = keys.real.copy()
        columns = keys.imag.astype(np.int32)
    columns[np.isinf(values)] = -1
    return values, columns
