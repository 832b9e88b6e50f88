"""The softmax loss of linear scores over one set of samples, on NumPy or on torch.

All that touches every sample. `newton` minimises it. What a sample has of every class is there for
one slab of samples at a time (`slabs`), and computed again when it is needed again; of a single
slab, or where it is less than `KEPT`, it is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pipeline.heads.columns import Array, namespace, open_columns
from pipeline.heads.slabs import slab_size, slabs

KEPT = 1 << 24
"""Probabilities (samples x classes) up to which they are kept from one product with the Hessian to
the next: 64 MB. Beyond, each costs a third matrix product."""


@dataclass(frozen=True)
class Point:
    """The loss at some weights.

    Attributes
    ----------
    weights : array of shape (n_classes, 1 + n_axes)
    loss : float
        Sum over samples.
    logits, residual : array of shape (n_classes, n_samples), or None
        Of a single slab. The residual is probability minus 1 for the own class, minus 0 for
        others.
    """

    weights: Array
    loss: float
    logits: Array | None = None
    residual: Array | None = None


@dataclass(frozen=True)
class Derivatives:
    """Of the loss at a point.

    Attributes
    ----------
    weights : array of shape (n_classes, 1 + n_axes)
        The point.
    gradient : array of shape (n_classes, 1 + n_axes)
        By the weights.
    class_curvature : array of shape (n_classes, n_classes)
        Σ_i diag(p_i) − p_i p_iᵀ, the Hessian by the intercept.
    probabilities : list of array of shape (n_classes, n_rows), float32, or None
        Of each slab.
    """

    weights: Array
    gradient: Array
    class_curvature: Array
    probabilities: list[Array] | None


class SoftmaxLoss:
    """Σ_i −log softmax(W x_i + b)[y_i] and its derivatives, in the features' principal axes.

    Parameters
    ----------
    features : Rows of shape (n_samples, n_features), float32 or float64
        See `pipeline.heads.columns`, which holds them turned or reads them each time.
    labels : array of shape (n_samples,), int64
        0 to n_classes − 1; of NumPy or of torch, which computes on their device.
    n_classes : int
    axes : array of shape (n_features, n_axes), float64, optional
        See `pipeline.heads.columns.Held`.

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
        self.xp = xp = namespace(labels)
        self.n_classes = n_classes
        self._labels = labels
        self._columns = open_columns(features, labels, axes)
        width = max(1 + features.shape[1], n_classes)
        self._slabs = list(slabs(len(labels), width, size=slab_size(labels)))
        self._numbers = xp.arange(self._slabs[0].stop, device=labels.device)
        self.squares = self._columns.squares
        self.penalised = xp.ones_like(self.squares)
        self.penalised[0] = 0
        self._known: tuple[Point, Derivatives] | None = None

    def __len__(self) -> int:
        return len(self._labels)

    @property
    def precision(self) -> float:
        """Relative rounding error of what the loss is computed in."""
        return float(self.xp.finfo(self._columns.dtype).eps)

    def start(self) -> Array:
        """Weights 0 and the intercept at the log class frequencies: the optimum for C → 0."""
        counts = self.xp.bincount(self._labels, minlength=self.n_classes)
        log_counts = self.xp.log(self.xp.asarray(counts, dtype=self.xp.float64))
        weights = self._zeros()
        weights[:, 0] = log_counts - log_counts.mean()
        return weights

    def from_axes(self, weights: Array) -> tuple[Array, Array]:
        """Coefficients and intercept for the features as they came."""
        return self._columns.coefficients(weights)

    def at(self, weights: Array) -> Point:
        """The loss at some weights."""
        if len(self._slabs) == 1:
            return self._evaluate(weights, self._logits(weights))
        turned = self._turned(weights)
        loss = 0.0
        for rows in self._slabs:
            loss += self._softmax(turned @ self._columns.rows(rows).T, rows)[0]
        return Point(weights, loss)

    def line(self, point: Point, step: Array) -> Callable[[float], Point]:
        """The loss at `point` plus a multiple of `step`."""
        if point.logits is None:
            return lambda length: self.at(point.weights + length * step)
        move, logits = self._logits(step), point.logits
        return lambda length: self._evaluate(point.weights + length * step, logits + length * move)

    def derivatives(self, point: Point) -> Derivatives:
        """In one pass over the samples; those of the last point are remembered."""
        if self._known is not None and self._known[0] is point:
            return self._known[1]
        self._known = None
        xp, classes = self.xp, (self.n_classes, self.n_classes)
        gradient = self._columns.turn(self._zeros())
        sums = xp.zeros(self.n_classes, dtype=xp.float64, device=self.squares.device)
        products = xp.zeros(classes, dtype=xp.float64, device=self.squares.device)
        kept: list[Array] | None = [] if len(self) * self.n_classes <= KEPT else None
        if len(self._slabs) == 1:
            kept = []
        for rows, residual in self._residuals(point):
            gradient[:, 1:] += residual @ self._columns.rows(rows)[:, 1:]
            gradient[:, 0] += xp.sum(residual, 1, dtype=xp.float64)
            probability = self._probability(residual, rows)
            wide = xp.asarray(probability, dtype=xp.float64)
            sums += wide.sum(1)
            products += wide @ wide.T
            if kept is not None:
                kept.append(probability)
        found = Derivatives(
            point.weights, self._columns.back(gradient), xp.diag(sums) - products, kept
        )
        self._known = point, found
        return found

    def forget(self) -> None:
        """Let go what was remembered of the last point."""
        self._known = None

    def curvature_times(self, here: Derivatives, direction: Array) -> Array:
        """Hessian of the loss times `direction`, in float32 inside."""
        xp = self.xp
        direction = self._columns.turn(direction)
        size = float(xp.amax(xp.abs(direction))) or 1.0  # float32 ends at 1e-38
        narrow = xp.asarray(direction.T / size, dtype=xp.float32)
        total = xp.zeros_like(direction)
        weights = None
        if here.probabilities is None:
            weights = xp.asarray(self._columns.turn(here.weights), dtype=xp.float32)
        for number, rows in enumerate(self._slabs):
            columns, own = self._columns.narrow(rows), self._own(rows)
            if weights is None:
                assert here.probabilities is not None
                probability = here.probabilities[number]
            else:
                probability = self._probability(self._softmax(weights @ columns.T, rows)[1], rows)
            moves = xp.zeros_like(probability)
            # A thin product into rows of samples is a third faster; the rest wants rows of classes.
            moves[:] = (columns @ narrow).T
            moves -= moves[own]
            moves *= probability
            mean = moves.sum(0)
            moves -= probability * mean
            total += xp.asarray(moves @ columns, dtype=xp.float64)
        total *= size
        return self._columns.back(total)

    def class_blocks(self, point: Point, leading: int) -> Array:
        """Hessian of the loss by one class's weights of the `leading` columns, for every class.

        Of shape (n_classes, leading, leading), in the precision of the features.
        """
        xp = self.xp
        shape = self.n_classes, leading, leading
        blocks = xp.zeros(shape, dtype=self._columns.dtype, device=self.squares.device)
        for rows, residual in self._residuals(point):
            share = xp.abs(residual)  # p, or 1 − p for the own class: the same p (1 − p)
            roots = xp.sqrt(share * (1 - xp.clip(share, 0, 1)))
            columns = self._columns.leading(rows, leading)
            for block, root in zip(blocks, roots, strict=True):
                weighted = columns * root[:, None]
                block += weighted.T @ weighted
        return blocks

    def _zeros(self) -> Array:
        shape = self.n_classes, len(self.squares)
        return self.xp.zeros(shape, dtype=self.xp.float64, device=self.squares.device)

    def _turned(self, weights: Array) -> Array:
        return self.xp.asarray(self._columns.turn(weights), dtype=self._columns.dtype)

    def _logits(self, weights: Array) -> Array:
        """Of a single slab."""
        return self._turned(weights) @ self._columns.rows(self._slabs[0]).T

    def _evaluate(self, weights: Array, logits: Array) -> Point:
        loss, residual = self._softmax(logits, self._slabs[0])
        return Point(weights, loss, logits, residual)

    def _residuals(self, point: Point) -> Iterator[tuple[slice, Array]]:
        if point.residual is not None:
            yield self._slabs[0], point.residual
            return
        turned = self._turned(point.weights)
        for rows in self._slabs:
            yield rows, self._softmax(turned @ self._columns.rows(rows).T, rows)[1]

    def _own(self, rows: slice) -> tuple[Array, Array]:
        """Where the samples' own classes are."""
        return self._labels[rows], self._numbers[: rows.stop - rows.start]

    def _softmax(self, logits: Array, rows: slice) -> tuple[float, Array]:
        """Loss and residual of some samples."""
        xp, own = self.xp, self._own(rows)
        odds = logits - logits[own]
        top = xp.clip(xp.amax(odds, 0), 0, None)  # 0 where the sample's own class leads
        odds -= top
        # Denormal residuals make a matrix product many times slower; e⁻⁶⁰ is as good as 0.
        odds = xp.exp(xp.clip(odds, -60, None, out=odds), out=odds)
        mine = xp.exp(-xp.clip(top, 0, 60))
        odds[own] = 0
        others = odds.sum(0)
        losses = top + xp.log1p(others + (mine - 1))  # mine is 1, exactly, where top is 0
        odds /= others + mine
        odds[own] = -others / (others + mine)
        return float(xp.sum(losses, dtype=xp.float64)), odds

    def _probability(self, residual: Array, rows: slice) -> Array:
        """In float32, of residuals, as `curvature_times` wants it."""
        probability = self.xp.asarray(residual, dtype=self.xp.float32) + 0
        probability[self._own(rows)] += 1
        probability[probability < 1e-20] = 0  # products of less are denormal, and slow
        return probability
