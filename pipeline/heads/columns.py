"""Features along their principal axes, as the softmax loss wants them: held, or read each time.

The penalty ½‖W‖² is the same in any rotated axes. In the principal ones badly scaled features
become badly scaled columns, which cost neither digits nor, with a diagonal preconditioner,
iterations. Where n < d there are only n of them. Written in the words that NumPy and torch share;
torch is never imported here unless an array is its tensor already.
"""

from __future__ import annotations

import sys
from typing import Any

from pipeline.heads.slabs import is_small, is_streamed, slab_size, slabs

Array = Any
"""numpy.ndarray or torch.Tensor, on one device."""

NOTHING = 1e-14
"""Variance along an axis, of the largest, that is rounding: such axes are left out."""
MISSED = 1e-6
"""Share of the variance that borrowed axes may leave out."""


def namespace(array: Array) -> Any:
    """The module whose functions take `array`: numpy or torch."""
    name = type(array).__module__.partition(".")[0]
    if name not in ("numpy", "torch"):
        raise TypeError(f"expected a NumPy array or a torch tensor, found {type(array)}")
    return sys.modules[name]


def in_numpy(array: Array) -> Any:
    """The same numbers in NumPy, from whatever device."""
    return array if namespace(array).__name__ == "numpy" else array.cpu().numpy()


class Samples:
    """Centred rows of features in float64, a slab at a time.

    Parameters
    ----------
    features : Rows
        An array, a torch tensor, or rows that are read.
    like : array
        Of the library and on the device to compute with.
    """

    def __init__(self, features: Any, like: Array) -> None:
        self.xp = xp = namespace(like)
        self.features, self.device, self.shape = features, like.device, tuple(features.shape)
        n, d = self.shape
        self.slabs = list(slabs(n, d, size=slab_size(like)))
        total = xp.zeros(self.shape[1], dtype=xp.float64, device=self.device)
        for rows in self.slabs:
            total += xp.sum(self.read(rows), 0, dtype=xp.float64)
        self.mean = total / self.shape[0]

    def read(self, rows: slice) -> Array:
        """As they come."""
        return self.xp.asarray(self.features[rows], device=self.device)

    def centred(self, rows: slice) -> Array:
        """In float64."""
        return self.xp.asarray(self.read(rows), dtype=self.xp.float64) - self.mean

    def principal_axes(self) -> tuple[Array, Array]:
        """Axes that span the centred features, as columns by falling variance, and their squares.

        Of shape (n_features, n_axes), float64, orthonormal. All of them where n >= d: features
        that are scaled a little otherwise are spanned, too. Squares are sums over samples.
        """
        xp, (n, d) = self.xp, self.shape
        if n < d:
            wide = self.centred(slice(0, n))
            squares, sides = xp.linalg.eigh(wide @ wide.T)
            kept = squares > NOTHING**0.5 * squares[-1]  # an axis of less would not be orthogonal
            axes = wide.T @ (sides[:, kept] / xp.sqrt(squares[kept]))
            squares = squares[kept]
        else:
            gram = xp.zeros((d, d), dtype=xp.float64, device=self.device)
            for rows in self.slabs:
                wide = self.centred(rows)
                gram += wide.T @ wide
            squares, axes = xp.linalg.eigh(gram)
        order = xp.argsort(-squares)
        return axes[:, order], xp.clip(squares[order], 0, None)


def principal_axes(features: Any, like: Array | None = None) -> Array:
    """The axes of `Samples.principal_axes`; computed like `like`, or like the features."""
    return Samples(features, features if like is None else like).principal_axes()[0]


class Held:
    """Features turned along their axes, in memory in their own precision.

    Parameters
    ----------
    features, like
        As of `Samples`.
    axes : array of shape (n_features, n_axes), float64, optional
        `principal_axes` of features much like these: they are principal only nearly, which costs
        iterations but changes no optimum. Axes that do not span these features are left aside.

    Attributes
    ----------
    squares : array of shape (1 + n_axes,), float64
        Mean square of each column; the first column is the constant.
    dtype : numpy.dtype or torch.dtype
    """

    def __init__(self, features: Any, like: Array, axes: Array | None = None) -> None:
        self._samples = samples = Samples(features, like)
        self.xp = xp = samples.xp
        self.dtype = xp.float64 if "float64" in str(features.dtype) else xp.float32
        if axes is None or not self._turn(axes):
            self._turn(samples.principal_axes()[0])
        # A second copy of many rows is not kept, they are rounded a slab at a time.
        small = is_small(features) or self.dtype == xp.float32
        self._narrow = xp.asarray(self._columns, dtype=xp.float32) if small else None

    def rows(self, rows: slice) -> Array:
        """Of shape (n_rows, 1 + n_axes), in the precision of the features."""
        return self._columns[rows]

    def narrow(self, rows: slice) -> Array:
        """The same in float32."""
        if self._narrow is None:
            return self.xp.asarray(self._columns[rows], dtype=self.xp.float32)
        return self._narrow[rows]

    def leading(self, rows: slice, count: int) -> Array:
        """The first columns of `rows`."""
        return self._columns[rows, :count]

    def turn(self, weights: Array) -> Array:
        """Weights of the columns as those of `rows`."""
        return weights

    def back(self, gradient: Array) -> Array:
        """A gradient by the weights of `rows` as that by those of the columns."""
        return gradient

    def coefficients(self, weights: Array) -> tuple[Array, Array]:
        """Coefficients and intercept for the features as they came."""
        found = weights[:, 1:] @ self._axes.T
        return found, weights[:, 0] - found @ self._samples.mean

    def _turn(self, axes: Array) -> bool:
        """Make the columns, rounded only after they turned; whether the axes span the features."""
        xp, samples = self.xp, self._samples
        shape = samples.shape[0], 1 + axes.shape[1]
        columns = xp.ones(shape, dtype=self.dtype, device=samples.device)
        squares = xp.zeros(axes.shape[1], dtype=xp.float64, device=samples.device)
        variance = 0.0
        for rows in samples.slabs:
            wide = samples.centred(rows)
            turned = wide @ axes
            columns[rows, 1:] = xp.asarray(turned, dtype=self.dtype)
            squares += (turned * turned).sum(0)
            variance += float((wide * wide).sum())
        squares, kept, spanned = _kept(squares, variance, shape[0])
        self.squares, self._axes = squares[kept] / shape[0], axes[:, kept[1:]]
        self._columns = columns if bool(kept.all()) else _columns_of(columns, kept, samples.slabs)
        return spanned


class Streamed:
    """Features that are read anew for each pass: weights are turned instead of rows.

    What the loss and its gradient are made of is in float64, as rows that are not turned lose
    digits of their lesser axes. Parameters and attributes are those of `Held`.
    """

    def __init__(self, features: Any, like: Array, axes: Array | None = None) -> None:
        self._samples = samples = Samples(features, like)
        self.xp = xp = samples.xp
        self.dtype = xp.float64
        n, found = samples.shape[0], None if axes is None else self._squares_along(axes)
        if found is None:
            axes, along = samples.principal_axes()
            found = _kept(along, 0.0, n)
        squares, kept, _ = found
        assert axes is not None
        self.squares, self._axes = squares[kept] / n, axes[:, kept[1:]]

    def rows(self, rows: slice) -> Array:
        """Of shape (n_rows, 1 + n_features), in float64."""
        return self._with_constant(rows, self.dtype)

    def narrow(self, rows: slice) -> Array:
        """The same in float32."""
        return self._with_constant(rows, self.xp.float32)

    def leading(self, rows: slice, count: int) -> Array:
        """The first of the columns."""
        columns = self.rows(rows)
        columns[:, 1:count] = columns[:, 1:] @ self._axes[:, : count - 1]
        return columns[:, :count]

    def turn(self, weights: Array) -> Array:
        """Weights of the columns as those of `rows`."""
        return self.xp.concatenate([weights[:, :1], weights[:, 1:] @ self._axes.T], 1)

    def back(self, gradient: Array) -> Array:
        """A gradient by the weights of `rows` as that by those of the columns."""
        return self.xp.concatenate([gradient[:, :1], gradient[:, 1:] @ self._axes], 1)

    def coefficients(self, weights: Array) -> tuple[Array, Array]:
        """Coefficients and intercept for the features as they came."""
        found = weights[:, 1:] @ self._axes.T
        return found, weights[:, 0] - found @ self._samples.mean

    def _squares_along(self, axes: Array) -> tuple[Array, Array, bool] | None:
        """Of each column, and which are more than rounding; None where they span too little."""
        xp, samples = self.xp, self._samples
        squares = xp.zeros(axes.shape[1], dtype=xp.float64, device=samples.device)
        variance = 0.0
        for rows in samples.slabs:
            wide = samples.centred(rows)
            variance += float((wide * wide).sum())
            wide = wide @ axes
            squares += (wide * wide).sum(0)
        found = _kept(squares, variance, samples.shape[0])
        return found if found[2] else None

    def _with_constant(self, rows: slice, dtype: Any) -> Array:
        xp, wide = self.xp, self._samples.centred(rows)
        columns = xp.ones(
            (wide.shape[0], 1 + wide.shape[1]), dtype=dtype, device=self._samples.device
        )
        columns[:, 1:] = xp.asarray(wide, dtype=dtype)
        return columns


def open_columns(features: Any, like: Array, axes: Array | None = None) -> Held | Streamed:
    """Held where the features are in memory, so that there is room for as much again."""
    return (Streamed if is_streamed(features) else Held)(features, like, axes)


def _kept(squares: Array, variance: float, n: int) -> tuple[Array, Array, bool]:
    """Sums of squares with the constant's first; which are not rounding; whether they span."""
    xp = namespace(squares)
    kept = squares > NOTHING * xp.amax(squares)
    spanned = float(squares.sum()) >= (1 - MISSED) * variance
    return (
        xp.concatenate([xp.ones_like(squares[:1]) * n, squares]),
        xp.concatenate([xp.ones_like(kept[:1]), kept]),
        spanned,
    )


def _columns_of(columns: Array, kept: Array, pieces: list[slice]) -> Array:
    """Some columns; many rows are moved together in their own memory."""
    if len(pieces) == 1:
        return columns[:, kept]
    n, width = columns.shape[0], int(kept.sum())
    together = columns.reshape(-1)[: n * width].reshape(n, width)
    for rows in pieces:  # a row ends before the next one that is still to be read begins
        together[rows] = columns[rows][:, kept]
    return together
