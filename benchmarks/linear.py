"""Regularisation paths against scikit-learn: 20 values of C, and 20 of λ, at equal objective.

    python -m benchmarks.linear [--images 5000] [--classes 20] [--columns 768 2048] [--threads 1]
    python -m benchmarks.linear --cells digits/resnet18_seed0 digits/vit_tiny_seed0

Logistic regression: one path of `pipeline.logistic` against 20 cold fits of `LogisticRegression`
(lbfgs), C from 1e-6 to 1e5, of the same features in float64. scikit-learn runs at its default tol
1e-4 and at `--tol`, for `--iterations` steps at most. `excess` is the largest relative excess over
the path of each objective over the better of both, in float64 from the coefficients: equal
objectives have 1e-6 or less in both columns. Ridge: all λ, with the leave-one-out error of each,
against 20 fits of `Ridge` without. Each pair of runs one after the other.

Synthetic features are class means plus heavy-tailed noise, with variances that fall by a power law
over `--decades` of standard deviation, as embeddings' do.
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np
import threadpoolctl
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge

from cache.cell import Cell
from pipeline.logistic import fit_path
from pipeline.normalization import centre_and_scale
from pipeline.paths import cell_address
from pipeline.ridge import fit_ridge

CS = np.logspace(-6, 5, 20)
PENALTIES = np.logspace(-2, 5, 20)


def make_features(n: int, d: int, classes: int, decades: float) -> tuple[np.ndarray, np.ndarray]:
    """Rotated class means and noise of 5 degrees of freedom, both of one spectrum; scale 1."""
    rng = np.random.default_rng(0)
    spectrum = np.arange(1, d + 1) ** (-decades / np.log10(d))
    labels = rng.permutation(np.arange(n) % classes)
    means = 0.7 * rng.standard_normal((classes, d)) * spectrum
    noise = rng.standard_normal((n, d)) * spectrum * np.sqrt(5 / rng.chisquare(5, (n, 1)))
    rotation = np.linalg.qr(rng.standard_normal((d, d)))[0]
    return centre_and_scale(((means[labels] + noise) @ rotation).astype(np.float32))[0], labels


def read_cell(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Train features of a cell, one scalar for all columns, and labels."""
    cell = Cell.open(cell_address(*name.split("/"), "train"))
    return centre_and_scale(cell.read().astype(np.float32))[0], np.asarray(cell.labels())


def logistic_objective(coefficients, intercept, x, y, c) -> float:
    """Of scikit-learn, in float64."""
    scores = x.astype(np.float64) @ coefficients.T + intercept
    top = scores.max(1)
    losses = np.log(np.exp(scores - top[:, None]).sum(1)) + top - scores[np.arange(len(y)), y]
    return float(np.square(coefficients).sum() / 2 + c * losses.sum())


def compare_logistic(x, y, classes: int, tol: float, iterations: int) -> str:
    """A line of the table for each tolerance of scikit-learn."""
    x = x.astype(np.float64)
    start = time.perf_counter()
    ours = fit_path(x, y, classes, CS)
    seconds = time.perf_counter() - start
    mine = [logistic_objective(f.coefficients, f.intercept, x, y, f.c) for f in ours]
    steps = f"{sum(f.iterations for f in ours)} iterations, {sum(f.converged for f in ours)} of 20"
    lines = []
    for tolerance in dict.fromkeys((1e-4, tol)):
        start = time.perf_counter()
        fits = [LogisticRegression(C=c, tol=tolerance, max_iter=iterations).fit(x, y) for c in CS]
        plain = time.perf_counter() - start
        theirs = [logistic_objective(f.coef_, f.intercept_, x, y, f.C) for f in fits]
        best = np.minimum(mine, theirs)
        excess = np.max(mine / best - 1), np.max(theirs / best - 1)
        taken = [int(f.n_iter_[0]) for f in fits]
        lines.append(
            row(f"logistic, tol {tolerance:.0e}", x, classes, seconds, plain, *excess)
            + f"   {steps} converged; {sum(taken)} iterations, "
            + f"{sum(i < iterations for i in taken)} of 20 converged"
        )
    return "\n".join(lines)


def compare_ridge(x, y, classes: int) -> str:
    """A line of the table."""
    targets = np.where(y[:, None] == np.arange(classes), 1.0, -1.0)
    wide = x.astype(np.float64)

    def objective(coefficients, intercept, penalty):
        errors = targets - wide @ coefficients.T - intercept
        return float(np.square(errors).sum() + penalty * np.square(coefficients).sum())

    start = time.perf_counter()
    ours, _ = fit_ridge(x, y, classes, PENALTIES)
    middle = time.perf_counter()
    theirs = [Ridge(alpha=penalty).fit(wide, targets) for penalty in PENALTIES]
    end = time.perf_counter()
    mine = np.array([objective(f.coefficients, f.intercept, f.penalty) for f in ours])
    plain = np.array([objective(f.coef_, f.intercept_, f.alpha) for f in theirs])
    best = np.minimum(mine, plain)
    excess = np.max(mine / best - 1), np.max(plain / best - 1)
    return row("ridge", x, classes, middle - start, end - middle, *excess)


def row(name, x, classes, ours: float, theirs: float, excess: float, their_excess: float) -> str:
    """Formatted."""
    shape = f"{len(x):,} x {x.shape[1]:,}, {classes} classes"
    return (
        f"{name:<22}{shape:<28}{ours:>8.2f}{theirs:>12.2f}{theirs / ours:>8.1f}"
        f"{excess:>10.1e}{their_excess:>10.1e}"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--columns", type=int, nargs="*", default=[768, 2048])
    parser.add_argument("--decades", type=float, default=2.5)
    parser.add_argument("--cells", nargs="*", default=[])
    parser.add_argument("--tol", type=float, default=1e-4)
    parser.add_argument("--iterations", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)  # counted in the table
    print(f"{'':<50}{'ours, s':>8}{'sklearn, s':>12}{'ratio':>8}{'excess':>10}{'sklearn':>10}")
    sets = (
        [read_cell(name) for name in options.cells]
        if options.cells
        else (
            make_features(options.images, d, options.classes, options.decades)
            for d in options.columns
        )
    )
    with threadpoolctl.threadpool_limits(options.threads):
        for x, y in sets:
            classes = int(y.max()) + 1
            print(compare_ridge(x, y, classes), flush=True)
            print(compare_logistic(x, y, classes, options.tol, options.iterations), flush=True)


if __name__ == "__main__":
    main()
