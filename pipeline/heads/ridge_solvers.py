"""The algebra of ridge regression: one decomposition, then every λ, and what it does left out.

Of more rows than features by XᵀX (`Tall`), of others by XXᵀ (`Wide`), with the targets and the
leave-one-out residuals of `pipeline.heads.ridge`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.heads.columns import Array, in_numpy, namespace
from pipeline.heads.slabs import Part, Rows, is_placed, slab_size, slabs

Float64 = NDArray[np.float64]
Labels = NDArray[np.int64]

CERTAIN = 1e-10
"""Room for error left by the other images, 1 − h, below which leaving one out is undefined."""


@dataclass(frozen=True)
class Ridge:
    """A fitted classifier.

    Attributes
    ----------
    coefficients : ndarray of shape (n_classes, n_features), float64
        A class absent from train has 0, and a score of −1 everywhere.
    intercept : ndarray of shape (n_classes,), float64
    penalty : float
        λ.
    """

    coefficients: Float64
    intercept: Float64
    penalty: float


class Samples:
    """Centred features and targets in float64, a slab at a time; a single slab is kept."""

    def __init__(self, features: Rows, labels: Labels, n_classes: int, like: Array) -> None:
        self.xp, self.device = namespace(like), like.device
        self.features, self.n_classes = features, n_classes
        self.labels = self.xp.asarray(labels, device=self.device)
        self.shape = n, d = features.shape
        self._size = slab_size(like)
        self._slabs = list(slabs(n, max(d, n_classes), size=self._size))
        self.mean = self.zeros(d)
        for rows in self._slabs:
            self.mean += self._wide(features, rows).sum(0)
        self.mean /= n
        counts = self.xp.bincount(self.labels, minlength=n_classes)
        self.target_mean = (2 * self.xp.asarray(counts, dtype=self.xp.float64) - n) / n
        single = [self._read(features, self.labels, rows) for rows in self._slabs[:1]]
        self._kept = single if len(self._slabs) == 1 else None

    def zeros(self, *shape: int) -> Array:
        """In float64, where the rest is."""
        return self.xp.zeros(shape, dtype=self.xp.float64, device=self.device)

    def targets(self, labels: Array) -> Array:
        """±1, of shape (n_some, n_classes)."""
        xp = self.xp
        own = labels[:, None] == xp.arange(self.n_classes, device=self.device)
        found = xp.asarray(own, dtype=xp.float64)
        found *= 2
        found -= 1
        return found

    def __iter__(self) -> Iterator[tuple[Array, Array, Array]]:
        """Features and targets, both centred, and labels of some rows."""
        if self._kept is not None:
            yield from self._kept
        else:
            yield from self._of(self.features, self.labels, self._slabs)

    def some(
        self, rows: NDArray[np.intp], most: int | None = None
    ) -> Iterator[tuple[Array, Array, Array]]:
        """Of some rows alone; `most` at a time, or slabs of them."""
        width = max(self.shape[1], self.n_classes)
        if most is None:
            pieces = slabs(len(rows), width, size=self._size)
        else:
            pieces = slabs(len(rows), 0, most)
        chosen = self.xp.asarray(rows, device=self.device)
        here = is_placed(self.features)
        some = self.features[chosen] if here else Part(self.features, rows)
        yield from self._of(some, self.labels[chosen], pieces)

    def _of(
        self, features: Rows, labels: Array, pieces: Iterable[slice]
    ) -> Iterator[tuple[Array, Array, Array]]:
        for rows in pieces:
            yield self._read(features, labels, rows)

    def _read(self, features: Rows, labels: Array, rows: slice) -> tuple[Array, Array, Array]:
        wide = self._wide(features, rows)
        wide -= self.mean
        targets = self.targets(labels[rows])
        targets -= self.target_mean
        return wide, targets, labels[rows]

    def _wide(self, features: Rows, rows: slice) -> Array:
        """A copy; on a device widened there, so that no more than the rows goes over the bus."""
        values = self.xp.asarray(features[rows], device=self.device)
        return self.xp.asarray(values, dtype=self.xp.float64, copy=True)


@dataclass
class LeftOut:
    """Sums over images that were left out: squares of residuals, and hits."""

    squared: float = 0.0
    hits: int = 0

    def add(self, samples: Samples, residual: Array, own: Array) -> None:
        """Of images with these labels, and these residuals."""
        self.squared += float(samples.xp.square(residual).sum())
        targets = samples.targets(own)
        targets -= residual
        self.hits += int((targets.argmax(1) == own).sum())


class Tall:
    """X = U S Vᵀ of more centred rows than features, by XᵀX, and all that λ rescales.

    Small singular values lose digits by squaring. The predictions X V are formed from X itself and
    those directions weigh s²/(s² + λ): what is lost is of the order ε s₁²/λ.
    """

    def __init__(self, samples: Samples) -> None:
        self._samples, xp = samples, samples.xp
        d = samples.shape[1]
        gram, moments = samples.zeros(d, d), samples.zeros(d, samples.n_classes)
        for features, targets, _ in samples:
            gram += features.T @ features
            moments += features.T @ targets
        squares, self._axes = xp.linalg.eigh(gram)
        self._squares = xp.clip(squares, 0.0, None)
        self._turned = self._axes.T @ moments

    def fit(self, penalty: float) -> Ridge:
        """Of one λ."""
        weights = self._axes @ (self._turned / (self._squares + penalty)[:, None])
        return _ridge(self._samples, weights, penalty)

    def left_out(
        self, penalties: Sequence[float], together: Sequence[NDArray[np.intp]]
    ) -> list[LeftOut]:
        """What every λ does on each image under the fit without it, or without its group."""
        samples, found = self._samples, [LeftOut() for _ in penalties]
        xp = samples.xp
        alone = np.ones(samples.shape[0], bool)
        for rows in together:
            alone[rows] = False
        singles = samples if alone.all() else samples.some(np.flatnonzero(alone))
        for features, targets, own in singles:
            projected = features @ self._axes
            squares = xp.square(projected)
            for penalty, sums in zip(penalties, found, strict=True):
                shrink, residual = self._residual(projected, targets, penalty)
                room = 1 - 1 / samples.shape[0] - squares @ shrink
                left = _divided(xp, residual, room, targets, samples.shape[0])
                sums.add(samples, left, own)
        for rows in together:
            self._leave_out(rows, penalties, found)
        return found

    def _residual(self, projected: Array, targets: Array, penalty: float) -> tuple[Array, Array]:
        """E = Y − Z (S² + λ)⁻¹ Zᵀ Y with Z = X V; 1 − h comes from the same Z."""
        shrink = 1 / (self._squares + penalty)
        residual = projected @ (self._turned * shrink[:, None])
        self._samples.xp.subtract(targets, residual, out=residual)
        return shrink, residual

    def _leave_out(
        self, rows: NDArray[np.intp], penalties: Sequence[float], found: list[LeftOut]
    ) -> None:
        """Add a group's residuals under the fit without all of it: (1 − H)⁻¹ e.

        1 − A Aᵀ, or by its d + 1 columns, (1 − A Aᵀ)⁻¹ = 1 + A (1 − Aᵀ A)⁻¹ Aᵀ.
        """
        samples, d = self._samples, self._samples.shape[1]
        solve = samples.xp.linalg.solve
        narrow = len(rows) <= d + 1
        for penalty, sums in zip(penalties, found, strict=True):
            if narrow:
                ((features, targets, own),) = samples.some(rows, len(rows))
                factor, residual = self._factor(features, targets, penalty)
                sums.add(samples, solve(_room(samples, factor @ factor.T), residual), own)
                continue
            inside = samples.zeros(d + 1, d + 1)
            moments = samples.zeros(d + 1, samples.n_classes)
            for features, targets, _ in samples.some(rows):
                factor, residual = self._factor(features, targets, penalty)
                inside += factor.T @ factor
                moments += factor.T @ residual
            inner = solve(_room(samples, inside), moments)
            for features, targets, own in samples.some(rows):
                factor, residual = self._factor(features, targets, penalty)
                sums.add(samples, residual + factor @ inner, own)

    def _factor(self, features: Array, targets: Array, penalty: float) -> tuple[Array, Array]:
        """A, whose A Aᵀ is these rows' block of the hat matrix, and their residuals."""
        xp, samples = self._samples.xp, self._samples
        projected = features @ self._axes
        shrink, residual = self._residual(projected, targets, penalty)
        constant = samples.zeros(len(features), 1) + samples.shape[0] ** -0.5
        return xp.concatenate([constant, projected * xp.sqrt(shrink)], 1), residual


class Wide:
    """The same of as many features as rows, or more, by XXᵀ: all is at most d x d and d x K."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples
        rows = np.arange(samples.shape[0])
        ((features, targets, _),) = samples.some(rows, len(rows))
        self._features, self._targets = features, targets
        xp, gram = samples.xp, features @ features.T
        # Part the constant, an axis of square 0 that the intercept takes, from all others.
        gram += (xp.trace(gram) + 1) / len(gram)
        squares, self._axes = xp.linalg.eigh(gram)
        self._squares = xp.clip(squares, 0.0, None)
        self._turned = self._axes.T @ targets

    def fit(self, penalty: float) -> Ridge:
        """Of one λ."""
        product = self._axes @ (self._turned / (self._squares + penalty)[:, None])
        return _ridge(self._samples, self._features.T @ product, penalty)

    def left_out(
        self, penalties: Sequence[float], together: Sequence[NDArray[np.intp]]
    ) -> list[LeftOut]:
        """As of `Tall`."""
        found, xp = [], self._samples.xp
        for penalty in penalties:
            # λ (XXᵀ + λ)⁻¹ is the residual's operator itself: no difference of near equals.
            shrink = penalty / (self._squares + penalty)
            shrink[-1] = 0  # the constant
            residual = self._axes @ (self._turned * shrink[:, None])
            room = xp.square(self._axes) @ shrink
            solved = []
            for some in together:
                rows = xp.asarray(some, device=self._samples.device)
                factor = self._axes[rows] * xp.sqrt(shrink)
                solved.append((rows, xp.linalg.solve(factor @ factor.T, residual[rows])))
            left = _divided(xp, residual, room, self._targets, len(self._targets))
            for rows, values in solved:
                left[rows] = values
            sums = LeftOut()
            sums.add(self._samples, left, self._samples.labels)
            found.append(sums)
        return found


def _ridge(samples: Samples, weights: Array, penalty: float) -> Ridge:
    """Of weights for centred features, of shape (n_features, n_classes)."""
    intercept = samples.target_mean - samples.mean @ weights
    return Ridge(in_numpy(weights).T, in_numpy(intercept), penalty)


def _divided(xp: Any, residual: Array, room: Array, targets: Array, n: int) -> Array:
    """Residuals e / (1 − h), without their images in train.

    Without one that has no room nothing is known of its direction: the others' mean predicts it.
    """
    alone = room <= CERTAIN
    residual /= xp.where(alone, 1.0, room)[:, None]
    if bool(alone.any()):
        residual[alone] = targets[alone] * n / (n - 1)
    return residual


def _room(samples: Samples, hat: Array) -> Array:
    """1 − H, kept off 0."""
    xp = samples.xp
    one = xp.eye(len(hat), dtype=xp.float64, device=samples.device)
    return one * (1 + CERTAIN) - hat


def grouped(groups: NDArray[np.str_]) -> list[NDArray[np.intp]]:
    """Rows of each group of two images or more; none where all images are of one."""
    rows = [np.flatnonzero(groups == name) for name in np.unique(groups) if name]
    return [r for r in rows if 1 < len(r) < len(groups)]
