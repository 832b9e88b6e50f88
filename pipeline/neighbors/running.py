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

Values = NDArray[np.floating]
Indices = NDArray[np.int32]
Keys = NDArray[np.inexact]


class Running:
    """Each row's smallest values so far, and the columns that they come from.

    A row's limit is the k-th smallest of its values up to the last tidying, or a guess from a
    sample; of a new block only what does not exceed it is copied, and k values are chosen again
    when there is no room for more. A value and its column are kept as one number, so that choosing
    moves both: a float32 becomes a float64 whose last bits are the column, a float64 the real part
    of a complex number (NumPy orders those by real part, then by imaginary part: of equal values,
    the earlier column). The order of the blocks does not matter, but for which of equal float32
    values stays.

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
        self._none = np.finfo(dtype).max
        self._limit = np.full(rows, self._none, dtype)

    def offer(self, rows: slice, block: Values, columns: Indices, rank: int | None = None) -> None:
        """Take in a block; different rows may be offered by different threads.

        Parameters
        ----------
        rows : slice
        block : ndarray of shape (n_rows, n_columns), C-contiguous
            Infinity and NaN are passed over.
        columns : ndarray of shape (n_columns,)
            Names of the block's columns.
        rank : int, optional
            The block is a sample, and in each row as many values as are wanted are expected
            below the rank-th smallest of it: nothing above that is taken from now on.
        """
        for start in range(rows.start, rows.stop, BAND):
            band = slice(start, min(start + BAND, rows.stop))
            part = block[start - rows.start : band.stop - rows.start]
            if rank is not None:
                self._lower(band, part, rank)
            self._offer(band, part, columns)

    def smallest(self, rows: slice) -> tuple[NDArray[np.float64], Indices, NDArray[np.float64]]:
        """Values, ascending, and columns, each of shape (n_rows, k); and what bounds the others.

        Where a row has fewer, infinity and -1. The last result, of shape (n_rows,), is below no
        value that was offered and is not among these; infinite where there is none.
        """
        self._tidy(rows)
        values, columns = _unpack(np.sort(self._keys[rows, : self.k], axis=1))
        last, limit = values[:, -1], self._limit[rows]
        passed_over = np.where(limit == self._none, np.inf, limit.astype(np.float64))
        return values, columns, np.where(np.isfinite(last), last, passed_over)

    def _offer(self, rows: slice, block: Values, columns: Indices) -> None:
        if block.shape[1] > self._room:
            self._lower(rows, block, self.k, only=self._limit[rows] == self._none)
        hits, ends = _up_to(block, self._limit[rows])
        many = np.diff(ends) > self._room - self.k
        if many.any():  # a query's own class
            self._lower(rows, block, self.k, only=many)
            hits, ends = _up_to(block, self._limit[rows])
        if not len(hits):
            return
        new, count = np.diff(ends), self._count[rows]
        width = int((count + new).max())
        if width > self._room:
            self._tidy(rows)
            width = int((count + new).max())
        keys = self._keys[rows] if width <= self._room else self._widened(rows, width)
        values = block.reshape(-1).take(hits)
        # The i-th hit of a row goes to the row's i-th free place.
        row = np.arange(len(block))
        place = np.arange(len(hits)) + np.repeat(row * keys.shape[1] + count - ends[:-1], new)
        hits -= np.repeat(row * block.shape[1], new)
        keys.reshape(-1)[place] = _pack(values, columns.take(hits))
        count += new
        if width > self._room:
            self._keep(rows, keys)

    def _lower(
        self, rows: slice, block: Values, rank: int, only: NDArray[np.bool_] | None = None
    ) -> None:
        """Lower limits to the rank-th smallest of the block's rows, where there are so many."""
        if rank > block.shape[1]:
            return
        limit = self._limit[rows]
        some = slice(None) if only is None or only.all() else only
        values = np.partition(block[some], rank - 1, axis=1)[:, rank - 1]
        limit[some] = np.fmin(limit[some], values)

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
        few = self._count[rows] < self.k
        keys[few, : self.k] = np.sort(keys[few, : self.k], axis=1)  # free places come last
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


def _up_to(block: Values, limit: Values) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Flat places of a block's values up to their row's limit, and where each row's begin."""
    hits = _places(block <= limit[:, np.newaxis])
    return hits, np.searchsorted(hits, np.arange(len(block) + 1) * block.shape[1])


def _places(mask: NDArray[np.bool_]) -> NDArray[np.intp]:
    """As `numpy.flatnonzero`, which takes twice as long where a few in a hundred are true."""
    if mask.size % 8:
        return np.flatnonzero(mask)
    words = mask.reshape(-1).view(np.uint64)
    some = np.flatnonzero(words != 0)
    inside = np.flatnonzero(words[some].view(np.bool_))
    places: NDArray[np.intp] = some[inside >> 3]
    places <<= 3
    inside &= 7
    places += inside
    return places


def _pack(values: Values, columns: Indices) -> Keys:
    if values.dtype == np.float32:
        keys = values.astype(np.float64)
        bits = keys.view(np.int64)
        bits |= columns
        return keys
    pairs = np.empty(len(values), np.complex128)
    pairs.real, pairs.imag = values, columns
    return pairs


def _unpack(keys: Keys) -> tuple[NDArray[np.float64], Indices]:
    if keys.dtype == np.float64:
        bits = keys.view(np.int64)
        values = (bits & ~_COLUMN).view(np.float64)
        columns = (bits & _COLUMN).astype(np.int32)
    else:
        values = keys.real.copy()
        columns = keys.imag.astype(np.int32)
    columns[np.isinf(values)] = -1
    return values, columns
