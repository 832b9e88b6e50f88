"""Power resimulated at the recommended size, and coverage of the interval for a new data set.

    python benchmarks/power.py [--draws 2000]

Studies are planted: scores of N models on an in-domain set by two evaluations, and on T targets,
normal with a common skill. The product's own functions say how many models find the difference in
80% of cases; that many are drawn again and again and tested. Lines end with what was found;
expected are 80 ± 3%, and at least 93.5% coverage. Takes about two minutes.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from trust_coverage import spearman

from pipeline.statistics.fisher_z import rho_limit, z_of
from pipeline.statistics.new_target import predicted
from pipeline.statistics.pilots import LOST, Pilot
from pipeline.statistics.t_power import needed

Floats = NDArray[np.float64]

ALPHA = 0.05
PLANTED = ((0.5, 1.0, 0.7, 3), (0.5, 1.0, 0.7, 10), (0.4, 0.7, 1.0, 5), (0.3, 0.9, 0.4, 5))
"""Noise of the two evaluations and of the targets, beside a skill of 1; targets."""


def planted(rng: np.random.Generator, shape: tuple[int, int], of: tuple[float, ...]) -> Floats:
    """Scores of shape (draws, n_models, 2 + targets): both evaluations, then the targets."""
    first, second, noise, targets = of
    skill = rng.standard_normal((*shape, 1))
    spread = np.array([first, second, *[noise] * int(targets)])
    return skill + spread * rng.standard_normal((*shape, len(spread)))


def differences(scores: Floats) -> Floats:
    """atanh ρ of the first evaluation less that of the second, shape (draws, targets)."""
    limit = rho_limit(np.array(scores.shape[1]))
    found = [
        z[:, 0] - z[:, 1]
        for t in range(2, scores.shape[2])
        for z in [z_of(spearman(scores[..., :2], scores[..., t]), limit)]
    ]
    return np.stack(found, axis=1)


def jackknife_values(scores: Floats) -> Floats:
    """N θ - (N - 1) θ without each model, shape (draws, n_models, targets)."""
    n = scores.shape[1]
    whole = differences(scores)
    without = [differences(np.delete(scores, i, axis=1)) for i in range(n)]
    return n * whole[:, np.newaxis] - (n - 1) * np.stack(without, axis=1)


def fisher(n: int) -> float:
    """From the spread of jackknife values to that of 1 / (n - 3)."""
    return float(np.sqrt((n - LOST) / n))


def models(draws: int) -> None:
    """Recommended numbers of models, and the power that they have."""
    rng = np.random.default_rng(0)
    print("models: planted difference (atanh), targets, recommended, power found; a pilot")
    for of in PLANTED:
        truth = float(np.mean([differences(planted(rng, (50, 400), of)).mean() for _ in range(24)]))
        large = jackknife_values(planted(rng, (max(4, draws // 33), 150), of))
        spread = fisher(150) * float(np.sqrt(np.mean([Pilot(v).spread() ** 2 for v in large])))
        n = int(needed(truth, spread, ALPHA)) + LOST
        values = jackknife_values(planted(rng, (draws, n), of)).mean(axis=2)
        t = values.mean(axis=1) / (values.std(axis=1, ddof=1) / np.sqrt(n))
        found = np.mean(np.abs(t) > stats.t.isf(ALPHA / 2, n - 1))
        pilots = [
            Pilot(v).interval()
            for v in jackknife_values(planted(rng, (max(4, draws * 3 // 20), 26), of))
        ]
        held = np.mean([low * fisher(26) <= spread <= high * fisher(26) for low, high in pilots])
        print(f"  {truth:.3f} {of[3]:3d} {n:4d} {found:.1%}"
              f"  interval of 26 models covers {held:.1%}", flush=True)  # fmt: skip


def data_sets(draws: int) -> None:
    """Recommended numbers of data sets, and the power that they have."""
    rng = np.random.default_rng(1)
    print("data sets: difference over spread, recommended, found; a pilot of 8 data sets covers")
    for effect in (0.3, 0.5, 1.0):
        n = int(needed(effect, 1.0, ALPHA))
        values = effect + rng.standard_normal((4 * draws, n))
        t = values.mean(axis=1) / (values.std(axis=1, ddof=1) / np.sqrt(n))
        found = np.mean(np.abs(t) > stats.t.isf(ALPHA / 2, n - 1))
        pilot = rng.standard_normal((draws, 8)).std(axis=1, ddof=1)
        low, high = (pilot * np.sqrt(7 / stats.chi2.ppf(q, 7)) for q in (0.975, 0.025))
        print(f"  {effect} {n:4d} {found:.1%}  {np.mean((low <= 1) & (high >= 1)):.1%}", flush=True)


def new_data_sets(draws: int) -> None:
    """Coverage of the interval for one more target."""
    rng = np.random.default_rng(2)
    print(
        "new data set: targets, then coverage with 8, 12, 16 and 26 models (ρ .6, spread of z 0.3)"
    )
    for targets in (2, 3, 4, 6, 8, 12):
        cells = []
        for n in (8, 12, 16, 26):
            held = []
            for _ in range(draws):
                x = rng.standard_normal(n)
                r = np.tanh(np.arctanh(0.6) + 0.3 * rng.standard_normal(targets + 1))
                y = r[:, None] * x + np.sqrt(1 - r**2)[:, None] * rng.standard_normal(
                    (targets + 1, n)
                )
                rho = spearman(y.T[np.newaxis], x[np.newaxis])[0]
                limit = 1 - 6 / (n**3 - n)
                z = np.arctanh(np.clip(rho, -limit, limit))
                _, low, high = predicted(z[:-1], 0.95)
                held.append(low <= z[-1] <= high if np.isfinite(low) else np.nan)
            cells.append(f"{np.mean(held):.1%}")
        print(f"  {targets:3d}  " + "  ".join(cells), flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--draws", type=int, default=2_000)
    draws = parser.parse_args().draws
    for table in (models, data_sets, new_data_sets):
        table(draws)


if __name__ == "__main__":
    main()
