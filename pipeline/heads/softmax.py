"""The softmax loss of linear scores over one set of samples, on NumPy or on torch.

All that touches every sample. `newton` minimises it. Written in the words that NumPy and torch
share; torch is never imported here unless the features are its tensors already.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

Array = Any
"""numpy.ndarray or torch.Tensor, on one device."""

NOTHING = 1e-14
"""Variance along an axis, of the largest, that is rounding: such axes are left out."""
MISSED = 1e-6
"""Share of the variance that borrowed axes may leave out."""
SLAB = 1 << 24
"""Values of the features that are widened at a time."""


def namespace(array: Array) -> Any:
    """The module whose functions take `array`: numpy or torch."""
    name = type(array).__module__.partition(".")[0]
    if name not in ("numpy", "torch"):
        raise TypeError(f"expected a NumPy array or a torch tensor, found {type(array)}")
    return sys.modules[name]


@dataclass(frozen=True)
class Point:
    """The loss at one set of logits.

    Attributes
    ----------
    logits : array of shape (n_classes, n_samples)
    loss : float
        Sum over samples.
    residual : array of shape (n_classes, n_samples)
        Probability minus 1 for the own class, minus 0 for others.
    """

    logits: Array
    loss: float
    residual: Array


class SoftmaxLoss:
    """Σ_i −log softmax(W x_i + b)[y_i] and its derivatives, in the features' principal axes.

    The penalty ½‖W‖² is the same in any rotated axes. In the principal ones badly scaled features
    become badly scaled columns, which cost neither digits nor, with a diagonal preconditioner,
    iterations. Where n < d there are only n of them.

    Parameters
    ----------
    features : array of shape (n_samples, n_features), float32 or float64
    labels : array of shape (n_samples,), int64
        0 to n_classes − 1.
    n_classes : int
    axes : array of shape (n_features, n_axes), float64, optional
        `principal_axes` of features much like these, for the columns to be taken along: they are
        principal only nearly, which costs iterations but changes no optimum. Axes that do not span
        these features are left aside.

    Attributes
    ----------
    squares : array of shape (1 + n_axes,), float64
        Mean square of each column.
    penalised : array of shape (1 + n_axes,), float64
        0 for the intercept, else 1.

    Notes
    -----
    Weights and gradients are arrays of shape (n_classes, 1 + n_axes), float64: the intercept of
    the centred features, then the axes by falling variance.

    The residual of a sample's own class is formed as −Σ of the other probabilities, and the loss
    as log1p of the others' odds. Both then keep their relative precision where a sample is fitted
    to 1e-7 and beyond, which 1 − p and log p lose. Products with the Hessian need no more than
    float32: they only lead to the optimum, the gradient says where it is.
    """

    def __init__(
        self, features: Array, labels: Array, n_classes: int, axes: Array | None = None
    ) -> None:
        self.xp = xp = namespace(features)
        self.n_classes = n_classes
        self._labels = labels
        self._rows = xp.arange(len(labels), device=labels.device)
        self._mean = xp.mean(features, 0, dtype=xp.float64)
        if axes is None or not self._turn(features, axes):
            self._turn(features, principal_axes(features))
        self._narrow = xp.asarray(self._columns, dtype=xp.float32)
        self.penalised = xp.ones_like(self.squares)
        self.penalised[0] = 0

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def precision(self) -> float:
        """Relative rounding error of the features' type."""
        return float(self.xp.finfo(self._columns.dtype).eps)

    def start(self) -> Array:
        """Weights 0 and the intercept at the log class frequencies: the optimum for C → 0."""
        counts = self.xp.bincount(self._labels, minlength=self.n_classes)
        log_counts = self.xp.log(self.xp.asarray(counts, dtype=self.xp.float64))
        shape = self.n_classes, len(self.squares)
        weights = self.xp.zeros(shape, dtype=self.xp.float64, device=self.squares.device)
        weights[:, 0] = log_counts - log_counts.mean()
        return weights

    def from_axes(self, weights: Array) -> tuple[Array, Array]:
        """Coefficients and intercept for the features as they came."""
        coefficients = weights[:, 1:] @ self._axes.T
        return coefficients, weights[:, 0] - coefficients @ self._mean

    def logits(self, weights: Array) -> Array:
        """Of shape (n_classes, n_samples), in the precision of the features."""
        return self.xp.asarray(weights, dtype=self._columns.dtype) @ self._columns.T

    def evaluate(self, logits: Array) -> Point:
        """Loss and residual."""
        xp, own = self.xp, (self._labels, self._rows)
        odds = logits - logits[own]
        top = xp.clip(xp.amax(odds, 0), 0, None)  # 0 where the sample's own class leads
        odds -= top
        # Denormal residuals make a matrix product many times slower; e⁻⁶⁰ is as good as 0.
        odds = xp.exp(xp.clip(odds, -60, None))
        mine = xp.exp(-xp.clip(top, 0, 60))
        odds[own] = 0
        others = odds.sum(0)
        losses = top + xp.log1p(others + (mine - 1))  # mine is 1, exactly, where top is 0
        odds /= others + mine
        odds[own] = -others / (others + mine)
        return Point(logits, float(xp.sum(losses, dtype=xp.float64)), odds)

    def gradient(self, residual: Array) -> Array:
        """Of the loss by the weights."""
        xp, shape = self.xp, (len(residual), len(self.squares))
        gradient = xp.zeros(shape, dtype=xp.float64, device=self.squares.device)
        gradient[:, 1:] = residual @ self._columns[:, 1:]
        gradient[:, 0] = xp.sum(residual, 1, dtype=xp.float64)
        return gradient

    def probabilities(self, residual: Array) -> Array:
        """In float32, as `curvature_times` wants them."""
        probability = self.xp.asarray(residual, dtype=self.xp.float32) + 0
        probability[self._labels, self._rows] += 1
        probability[probability < 1e-20] = 0  # products of less are denormal, and slow
        return probability

    def curvature_times(self, probability: Array, direction: Array) -> Array:
        """Hessian of the loss times `direction`, in float32 inside."""
        xp, own = self.xp, (self._labels, self._rows)
        size = float(xp.amax(xp.abs(direction))) or 1.0  # float32 ends at 1e-38
        moves = xp.zeros_like(probability)
        # A thin product into rows of samples is a third faster; the rest wants rows of classes.
        moves[:] = (self._narrow @ xp.asarray(direction.T / size, dtype=xp.float32)).T
        moves -= moves[own]
        shares = probability * moves
        mean = shares.sum(0)
        shares -= probability * mean
        return size * xp.asarray(shares @ self._narrow, dtype=xp.float64)

    def class_curvature(self, probability: Array) -> Array:
        """Σ_i diag(p_i) − p_i p_iᵀ, the Hessian by the intercept; (n_classes, n_classes)."""
        xp = self.xp
        wide = xp.asarray(probability, dtype=xp.float64)
        return xp.diag(wide.sum(1)) - wide @ wide.T

    def class_blocks(self, residual: Array, leading: int) -> Array:
        """Hessian of the loss by one class's weights of the `leading` columns, for every class.

        Of shape (n_classes, leading, leading), in the precision of the features.
        """
        xp = self.xp
        share = xp.abs(residual)  # p, or 1 − p for the own class: the same p (1 − p)
        roots = xp.sqrt(share * (1 - xp.clip(share, 0, 1)))
        shape = self.n_classes, leading, leading
        blocks = xp.zeros(shape, dtype=residual.dtype, device=residual.device)
        for rows in _slabs(self._columns):
            columns = self._columns[rows, :leading]
            for block, root in zip(blocks, roots, strict=True):
                weighted = columns * root[rows, None]
                block += weighted.T @ weighted
        return blocks

    def _turn(self, features: Array, axes: Array) -> bool:
        """Make the columns, rounded only after they turned; whether the axes span the features."""
        xp = self.xp
        shape = len(features), 1 + axes.shape[1]
        columns = xp.ones(shape, dtype=features.dtype, device=features.device)
        squares = xp.zeros(shape[1], dtype=xp.float64, device=features.device)
        variance = 0.0
        for rows in _slabs(features):
            wide = xp.asarray(features[rows], dtype=xp.float64) - self._mean
            turned = wide @ axes
            columns[rows, 1:] = xp.asarray(turned, dtype=features.dtype)
            squares[1:] += (turned * turned).sum(0)
            variance += float((wide * wide).sum())
        kept = squares > NOTHING * xp.amax(squares)
        spanned = float(squares.sum()) >= (1 - MISSED) * variance
        squares[0], kept[0] = len(features), True
        self.squares, self._axes = squares[kept] / len(features), axes[:, kept[1:]]
        self._columns = columns if bool(kept.all()) else columns[:, kept]
        return spanned


def principal_axes(features: Array) -> Array:
    """Axes that span the centred features, as columns by falling variance.

    Of shape (n_features, n_axes), float64, orthonormal. All of them where n >= d: features that
    are scaled a little otherwise are spanned, too.
    """
    xp = namespace(features)
    n, d = features.shape
    mean = xp.mean(features, 0, dtype=xp.float64)
    if n < d:
        wide = xp.asarray(features, dtype=xp.float64) - mean
        squares, sides = xp.linalg.eigh(wide @ wide.T)
        kept = squares > NOTHING**0.5 * squares[-1]  # an axis of less would not be orthogonal
        axes = wide.T @ (sides[:, kept] / xp.sqrt(squares[kept]))
        squares = squares[kept]
    else:
        gram = xp.zeros((d, d), dtype=xp.float64, device=features.device)
        for rows in _slabs(features):
            wide = xp.asarray(features[rows], dtype=xp.float64) - mean
            gram += wide.T @ wide
        squares, axes = xp.linalg.eigh(gram)
    return axes[:, xp.argsort(-squares)]


def _slabs(features: Array) -> list[slice]:
    step = max(1, SLAB // features.shape[1])
    return [slice(start, start + step) for start in range(0, len(features), step)]
