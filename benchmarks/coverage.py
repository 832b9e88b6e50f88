"""How often the intervals hold the truth: simulations behind the tables of docs/statistics.md.

    python benchmarks/coverage.py [coefficients|disattenuated|regret|best|power
        |intervals|stressed|leaders|null_studies] [--draws 2000]

26 models, of `intervals` and `leaders` 5 to 26; a nominal 95% interval should hold the truth in
92% of the draws or more. Prints Markdown. 2,000 draws of `coefficients` take about two minutes on
one core, of `intervals` ten seconds, of `leaders` four minutes; 850 `null_studies` five minutes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import trust_coverage
from numpy.typing import NDArray
from scipy import stats

from pipeline.statistics.correlation import COEFFICIENTS, correlate
from pipeline.statistics.disattenuation import NoisyScores, disattenuate, disattenuated_interval
from pipeline.statistics.evidence import Hits, ValSplit
from pipeline.statistics.image_noise import measure
from pipeline.statistics.regret import choice, crossed_regret, naive_regret
from pipeline.statistics.tie_cost import images_to_tell, share_of_error

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # what is planted is tested, too
from planted import CONDITIONS, Condition, drawn_tests, frequencies

MODELS = 26
TOGETHER = 50
"""Draws side by side as columns of one table."""

FEW_TOGETHER = 10
IMAGES = 500

RHOS = (0.0, 0.6, 0.9)
SHOWN = ("pearson", "spearman", "kendall")
Floats = NDArray[np.float64]


def groups(families: int) -> NDArray[np.str_]:
    return np.array([f"f{i % families:02}" for i in range(MODELS)])


def pairs(rng: np.random.Generator, rho: float, icc: float, families: NDArray[np.str_]) -> Floats:
    """Standard normal (x, y) of each model with correlation rho, families alike by icc."""
    names, of = np.unique(families, return_inverse=True)
    shared, own = rng.standard_normal((len(names), 2)), rng.standard_normal((len(families), 2))
    z = np.sqrt(icc) * shared[of] + np.sqrt(1 - icc) * own
    z[:, 1] = rho * z[:, 0] + np.sqrt(1 - rho**2) * z[:, 1]
    return z


def accuracies(z: Floats, *, ties: bool) -> Floats:
    """Scores around .5; with ties, in steps of half a standard deviation."""
    return 0.5 + 0.1 * (np.round(2 * z) / 2 if ties else z)


def truth(rho: float, *, ties: bool) -> dict[str, float]:
    """Coefficients of the population, by a million models."""
    rng = np.random.default_rng(1)
    z = rng.standard_normal((1_000_000, 2))
    z[:, 1] = rho * z[:, 0] + np.sqrt(1 - rho**2) * z[:, 1]
    x, y = accuracies(z, ties=ties).T
    return {
        "pearson": float(np.corrcoef(x, y)[0, 1]),
        "spearman": float(stats.spearmanr(x, y).statistic),
        "kendall": float(stats.kendalltau(x, y).statistic),
    }


def coefficients(draws: int) -> Iterator[str]:
    yield "| dependence | ties | ρ | r | Spearman ρ | Kendall τ-b |"
    yield "|---|---|---:|---:|---:|---:|"
    for rho in RHOS:
        for ties in (False, True):
            true = truth(rho, ties=ties)
            for icc, count in ((0.0, MODELS), (0.3, 10), (0.7, 10)):
                rng = np.random.default_rng([int(10 * rho), ties, int(10 * icc)])
                families = groups(count)
                covered = np.zeros(len(SHOWN))
                for _ in range(draws // TOGETHER):
                    z = np.stack([pairs(rng, rho, icc, families) for _ in range(TOGETHER)], axis=2)
                    scores = accuracies(np.concatenate([z[:, 0], z[:, 1]], axis=1), ties=ties)
                    n_test = np.full(2 * TOGETHER, 1000.0)
                    found = correlate(scores, families, n_test, 0.95)
                    for c, name in enumerate(SHOWN):
                        low, high = (
                            np.diagonal(end[COEFFICIENTS.index(name)], offset=TOGETHER)
                            for end in (found.low, found.high)
                        )
                        covered[c] += ((low <= true[name]) & (true[name] <= high)).sum()
                words = "independent" if icc == 0 else f"10 families, {icc}"
                shares = " | ".join(f"{share:.1%}" for share in covered / draws)
                yield f"| {words} | {'yes' if ties else 'no'} | {rho} | {shares} |"


def noisy_pair(
    rng: np.random.Generator, z: Floats, *, same: bool
) -> tuple[Floats, dict[tuple[int, int], Floats]]:
    """Two scores of reliability .9 by images, and the covariance of their errors.

    `same`: both are of the same images, half of which are as hard for both.
    """
    spread = 3 * np.sqrt(0.25 / IMAGES)
    p = np.clip(0.5 + spread * z, 0.02, 0.98)
    u = rng.random((2, MODELS, IMAGES), dtype=np.float32)
    if same:
        u[1, :, ::2] = u[0, :, ::2]
    test = ValSplit(tuple(map(str, range(IMAGES))), np.zeros(IMAGES, np.int64), IMAGES, 1, ())
    halving = np.arange(IMAGES)[np.newaxis] % 2 == 0
    names = tuple(f"m{i}" for i in range(MODELS))
    hits = [Hits(names, (u[c] < p[:, c : c + 1]).astype(np.float32)) for c in range(2)]
    made = [measure(h, test, "top1", halving, 0) for h in hits]
    noise = {(c, c): made[c][0].covariance for c in range(2)}
    if same:
        noise[0, 1] = (made[0][1] @ made[1][1].T).astype(float)
        noise[1, 0] = noise[0, 1].T
    return np.stack([column.scores for column, _ in made], axis=1), noise


def disattenuated(draws: int) -> Iterator[str]:
    yield "| dependence | test images | ρ | covered | mean observed r | mean without noise |"
    yield "|---|---|---:|---:|---:|---:|"
    for rho in RHOS:
        for same in (False, True):
            for icc, count in ((0.0, MODELS), (0.3, 10), (0.7, 10)):
                rng = np.random.default_rng([int(10 * rho), same, int(10 * icc), 7])
                families = groups(count)
                covered, observed, found = 0, 0.0, 0.0
                for _ in range(draws // FEW_TOGETHER):
                    parts = [
                        noisy_pair(rng, pairs(rng, rho, icc, families), same=same)
                        for _ in range(FEW_TOGETHER)
                    ]
                    noisy = NoisyScores(
                        np.concatenate([scores for scores, _ in parts], axis=1),
                        {
                            (2 * k + i, 2 * k + j): noise
                            for k, (_, covariance) in enumerate(parts)
                            for (i, j), noise in covariance.items()
                        },
                    )
                    low, high = disattenuated_interval(noisy, families, 0.95)
                    clean, _ = disattenuate(noisy)
                    seen = np.corrcoef(noisy.scores.T)
                    for k in range(0, 2 * FEW_TOGETHER, 2):
                        covered += bool(low[k, k + 1] <= rho <= high[k, k + 1])
                        observed += seen[k, k + 1] / draws
                        found += clean[k, k + 1] / draws
                words = "independent" if icc == 0 else f"10 families, {icc}"
                share = f"{covered / draws:.1%} | {observed:.3f} | {found:.3f}"
                yield f"| {words} | {'the same' if same else 'others'} | {rho} | {share} |"


def regret(draws: int) -> Iterator[str]:
    images, splits = 400, 10
    rng = np.random.default_rng(5)
    yield "| proxy | true regret | cross-fitted | naive |"
    yield "|---|---:|---:|---:|"
    for words, noise in (("good", 0.02), ("middling", 0.05), ("useless", 10.0)):
        sums = np.zeros(3)
        for _ in range(draws):
            p = rng.normal(0.6, 0.05, MODELS).clip(0, 1)
            hits = rng.random((MODELS, images)) < p[:, np.newaxis]
            side = np.argsort(rng.random((splits, images)), axis=1) < images // 2
            halves = np.stack(
                [hits @ s.T.astype(float) / s.sum(axis=1) for s in (side, ~side)]
            ).swapaxes(1, 2)
            chosen = choice(p + rng.normal(0, noise, MODELS))
            sums += (
                p.max() - chosen @ p,
                crossed_regret(chosen, halves),
                naive_regret(chosen, hits.mean(axis=1)),
            )
        true, crossed, naive = sums / draws
        yield f"| {words} | {true:.4f} | {crossed:.4f} | {naive:.4f} |"


RESAMPLES = 2_000
"""Draws of test images in each simulated study; the product makes 10,000."""


def best(draws: int) -> Iterator[str]:
    yield (
        "| true accuracies | test images | best alone | true best kept | sets hold the ranks | "
        "intervals hold | limits hold |"
    )
    yield "|---|---:|---:|---:|---:|---:|---:|"
    for place, condition in enumerate(CONDITIONS):
        seen = frequencies(condition, draws, RESAMPLES, seed=100 + place)
        images = " + ".join(f"{n:,}" for n in condition.images)
        shares = " | ".join(f"{share:.1%}" for share in seen)
        yield f"| {condition.words} | {images} | {shares} |"


def power(draws: int) -> Iterator[str]:
    """One model 1 point behind the best, others 30: how often its test, and the set, tell it."""
    yield "| models | best and next alone right | recommended images | its test | out of the set |"
    yield "|---:|---|---:|---:|---:|"
    for others, only_best, only_next in ((1, 0.06, 0.05), (1, 0.16, 0.15), (4, 0.06, 0.05),
                                         (15, 0.06, 0.05)):  # fmt: skip
        margin, square = only_best - only_next, only_best + only_next
        n = 10**7
        error = np.sqrt((square - margin**2) / (n - 1))
        needed = int(
            images_to_tell(np.full(others, margin), np.full(others, error), n, margin, 0.95)[0]
        )
        rng = np.random.default_rng([others, int(100 * square)])
        first, second, _ = rng.multinomial(needed, [only_best, only_next, 1 - square], 200_000).T
        z = (first - second) / np.sqrt(first + second)
        alone = np.mean(z > stats.norm.isf(share_of_error(others + 1, 0.95) / 2))
        # Independent models that differ on as many images: a(1 - b) + b(1 - a), b = a - margin.
        accuracy = (1 + margin + np.sqrt((1 + margin) ** 2 - 2 * (square + margin))) / 2
        rates = (accuracy, accuracy - margin, *[accuracy - 0.3] * (others - 1))
        condition = Condition("", rates, (needed,))
        out = np.mean(
            [not drawn_tests(condition, RESAMPLES, rng).within_chance[1] for _ in range(draws)]
        )
        yield (
            f"| {others + 1} | {only_best:.0%} and {only_next:.0%} of images | {needed:,} | "
            f"{alone:.1%} | {out:.1%} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    known = {
        "coefficients": coefficients, "disattenuated": disattenuated, "regret": regret,
        "intervals": trust_coverage.intervals, "stressed": trust_coverage.stressed,
        "leaders": trust_coverage.leaders,
        "null_studies": trust_coverage.null_studies,
        "best": best, "power": power,
    }  # fmt: skip
    parser.add_argument("what", choices=known, nargs="?", default="coefficients")
    parser.add_argument("--draws", type=int, default=2_000)
    arguments = parser.parse_args()
    for line in known[arguments.what](arguments.draws):
        print(line, flush=True)


if __name__ == "__main__":
    main()
