"""Newton's method with conjugate gradients for a penalised softmax loss at one strength C.

    F(W) = penalty/2 ‖W‖² + C · loss(W)

Each step solves the Newton equation by conjugate gradients [1]_ to a tenth of its start, or as far
as the tolerance asks, and searches along the solution. An iteration costs two matrix products.

The preconditioner is penalty + C · XᵀX/n ⊗ A, where A is the Hessian by the intercept [2]_:
diagonal in the features' principal axes and A's own. But images weigh differently in different
classes. Where that has cost as many iterations as it would cost to invert the exact Hessian by the
leading axes, that inverse takes their place.

References
----------
.. [1] Nocedal & Wright, Numerical Optimization, 2nd ed., algorithm 7.1.
.. [2] Böhning, Multinomial logistic regression algorithm, Ann. Inst. Statist. Math. 44 (1992),
   bounds A by (I − 11ᵀ/K)/2; here it is evaluated.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.softmax import Array, Point, SoftmaxLoss

Stopped = Literal["converged", "iterations", "precision"]

GRADIENT = 1e-3
"""Of the gradient at W = 0: a fit with more has not converged, whatever its objective. For C → 0
the objective of W = 0 is optimal to any tolerance, though its predictions are not."""
REDUCTION = 0.1
"""Of the energy norm of the error, by one Newton step."""
INNER = 200
"""Conjugate gradients in one Newton step."""
CORNER = 2000
"""Weights whose Hessian is inverted, three times in 32 MB."""
NARROWEST = 24
"""Leading columns fewer than which are not worth that."""
THIN = 5.0
"""Speed of a large square matrix product, of one with a few classes' columns."""
EASY = 20
"""Conjugate gradients in one Newton step that are no reason for it."""
PATIENCE = 3
"""Steps in a row without visible gain before a fit gives up."""


@dataclass
class Optimum:
    """Where the minimisation ended; `gap` is an estimate, relative to the objective."""

    weights: Array
    point: Point
    objective: float
    gap: float
    gradient_norm: float
    iterations: int
    stopped: Stopped


class Minimiser:
    """Minimises one loss for one C after another, and keeps what they share."""

    def __init__(self, loss: SoftmaxLoss) -> None:
        self._loss = loss
        self.penalty = 2.0 if loss.n_classes == 2 else 1.0  # scikit-learn's, in two-class terms
        first = loss.gradient(self.point(loss.start()).residual)
        self._first_gradient = _norm(first) or 1.0
        self._corner: _Corner | None = None
        self._smallest = 1.0  # Ritz value met by the present preconditioner, at this C or the last
        self._ritz: list[float] = []
        self._hard = 0

    def objective(self, weights: Array, loss: float, c: float) -> float:
        """Of weights whose loss is known."""
        return self._penalty_of(weights) + c * loss

    def point(self, weights: Array) -> Point:
        """The loss at `weights`."""
        return self._loss.evaluate(self._loss.logits(weights))

    def minimise(
        self, weights: Array, point: Point, c: float, tolerance: float, max_iterations: int
    ) -> Optimum:
        """From `weights`, at `point`, until the relative gap and the gradient are small."""
        loss = self._loss
        if self._ritz:
            self._smallest, self._ritz = min(1.0, *self._ritz), []
        iterations = vain = 0
        while True:
            objective = self.objective(weights, point.loss, c)
            slope = self.penalty * loss.penalised * weights + c * loss.gradient(point.residual)
            probability = loss.probabilities(point.residual)
            inverse = self._preconditioner(point.residual, probability, c)
            gap = self._gap(slope, inverse) / objective if objective > 0 else 0.0
            norm = _norm(slope) / (c * self._first_gradient)
            stopped: Stopped | None = None
            if gap <= tolerance and norm <= GRADIENT:
                stopped = "converged"
            elif iterations >= max_iterations:
                stopped = "iterations"
            elif vain >= PATIENCE:
                stopped = "precision"
            if stopped:
                return Optimum(weights, point, objective, gap, norm, iterations, stopped)
            limit = min(INNER, max_iterations - iterations)
            goal = 0.2 * tolerance * objective
            step, steps = self._solve(slope, probability, c, inverse, goal, limit)
            iterations += steps
            moved = self._search(weights, point, c, step, _dot(slope, step))
            if moved is None:
                step = -inverse(slope)  # what rounding has left of the solution is of no use
                moved = self._search(weights, point, c, step, _dot(slope, step))
            gain = 0.0
            if moved is not None:
                weights, point = moved
                gain = objective - self.objective(weights, point.loss, c)
            vain = vain + 1 if gain <= loss.precision * objective else 0

    def _gap(self, slope: Array, inverse: Callable[[Array], Array]) -> float:
        """Objective − optimum, by the quadratic that the gradient and the Hessian make.

        The Hessian is at least the preconditioner times its smallest Ritz value so far. In W it is
        at least the penalty too, which with the intercept at its best is a bound (a duality gap).
        """
        estimate = _dot(slope, inverse(slope)) / self._smallest
        intercept = slope + 0
        intercept[:, 1:] = 0
        bound = _dot(slope[:, 1:], slope[:, 1:]) / self.penalty
        bound += _dot(intercept, inverse(intercept)) / self._smallest
        return min(estimate, bound) / 2

    def _preconditioner(
        self, residual: Array, probability: Array, c: float
    ) -> Callable[[Array], Array]:
        loss, penalty = self._loss, self.penalty
        diagonal = _Diagonal(loss, probability, c, penalty)
        leading = min(len(loss.squares), CORNER // loss.n_classes)
        size = leading * loss.n_classes
        dear = size * size * (len(loss) + size) / THIN
        if leading >= NARROWEST and self._hard * 2 * len(loss) * diagonal.size > dear:
            self._corner = _Corner(loss, residual, leading, c, penalty)
            self._hard = 0
            self._smallest, self._ritz = 1.0, []
        corner = self._corner
        if corner is None:
            return diagonal
        return lambda slope: corner.solve(slope, diagonal(slope))

    def _solve(
        self,
        slope: Array,
        probability: Array,
        c: float,
        inverse: Callable[[Array], Array],
        goal: float,
        limit: int,
    ) -> tuple[Array, int]:
        """Newton's step by conjugate gradients, and their number."""
        loss = self._loss
        residual = -slope
        direction = turned = inverse(residual)
        step = self._loss.xp.zeros_like(slope)
        energy = _dot(residual, turned)
        goal = max(REDUCTION**2 * energy, goal * self._smallest)
        lengths: list[float] = []
        shares: list[float] = []
        for _ in range(limit):
            product = self.penalty * loss.penalised * direction
            product += c * loss.curvature_times(probability, direction)
            curvature = _dot(direction, product)
            if not curvature > 0 or not energy > 0:
                break
            length = energy / curvature
            step = step + length * direction
            residual = residual - length * product
            turned = inverse(residual)
            before, energy = energy, _dot(residual, turned)
            lengths.append(length)
            shares.append(energy / before)
            if energy <= goal:
                break
            direction = turned + shares[-1] * direction
        if lengths:
            self._ritz.append(_smallest_ritz(lengths, shares))
            self._smallest = min(self._smallest, self._ritz[-1])
        step = step - step.mean(0)  # rounding, which the objective would not notice for long
        self._hard += max(0, len(lengths) - EASY)
        return step, max(1, len(lengths))

    def _search(
        self, weights: Array, point: Point, c: float, step: Array, slope: float
    ) -> tuple[Array, Point] | None:
        """Halve the step until the objective falls enough (Armijo); None if it never does."""
        if not slope < 0:
            return None
        loss = self._loss
        move = loss.logits(step)
        start = self.objective(weights, point.loss, c)
        length = 1.0
        for _ in range(30):
            there = loss.evaluate(point.logits + length * move)
            moved = weights + length * step
            change = self.objective(moved, there.loss, c) - start
            if change <= 1e-4 * length * slope + loss.precision * start:
                return moved, there
            length /= 2
        return None

    def _penalty_of(self, weights: Array) -> float:
        return self.penalty / 2 * _dot(weights[:, 1:], weights[:, 1:])


class _Diagonal:
    """The inverse of penalty + C · XᵀX/n ⊗ A."""

    def __init__(self, loss: SoftmaxLoss, probability: Array, c: float, penalty: float) -> None:
        xp = loss.xp
        curvature, self._classes = xp.linalg.eigh(loss.class_curvature(probability))
        curvature = xp.clip(curvature, 0, None)
        # Adding one number to a sample's logits changes nothing: one class axis has curvature 0.
        curvature = xp.where(curvature <= 1e-12 * curvature[-1], 0.0, curvature)
        whole = penalty * loss.penalised + c * curvature[:, None] * loss.squares
        self.size = int(whole.shape[0] * whole.shape[1])
        self._inverse = xp.where(whole > 0, 1 / xp.where(whole > 0, whole, 1.0), 0.0)

    def __call__(self, slope: Array) -> Array:
        return self._classes @ (self._inverse * (self._classes.T @ slope))


class _Corner:
    """The inverse of the exact Hessian by the leading columns, as it was at one point and one C.

    A larger C makes the Hessian larger, by C's factor at most: the inverse serves for a while.
    """

    def __init__(
        self, loss: SoftmaxLoss, residual: Array, leading: int, c: float, penalty: float
    ) -> None:
        xp, self._leading = loss.xp, leading
        whole = c * loss.corner(residual, leading)
        diagonal = xp.arange(len(whole), device=whole.device)
        penalties = [penalty * loss.penalised[:leading]] * loss.n_classes
        whole[diagonal, diagonal] += xp.concatenate(penalties)
        # The intercepts of all classes together have no curvature. Any makes it definite.
        whole[::leading, ::leading] += c * len(loss) / loss.n_classes**2
        rounding = len(whole) * 2.0**-52 * float(xp.amax(whole[diagonal, diagonal]))
        whole[diagonal, diagonal] += rounding
        inverse = xp.linalg.inv(whole)
        self._inverse = (inverse + inverse.T) / 2

    def solve(self, slope: Array, rest: Array) -> Array:
        """The inverse times the leading columns of `slope`, beside the other columns of `rest`."""
        corner = slope[:, : self._leading]
        rest[:, : self._leading] = (self._inverse @ corner.reshape(-1)).reshape(corner.shape)
        return rest


def _smallest_ritz(lengths: list[float], shares: list[float]) -> float:
    """Of the preconditioned Hessian, from the Lanczos matrix that conjugate gradients make."""
    a, b = np.array(lengths), np.array(shares)
    diagonal = 1 / a
    diagonal[1:] += b[:-1] / a[:-1]
    beside = np.sqrt(b[:-1]) / a[:-1]
    matrix = np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1)
    return max(float(np.linalg.eigvalsh(matrix)[0]), 1e-12)


def _dot(a: Array, b: Array) -> float:
    return float((a * b).sum())


def _norm(a: Array) -> float:
    return math.sqrt(_dot(a, a))
