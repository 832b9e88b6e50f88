"""Newton's method with conjugate gradients for a penalised softmax loss at one strength C.

    F(W) = penalty/2 ‖W‖² + C · loss(W)

Each step solves the Newton equation by conjugate gradients [1]_ to a tenth of its start, or as far
as the tolerance asks, and searches along the solution. An iteration costs two matrix products.

The preconditioner is penalty + C · XᵀX/n ⊗ A, where A is the Hessian by the intercept [2]_:
diagonal in the features' principal axes and A's own. But images weigh differently in different
classes. Where that has cost as many iterations as it would cost to invert each class's own block of
the Hessian, those inverses take its place, between projections on weights whose sum over classes is
0. Were p the same for all images, diag(p) − ppᵀ would have just that inverse there, diag(1/p).

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

from pipeline.heads.columns import Array
from pipeline.heads.softmax import Derivatives, Point, SoftmaxLoss

Stopped = Literal["converged", "iterations", "precision", "library"]

GRADIENT = 1e-3
"""Of the gradient at W = 0: a fit with more has not converged, whatever its objective. For C → 0
the objective of W = 0 is optimal to any tolerance, though its predictions are not."""
MOVE = 3e-3
"""Of the root mean square of W x, by the intercept's next step: a fit that has more to go has not
converged. For C → 0 they go to 0 together, unseen by objective and gradient; unless the gradient is
`NONE` of that at W = 0."""
NONE = 1e-12
MARGIN = 0.2
"""Of the tolerance, to which the estimated gap must fall: in 1,800 small fits it was up to 7 times
too small, where a curvature had not been met yet."""
REDUCTION = 0.1
"""Of the energy norm of the error, by one Newton step."""
INNER = 200
"""Conjugate gradients in one Newton step."""
WIDEST = 1 << 24
"""Values of all classes' blocks together: at most 128 MB."""
MATTERS = 0.3
"""Curvature along an axis, of the penalty, from which it is part of the blocks."""
THIN = 2.5
"""Speed of a large square matrix product, of one with a few classes' columns."""
EASY = 5
"""Conjugate gradients in one Newton step that are no reason for it."""
PATIENCE = 3
"""Steps in a row without visible gain before a fit gives up."""


@dataclass
class Optimum:
    """Where the minimisation ended; `gap` is an estimate, relative to the objective."""

    weights: Array
    loss: float
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
        self.first = loss.at(loss.start())
        first = loss.derivatives(self.first).gradient
        # Nothing but rounding (constant features): W = 0 is the optimum for every C.
        rounding = loss.precision * len(loss)
        self._first_gradient = _norm(first) if _norm(first) > rounding else math.inf
        self._blocks: _Blocks | None = None
        self._smallest = 1.0  # Ritz value met by the present preconditioner, at this C or the last
        self._ritz: list[float] = []
        self._hard, self._easy, self._fresh = 0, EASY, False

    def objective(self, weights: Array, loss: float, c: float) -> float:
        """Of weights whose loss is known."""
        return self._penalty_of(weights) + c * loss

    def minimise(self, point: Point, c: float, tolerance: float, max_iterations: int) -> Optimum:
        """From `point` until the relative gap and the gradient are small."""
        loss = self._loss
        if self._ritz:
            self._smallest, self._ritz = min(1.0, *self._ritz), []
        iterations = vain = 0
        while True:
            weights = point.weights
            objective = self.objective(weights, point.loss, c)
            here = loss.derivatives(point)
            slope = self.penalty * loss.penalised * weights + c * here.gradient
            slope -= slope.mean(0)  # 0 but for rounding
            inverse = self._preconditioner(point, here, c)
            gap = self._gap(slope, inverse) / objective if objective > 0 else 0.0
            norm = _norm(slope) / (c * self._first_gradient)
            settled = norm <= NONE or self._is_settled(weights, inverse(slope))
            stopped: Stopped | None = None
            if gap <= MARGIN * tolerance and norm <= GRADIENT and settled:
                stopped = "converged"
            elif iterations >= max_iterations:
                stopped = "iterations"
            elif vain >= PATIENCE:
                stopped = "precision"
            if stopped:
                return Optimum(weights, point.loss, objective, gap, norm, iterations, stopped)
            limit = min(INNER, max_iterations - iterations)
            if not self._fresh:  # what blocks would cost less to solve is left to the next step
                limit = min(limit, self._easy + self._patience + 1)
            goal = MARGIN**2 * tolerance * objective
            step, steps = self._solve(slope, here, c, inverse, goal, limit)
            iterations += steps
            moved = self._search(point, c, step, _dot(slope, step))
            if moved is None:
                step = -inverse(slope)  # what rounding has left of the solution is of no use
                moved = self._search(point, c, step, _dot(slope, step))
            gain = 0.0
            if moved is not None:
                point = moved
                gain = objective - self.objective(point.weights, point.loss, c)
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

    def _is_settled(self, weights: Array, step: Array) -> bool:
        """Whether a step moves the intercept by little, compared with what W x is."""
        scores = weights * weights * (self._loss.penalised * self._loss.squares)
        return _dot(step[:, 0], step[:, 0]) <= MOVE**2 * float(scores.sum())

    def _preconditioner(
        self, point: Point, here: Derivatives, c: float
    ) -> Callable[[Array], Array]:
        loss, penalty = self._loss, self.penalty
        diagonal = _Diagonal(loss, here, c, penalty)
        leading = min(diagonal.leading, math.isqrt(WIDEST // loss.n_classes))
        dear = loss.n_classes * leading**2 * (len(loss) + leading) / THIN
        self._patience = math.ceil(dear / (2 * len(loss) * diagonal.size))
        if self._hard > self._patience:
            self._blocks = None  # two at once would need twice the room
            self._blocks = _Blocks(loss, point, leading, c, penalty)
            self._hard, self._fresh = 0, True
            self._smallest, self._ritz = 1.0, []
        blocks = self._blocks
        if blocks is None:
            return diagonal
        return lambda slope: blocks.solve(slope, diagonal(slope))

    def _solve(
        self,
        slope: Array,
        here: Derivatives,
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
            product += c * loss.curvature_times(here, direction)
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
        if self._fresh:
            self._easy, self._fresh = max(EASY, len(lengths)), False
        self._hard += max(0, len(lengths) - self._easy)
        return step, max(1, len(lengths))

    def _search(self, point: Point, c: float, step: Array, slope: float) -> Point | None:
        """Halve the step until the objective falls enough (Armijo); None if it never does."""
        if not slope < 0:
            return None
        loss = self._loss
        along = loss.line(point, step)
        start = self.objective(point.weights, point.loss, c)
        length = 1.0
        for _ in range(30):
            there = along(length)
            change = self.objective(there.weights, there.loss, c) - start
            if change <= 1e-4 * length * slope + loss.precision * start:
                return there
            length /= 2
        return None

    def _penalty_of(self, weights: Array) -> float:
        return self.penalty / 2 * _dot(weights[:, 1:], weights[:, 1:])


class _Diagonal:
    """The inverse of penalty + C · XᵀX/n ⊗ A."""

    def __init__(self, loss: SoftmaxLoss, here: Derivatives, c: float, penalty: float) -> None:
        xp = loss.xp
        curvature, self._classes = xp.linalg.eigh(here.class_curvature)
        curvature = xp.clip(curvature, 0, None)
        # Adding one number to a sample's logits changes nothing: one class axis has curvature 0.
        curvature = xp.where(curvature <= 1e-12 * curvature[-1], 0.0, curvature)
        whole = penalty * loss.penalised + c * curvature[:, None] * loss.squares
        self.size = int(whole.shape[0] * whole.shape[1])
        bent = c * curvature[-1] * loss.squares > MATTERS * penalty
        bent[0] = True
        self.leading = int(bent.sum())
        self._inverse = xp.where(whole > 0, 1 / xp.where(whole > 0, whole, 1.0), 0.0)

    def __call__(self, slope: Array) -> Array:
        step = self._classes @ (self._inverse * (self._classes.T @ (slope - slope.mean(0))))
        return step - step.mean(0)  # the axis of curvature 0 has a little, by rounding


class _Blocks:
    """The inverse of every class's block of the Hessian by the leading columns, at one point and C.

    A larger C makes the Hessian larger, by C's factor at most: the inverses serve for a while.
    """

    def __init__(
        self, loss: SoftmaxLoss, point: Point, leading: int, c: float, penalty: float
    ) -> None:
        self._xp = xp = loss.xp
        self._leading = leading
        rounding = len(loss) ** 0.5 * loss.precision
        self._inverses = blocks = loss.class_blocks(point, leading)
        for block in blocks:  # which its inverse takes the place of
            whole = c * xp.asarray(block, dtype=xp.float64)
            diagonal = xp.arange(leading, device=whole.device)
            largest = float(xp.amax(whole[diagonal, diagonal]))
            whole[diagonal, diagonal] += penalty * loss.penalised[:leading] + rounding * largest
            inverted = xp.linalg.inv(whole)
            block[:] = xp.asarray((inverted + inverted.T) / 2, dtype=blocks.dtype)

    def solve(self, slope: Array, rest: Array) -> Array:
        """The inverses times the leading columns of `slope`, beside the other columns of `rest`."""
        xp = self._xp
        corner = slope[:, : self._leading]
        corner = corner - corner.mean(0)
        size = float(xp.amax(xp.abs(corner))) or 1.0  # float32 ends at 1e-38
        narrow = xp.asarray(corner / size, dtype=self._inverses.dtype)
        solved = (self._inverses @ narrow[:, :, None])[:, :, 0]
        solved = size * xp.asarray(solved, dtype=slope.dtype)
        rest[:, : self._leading] = solved - solved.mean(0)
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
