"""Models of known accuracy on drawn test images, and how often what is said of them is true.

`benchmarks/coverage.py` makes the tables of docs/statistics.md of it, tests use fewer draws. All
goes through the product's own functions, from outcomes to the finished comparison.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.statistics.evidence import Hits, ValSplit
from pipeline.statistics.image_draws import normal_draws
from pipeline.statistics.image_noise import Column, ImageColumn, ImageNoise, draw_together, measure
from pipeline.statistics.mean_scores import means_of
from pipeline.statistics.pair_tests import Paired, PairTests, compare_pairs

Floats = NDArray[np.float64]
VARIANT = "knn/study"


@dataclass(frozen=True)
class Condition:
    """What is planted.

    Attributes
    ----------
    words : str
    rates : tuple of float
        True accuracy of each model.
    images : tuple of int
        Test images of each data set; the scores of several are their mean.
    shared : float
        Share of the images that are as hard for all models.
    shots : int
        Draws whose mean an image's outcome is; 1: right or wrong.
    classes : int
        Of the mean over classes; 1: the mean over images.
    alone_at_least : float
        How often the best model shall be found alone.
    """

    words: str
    rates: tuple[float, ...]
    images: tuple[int, ...]
    shared: float = 0.0
    shots: int = 1
    classes: int = 1
    alone_at_least: float = 0.0


PACKS = (
    Condition("1 x .80, 15 x .60", (0.8, *[0.6] * 15), (1_000,), alone_at_least=0.95),
    Condition("1 x .95, 7 x .85", (0.95, *[0.85] * 7), (500,), alone_at_least=0.85),
    Condition("1 x .80, 15 x .60", (0.8, *[0.6] * 15), (3_000,), alone_at_least=0.95),
)
CONDITIONS = (
    *PACKS,
    Condition("16 x .70", (0.7,) * 16, (500,)),
    Condition("16 x .70, images alike", (0.7,) * 16, (500,), shared=0.8),
    Condition("2 x .70", (0.7, 0.7), (100,)),
    Condition("near-ties: .70 to .75", tuple(np.linspace(0.70, 0.75, 10)), (1_000,), shared=0.5),
    Condition("2 x .80, 6 x .78", (*[0.8] * 2, *[0.78] * 6), (2_500,), shared=0.5),
    Condition("ceiling: 8 x .995, 8 x .985", (*[0.995] * 8, *[0.985] * 8), (400,)),
    Condition("ceiling: 3 x .999, 3 x .90", (*[0.999] * 3, *[0.9] * 3), (124,)),
    Condition("chance: 12 x .10", (0.1,) * 12, (300,)),
    Condition("spread: .30 to .90", tuple(np.linspace(0.3, 0.9, 12)), (200,)),
    Condition("5 draws: 4 x .97, 4 x .95", (*[0.97] * 4, *[0.95] * 4), (150,), shots=5),
    Condition("mean of 8 classes: 6 x .80", (0.8,) * 6, (200,), classes=8),
    Condition("mean of 3 data sets: 2 x .80, 6 x .77", (*[0.8] * 2, *[0.77] * 6), (100, 200, 400),
              shared=0.5),
    Condition("mean of 2 data sets: 8 x .99", (0.99,) * 8, (60, 150)),
)  # fmt: skip


class Frequencies(NamedTuple):
    """Share of the draws in which it was so.

    Attributes
    ----------
    alone : float
        The true best models, and no other, are within chance of the best.
    best_kept : float
        All true best models are within chance of the best.
    none_wrong : float
        No model is called better that is not: all sets hold the true ranks.
    intervals_cover : float
        All pairs' intervals hold the true difference.
    limits_cover : float
        All models lie at most as far behind the best as is said.
    """

    alone: float
    best_kept: float
    none_wrong: float
    intervals_cover: float
    limits_cover: float


def outcomes(
    rates: Sequence[float], images: int, rng: np.random.Generator, shared: float = 0.0
) -> NDArray[np.bool_]:
    """Right where a model's own draw, or one that all share, is below its accuracy."""
    common, own = rng.random(images), rng.random((len(rates), images))
    hard = np.where(rng.random(images) < shared, common, own)
    return hard < np.asarray(rates)[:, np.newaxis]


def measured(
    hits: NDArray[np.generic], labels: NDArray[np.int64] | None = None, sample: int = 0
) -> tuple[ImageColumn, NDArray[np.float32]]:
    """As the product reads outcomes of shape (n_models, n_images)."""
    n = hits.shape[1]
    names = tuple(f"m{i}" for i in range(len(hits)))
    of = np.zeros(n, np.int64) if labels is None else labels
    test = ValSplit(tuple(map(str, range(n))), of, n, int(of.max()) + 1, ())
    metric = "top1" if labels is None else "mean_per_class"
    halving = np.arange(n)[np.newaxis] % 2 == 0
    return measure(Hits(names, hits.astype(np.float32)), test, metric, halving, sample)


def paired_of(hits: NDArray[np.generic]) -> Paired:
    """Outcomes on one data set, ready to be compared; one image has no spread."""
    if hits.shape[1] > 1:
        return measured(hits)[0]
    right = hits.astype(np.float64)
    names = tuple(f"m{i}" for i in range(len(right)))
    none = np.zeros((len(right), len(right)))
    return Paired(names, right[:, 0], none, 1, right @ (1 - right).T, hits=True)


def drawn_tests(condition: Condition, resamples: int, rng: np.random.Generator) -> PairTests:
    """The product's comparison of one draw of test images."""
    columns: dict[Column, ImageColumn] = {}
    shared: dict[tuple[Column, Column], Floats] = {}
    for number, images in enumerate(condition.images):
        hits = np.mean(
            [outcomes(condition.rates, images, rng, condition.shared)
             for _ in range(condition.shots)], axis=0,
        )  # fmt: skip
        labels = np.arange(images) % condition.classes if condition.classes > 1 else None
        name = (VARIANT, f"d{number}")
        columns[name], residuals = measured(hits, labels, number)
        shared[name, name] = (residuals @ residuals.T).astype(np.float64)
    if len(columns) == 1:
        [column] = columns.values()
        [drawn] = draw_together([column], resamples, rng)
        return compare_pairs(column, drawn, 0.95)
    means = means_of(ImageNoise(columns, shared), VARIANT, [name for _, name in columns])
    assert means is not None
    drawn = normal_draws(means.scores, means.covariance, resamples, rng)
    return compare_pairs(means, drawn, 0.95)


def frequencies(condition: Condition, draws: int, resamples: int, seed: int) -> Frequencies:
    """Of some draws of test images."""
    rng = np.random.default_rng(seed)
    truth = np.array(condition.rates)
    best, behind = truth == truth.max(), truth.max() - truth
    difference = truth[:, np.newaxis] - truth
    seen = np.zeros((draws, len(Frequencies._fields)), bool)
    for draw in range(draws):
        found = drawn_tests(condition, resamples, rng)
        tied = found.within_chance
        inside = (found.low <= difference + 1e-9) & (difference <= found.high + 1e-9)
        seen[draw] = (
            (tied == best).all(),
            tied[best].all(),
            (difference[found.better] > 0).all(),
            inside.all(),
            (found.behind_high >= behind - 1e-9).all(),
        )
    return Frequencies(*seen.mean(axis=0).tolist())
