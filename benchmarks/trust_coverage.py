"""Simulations behind what the report says of evaluations: see `coverage.py`, which runs them.

Studies are made side by side, as arrays whose first axis is the study; what is judged are the
product's own rules: its clip, its least error, its quantiles, its tests.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.statistics import fidelity
from pipeline.statistics.against_null import against_null_models
from pipeline.statistics.evidence import Evidence
from pipeline.statistics.fisher_z import least_rho_error, rho_limit, z_of
from pipeline.statistics.jackknife import MIN_GROUPS, Jackknife, members_of
from pipeline.statistics.predictor_tests import predictor_differences
from pipeline.statistics.simultaneous import joint_interval, joint_quantile

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from made_cubes import make_cube, make_evidence

Floats = NDArray[np.float64]
Words = NDArray[np.str_]

MODELS = (5, 6, 8, 12, 16, 26)
RHOS = (0.0, 0.6, 0.9)
ALIKE = 0.5
"""Intraclass correlation of a family's models."""


def families(kind: str, models: int) -> Words:
    """Families of `models` models: each its own, of two, uneven, or one with half of all."""
    sizes = {
        "own": [1] * models,
        "equal": [2] * (models // 2),
        "uneven": [max(1, models // 3), max(1, models // 5)],
        "one dominating": [models // 2],
        "of three": [3] * (models // 3),
        "of four": [4] * (models // 4),
    }[kind]
    sizes += [1] * (models - sum(sizes))
    return np.repeat([f"f{i:02}" for i in range(len(sizes))], sizes)


def studies(
    rng: np.random.Generator,
    draws: int,
    of: Words,
    rho: float,
    columns: int = 1,
    *,
    alike: float = ALIKE,
) -> tuple[Floats, Floats]:
    """Normal x of shape (draws, n_models, columns), each with correlation rho with one y."""
    _, place = np.unique(of, return_inverse=True)
    shape = (draws, len(of), columns + 1)
    shared = rng.standard_normal((draws, place.max() + 1, columns + 1))[:, place]
    z = np.sqrt(alike) * shared + np.sqrt(1 - alike) * rng.standard_normal(shape)
    y = z[..., :1]
    return rho * y + np.sqrt(1 - rho**2) * z[..., 1:], y[..., 0]


def spearman(x: Floats, y: Floats) -> Floats:
    """ρ over the second axis of x (draws, n, columns) with y (draws, n); without ties."""
    a = np.argsort(np.argsort(x, axis=1), axis=1).astype(float)
    b = np.argsort(np.argsort(y, axis=1), axis=1).astype(float)
    n = x.shape[1]
    centre = (n - 1) / 2
    product = np.einsum("dnc,dn->dc", a - centre, b - centre)
    return product / (n * (n * n - 1) / 12)


def population(rho: float) -> float:
    """Spearman's ρ of two normal variables."""
    return float(6 / np.pi * np.arcsin(rho / 2))


def jackknifed(
    x: Floats, ys: list[Floats], of: Words, least: int = 0
) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Mean ρ over targets: its z, error, ends, and z without each family.

    `least` is the number in the least error: of models, if not given.
    """
    n = x.shape[1]
    mean = np.mean([spearman(x, y) for y in ys], axis=0)
    at = float(rho_limit(n))
    jackknife = Jackknife(mean, 0.95, at)
    steps = []
    for gone in members_of(of):
        rest = np.mean([spearman(x[:, ~gone], y[:, ~gone]) for y in ys], axis=0)
        limit = float(rho_limit(n - gone.sum()))
        jackknife.leave_out(rest, True, limit)
        steps.append(z_of(rest, limit))
    middle = z_of(mean, at)
    low, high = jackknife.interval(least_rho_error(np.tanh(middle), least or n))
    return middle, jackknife.error(), low, high, np.stack(steps)


def intervals(draws: int) -> Iterator[str]:
    """How often the interval of one ρ holds the truth."""
    yield "| models | families | ρ 0 | ρ .6 | ρ .9 | median width at .6 |"
    yield "|---:|---|---:|---:|---:|---:|"
    for models in MODELS:
        for kind in ("own", "equal", "uneven", "one dominating"):
            of = families(kind, models)
            groups = len(set(of.tolist()))
            if groups < MIN_GROUPS:
                over = np.arange(models).astype(np.str_)
                words = f"{groups}, {kind}: over models"
            else:
                over, words = of, f"{groups}, {kind}"
            shares, width = [], 0.0
            for rho in RHOS:
                rng = np.random.default_rng([models, groups, int(10 * rho)])
                x, y = studies(rng, draws, of, rho)
                _, _, low, high, _ = jackknifed(x, [y], over)
                true = population(rho)
                shares.append(float(((low <= true) & (true <= high)).mean()))
                if rho == 0.6:
                    width = float(np.median(high - low))
            cells = " | ".join(f"{share:.1%}" for share in shares)
            yield f"| {models} | {words} | {cells} | {width:.2f} |"


def stressed(draws: int) -> Iterator[str]:
    """The worst coverage of one ρ where families are alike by 0 to .9, and how wide intervals are.

    With the number of models in the least error (the product's rule), and with that of families.
    """
    yield (
        "| models | intervals over | conditions | worst | worst, by families | width | by families "
        "|"
    )
    yield "|---:|---|---:|---:|---:|---:|---:|"
    for models in MODELS:
        found: dict[str, list[tuple[float, float, float, float]]] = {"families": [], "models": []}
        for kind in ("own", "equal", "uneven", "one dominating", "of three", "of four"):
            of = families(kind, models)
            groups = len(set(of.tolist()))
            few = groups < MIN_GROUPS
            over = np.arange(models).astype(np.str_) if few else of
            for alike in (0.0, 0.3, 0.5, 0.7, 0.9):
                for rho in RHOS:
                    rng = np.random.default_rng([models, groups, int(10 * alike), int(10 * rho)])
                    x, y = studies(rng, draws, of, rho, alike=alike)
                    true, numbers = population(rho), []
                    for least in (models, models if few else groups):
                        _, _, low, high, _ = jackknifed(x, [y], over, least)
                        numbers += [
                            float(((low <= true) & (true <= high)).mean()),
                            float(np.median(high - low)),
                        ]
                    found["models" if few else "families"].append(tuple(numbers))
        for name, rows in found.items():
            if rows:
                share, width, by_families, wider = zip(*rows, strict=True)
                worst = f"{min(share):.1%} | {min(by_families):.1%}"
                yield (
                    f"| {models} | {name} | {len(rows)} | {worst} "
                    f"| {np.mean(width):.2f} | {np.mean(wider):.2f} |"
                )


def leaders(
    draws: int, predictors: int = 12, targets: int = 3, models: tuple[int, ...] = MODELS[2:]
) -> Iterator[str]:
    """How often the interval of the highest of equal predictors holds the truth."""
    yield "| models | families | ρ | its own interval | as the highest of 12 |"
    yield "|---:|---|---:|---:|---:|"
    for count in models:
        for kind in ("own", "one dominating"):
            of = families(kind, count)
            if len(set(of.tolist())) < MIN_GROUPS:
                continue
            for rho in (0.0, 0.6):
                alone, joint = leader_covered(draws, predictors, targets, of, rho)
                yield (
                    f"| {count} | {len(set(of.tolist()))}, {kind} | {rho} | {alone:.1%} "
                    f"| {joint:.1%} |"
                )


def leader_covered(
    draws: int, predictors: int, targets: int, of: Words, rho: float
) -> tuple[float, float]:
    """Shares of studies in which either interval of the leader holds the truth."""
    rng = np.random.default_rng([len(of), predictors, int(10 * rho)])
    x, y = studies(rng, draws, of, rho, predictors)
    # Targets are alike, as a study's are: correlation .8 with what they share.
    ys = [0.8 * y + 0.6 * rng.standard_normal(y.shape) for _ in range(targets)]
    middle, error, low, high, steps = jackknifed(x, ys, of)
    true = population(0.8 * rho)
    lead = np.argmax(middle, axis=1)
    every = np.arange(draws)
    alone = (low[every, lead] <= true) & (true <= high[every, lead])
    joint = 0
    for d in range(draws):
        deviations = steps[:, d] - steps[:, d].mean(axis=0)
        half = joint_quantile(deviations, 0.95) * error[d]
        ends = joint_interval(middle[d], half, low[d], high[d])
        joint += bool(ends[0][lead[d]] <= true <= ends[1][lead[d]])
    return float(alone.mean()), joint / draws


def null_studies(draws: int) -> Iterator[str]:
    """How often an evaluation that is no better than a null model is called worth its cost."""
    fidelity.REPLICATES = 500  # a twentieth of the product's, so that many studies are affordable
    yield "| kNN's noise | studies | F1: any differs | any beats the size | kNN does |"
    yield "|---:|---:|---:|---:|---:|"
    for noise in (NULL_NOISE, 0.2):
        found = [_judged(seed, noise) for seed in range(draws)]
        shares = " | ".join(f"{share:.1%}" for share in np.mean(found, axis=0))
        yield f"| {noise} | {draws} | {shares} |"


NULL_NOISE = 1.0
"""Of the null model (a size), and of evaluations that are no better."""

MODELS_OF_STUDY, TARGETS_OF_STUDY = 16, 3


def null_study(seed: int, noise: float) -> Evidence:
    """Three evaluations with the null model's noise, of which kNN's may be less."""
    rng = np.random.default_rng(seed)
    count = MODELS_OF_STUDY
    ability = rng.standard_normal((count, 1))
    names = {"knn/a": noise, "linear/b": NULL_NOISE, "fewshot/c": NULL_NOISE}
    scores = {}
    for name, own in names.items():
        values = ability + 0.6 * rng.standard_normal((count, TARGETS_OF_STUDY + 1))
        values[:, 0] = ability[:, 0] + own * rng.standard_normal(count)
        scores[name] = 0.5 + 0.03 * values
    roles = ["in_domain"] + ["out_of_domain"] * TARGETS_OF_STUDY
    size = np.exp(ability[:, 0] + NULL_NOISE * rng.standard_normal(count))
    cube = make_cube(scores, role=roles, family=[f"f{i % 10}" for i in range(count)])
    return make_evidence(cube.assign_coords(parameters=("model", size)))


def _judged(seed: int, noise: float) -> tuple[bool, bool, bool]:
    evidence = null_study(seed, noise)
    against = predictor_differences(evidence).sel(reference="linear/b@d0", targets="all")
    tested = against_null_models(evidence).sel(targets="all")
    # The true null model: rank elsewhere is better than any of them, random order worse.
    size = tested.sel(null_model="parameters")
    better = (size["difference"] > 0) & (size["p_max_t"] < 0.05)
    return (
        bool((against["p_max_t"] < 0.05).any()),
        bool(better.any()),
        bool(better.sel(predictor="knn/a@d0")),
    )
