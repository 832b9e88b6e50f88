"""Regularisation paths against scikit-learn at equal objective: 20 values of C, and 20 of λ.

    python -m benchmarks.linear [--images 5000] [--classes 20] [--columns 768 2048] [--threads 1]
    python -m benchmarks.linear --cells digits/resnet18_seed0 digits/vit_tiny_seed0

Logistic regression: one path of `pipeline.heads.logistic` against cold fits of
`LogisticRegression`, C from 1e-6 to 1e5, of the same features in float64. Objectives are computed
from coefficients.

- *theirs*: scikit-learn's lbfgs as it comes (tol 1e-4). Our time is that of the loosest path whose
  objective is at no C more than 1e-6 above theirs: what they reach, reached by us.
- *ours*: scikit-learn until its objective is 1e-6 (relative) above ours or less, ours being a path
  of tolerance 1e-7. For each C the loosest tol of 1e-4, 1e-6, … 1e-12 that gets there counts, the
  others are free. A solver ends at the first C that it does not reach in `--iterations` (larger
  ones are harder), or after `--budget` seconds; times are those of the values of C that it
  reached, ours too.

Ridge: all λ, with the leave-one-out error of each, against 20 fits of `Ridge` without.

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
from pipeline.heads.logistic import LogisticPath
from pipeline.heads.normalization import centre_and_scale
from pipeline.heads.ridge import fit_ridge
from pipeline.project.paths import cell_address

CS = np.logspace(-6, 5, 20)
PENALTIES = np.logspace(-2, 5, 20)
EQUAL = 1e-6


def make_features(n: int, d: int, classes: int, decades: float) -> tuple[np.ndarray, np.ndarray]:
    """Rotated class means and noise of 5 degrees of freedom, both of one spectrum; scale 1."""
    rng = np.random.default_rng(0)
    spectrum = np.arange(1, d + 1) ** (-decades / np.log10(d))
    labels = rng.permutation(np.arange(n) % classes)
    means = 0.7 * rng.standard_normal((classes, d)) * spectrum
    noise = rng.standard_normal((n, d)) * spectrum * np.sqrt(5 / rng.chisquare(5, (n, 1)))
    rotation = np.linalg.qr(rng.standard_normal((d, d)))[0]
    rows = ((means[labels] + noise) @ rotation).astype(np.float32)
    return centre_and_scale(rows)[0][:], labels


def read_cell(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Train features of a cell, one scalar for all columns, and labels."""
    cell = Cell.open(cell_address(*name.split("/"), "train"))
    return centre_and_scale(cell.read().astype(np.float32))[0][:], np.asarray(cell.labels())


def logistic_objective(coefficients, intercept, x, y, c) -> float:
    """Of scikit-learn, in float64."""
    scores = x.astype(np.float64) @ coefficients.T + intercept
    top = scores.max(1)
    losses = np.log(np.exp(scores - top[:, None]).sum(1)) + top - scores[np.arange(len(y)), y]
    return float(np.square(coefficients).sum() / 2 + c * losses.sum())


def our_path(x, y, classes: int, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """Objectives and seconds, of each C; what all share is in the first."""
    fits, seconds = [], []
    start = time.perf_counter()
    path = LogisticPath(x, y, classes, tolerance=tolerance)
    for c in CS:
        fits.append(path.fit(c))
        seconds.append(time.perf_counter() - start)
    objectives = [logistic_objective(f.coefficients, f.intercept, x, y, f.c) for f in fits]
    return np.array(objectives), np.diff(seconds, prepend=0)


def their_fit(x, y, c: float, solver: str, tol: float, iterations: int) -> tuple[float, float]:
    """Objective and seconds."""
    start = time.perf_counter()
    fit = LogisticRegression(C=c, tol=tol, max_iter=iterations, solver=solver).fit(x, y)
    seconds = time.perf_counter() - start
    return logistic_objective(fit.coef_, fit.intercept_, x, y, c), seconds


def compare_at_theirs(x, y, classes: int, iterations: int) -> str:
    """A line of the table: as good as scikit-learn's default."""
    fits = [their_fit(x, y, c, "lbfgs", 1e-4, iterations) for c in CS]
    theirs, seconds = (np.array(column) for column in zip(*fits, strict=True))
    for tolerance in (1e-4, 1e-5, 1e-6, 1e-7):
        mine, own = our_path(x, y, classes, tolerance)
        if (mine <= theirs * (1 + EQUAL)).all():
            break
    excess = np.max(mine / theirs - 1), np.max(theirs / np.minimum(mine, theirs) - 1)
    name = f"lbfgs, theirs ({tolerance:.0e})"
    return row(name, x, classes, own.sum(), seconds.sum(), *excess) + "   20 of 20"


def compare_at_ours(x, y, classes: int, iterations: int, budget: float) -> None:
    """Print a line for each solver: until it is as good as ours."""
    mine, own = our_path(x, y, classes, 1e-7)
    for solver in solvers_for(x, classes):
        seconds: list[float] = []
        excess, start = 0.0, time.perf_counter()
        for c, goal in zip(CS, mine, strict=True):
            for tol in (1e-4, 1e-6, 1e-8, 1e-10, 1e-12):
                reached, taken = their_fit(x, y, c, solver, tol, iterations)
                late = time.perf_counter() - start > budget
                if reached <= goal * (1 + EQUAL) or late:
                    break
            if reached > goal * (1 + EQUAL):
                break
            seconds.append(taken)
            excess = max(excess, reached / goal - 1)
            if late:
                break
        k = len(seconds)
        line = row(f"{solver}, ours", x, classes, own[:k].sum(), sum(seconds), 0.0, excess)
        print(f"{line}   {k} of 20", flush=True)
    print(f"{'our whole path':<50}{own.sum():>8.2f}", flush=True)


def solvers_for(x, classes: int) -> list[str]:
    """newton-cholesky holds a Hessian of all weights."""
    square = (classes * x.shape[1]) ** 2 * 8
    return ["lbfgs", "newton-cg", *(["newton-cholesky"] if square < 1 << 28 else [])]


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
    ratio = theirs / ours if ours else float("nan")
    return (
        f"{name:<22}{shape:<28}{ours:>8.2f}{theirs:>12.2f}{ratio:>8.1f}"
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
    parser.add_argument("--iterations", type=int, default=2000)
    parser.add_argument("--budget", type=float, default=30.0)
    parser.add_argument("--only", choices=["ridge", "theirs", "ours"])
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)  # what was reached is in the table
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
            if options.only in (None, "ridge"):
                print(compare_ridge(x, y, classes), flush=True)
            wide = x.astype(np.float64)
            if options.only in (None, "theirs"):
                print(compare_at_theirs(wide, y, classes, options.iterations), flush=True)
            if options.only in (None, "ours"):
                compare_at_ours(wide, y, classes, options.iterations, options.budget)


if __name__ == "__main__":
    main()
