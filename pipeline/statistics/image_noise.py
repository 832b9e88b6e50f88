"""How much of each score is due to the test images drawn, from paired per-image outcomes.

A score is Σ u_i over images, u = w·h for outcomes h and weights w that make the metric. Images of
one stratum (the data set, or of a mean over classes the class) are a sample; the covariance of two
scores is the sum over images of the product of their u less the stratum's mean, times n/(n-1).
Two data sets with the same list of images (the same pictures, rotated or blurred) share this noise.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.statistics.arrays import Floats, Mask
from pipeline.statistics.evidence import Evidence, Hits, ValSplit
from pipeline.statistics.image_draws import EXACT_UP_TO, multinomial_draws, normal_draws
from pipeline.statistics.pair_tests import Paired
from pipeline.statistics.remembered import remembered_of_headlines
from pipeline.study import metrics

Column = tuple[str, str]
"""A variant and a data set."""

SPLITS = 20
"""Random halvings of each data set's test images."""


MOST_COUNTED = 200
"""Models up to which shares of draws are compared image by image: one pass for each pair."""


def no_outcomes(evidence: Evidence) -> str:
    """Why there is no `image_noise`."""
    metric = metrics.metric_named(evidence.settings.metric)
    if metric.mean_of_hits is None:
        return f"{metric.label} is not a mean over images: their outcomes do not tell its noise"
    if any(len(test.labels) == 1 for test in evidence.tests.values()):
        return "one test image says nothing about chance, and no other data set has outcomes"
    return "no protocol has stored per-image outcomes"


@dataclass(frozen=True, kw_only=True)
class ImageColumn(Paired):
    """What the outcomes of one variant on one data set say, of the images that all models judged.

    Its `wins` are None of shares of several draws beyond `MOST_COUNTED` models.

    Attributes
    ----------
    halves : ndarray of shape (2, SPLITS, n_models)
        Scores on either half of the images, for each random halving.
    units : ndarray of shape (n_models, n_images) or None
        What each image adds to each score; None beyond `EXACT_UP_TO` images.
    strata : ndarray of shape (n_images,)
    sample : int
        Equal numbers: the same images.
    """

    halves: Floats
    units: NDArray[np.float32] | None
    strata: NDArray[np.int64]
    sample: int


def draw_together(
    columns: Sequence[ImageColumn], draws: int, rng: np.random.Generator
) -> list[Floats]:
    """Scores on other images alike, of columns that were judged on the same images.

    Parameters
    ----------
    columns : sequence of ImageColumn
        With the same `sample`. Up to `EXACT_UP_TO` images, all get the same draws of images;
        above, each is drawn by itself.
    draws : int
    rng : Generator

    Returns
    -------
    list of ndarray of shape (draws, n_models)
    """
    units = [column.units for column in columns if column.units is not None]
    if len(units) < len(columns):
        return [normal_draws(c.scores, c.covariance, draws, rng) for c in columns]
    drawn = multinomial_draws(np.concatenate(units), columns[0].strata, draws, rng)
    return np.split(drawn, np.cumsum([len(u) for u in units])[:-1], axis=1)


@dataclass(frozen=True)
class ImageNoise:
    """All columns with outcomes, and the covariance of those that share images.

    Attributes
    ----------
    columns : mapping of (variant, data set) to ImageColumn
    shared : mapping of two columns to ndarray of shape (n_models, n_models)
        Covariance of the scores of the first one's models (rows) with the second one's. Columns
        on other images are not in it: their noise is independent.
    """

    columns: Mapping[Column, ImageColumn]
    shared: Mapping[tuple[Column, Column], Floats]


@remembered_of_headlines
def image_noise(evidence: Evidence) -> ImageNoise:
    """The noise of each protocol's headline on each data set; outcomes are read once and dropped.

    Several statistics ask for it, and reading costs more than all of them. None of a metric that is
    not a mean over images.
    """
    if metrics.metric_named(evidence.settings.metric).mean_of_hits is None:
        return ImageNoise({}, {})
    by_images: dict[tuple[str, ...], list[str]] = {}
    for dataset, test in evidence.tests.items():
        by_images.setdefault(test.paths, []).append(dataset)
    columns: dict[Column, ImageColumn] = {}
    shared: dict[tuple[Column, Column], Floats] = {}
    samples: dict[tuple[int, bytes], int] = {}
    headline = list(evidence.headline.values())
    for number, datasets in enumerate(by_images.values()):
        residuals: dict[Column, NDArray[np.float32]] = {}
        rng = np.random.default_rng(0)  # its own: other data sets change no answer on these images
        halving = _halvings(len(evidence.tests[datasets[0]].paths), rng)
        for dataset, variant in itertools.product(datasets, headline):
            hits = evidence.read_hits(variant, dataset)
            judged = np.isfinite(hits.hits).all(axis=0)
            if hits.models and judged.sum() > 1:
                sample = samples.setdefault((number, judged.tobytes()), len(samples))
                columns[variant, dataset], residuals[variant, dataset] = measure(
                    hits, evidence.tests[dataset], evidence.settings.metric, halving, sample
                )
        for first, second in itertools.combinations_with_replacement(residuals, 2):
            covariance = (residuals[first] @ residuals[second].T).astype(np.float64)
            shared[first, second], shared[second, first] = covariance, covariance.T
    return ImageNoise(columns, shared)


def measure(
    hits: Hits, test: ValSplit, metric: str, halving: Mask, sample: int
) -> tuple[ImageColumn, NDArray[np.float32]]:
    """One column, and each image's share in the deviation of each score.

    Parameters
    ----------
    hits : Hits
    test : ValSplit
    metric : str
        A mean of hits over images or over classes.
    halving : ndarray of bool, shape (SPLITS, n_test)
        Which images are in the first half.
    sample : int
        Of the column.

    Returns
    -------
    column : ImageColumn
    residuals : ndarray of shape (n_models, n_test)
        Zero for images that were not judged. Products of two columns' residuals, summed over
        images, are their covariance.
    """
    judged = np.isfinite(hits.hits).all(axis=0)
    outcomes = hits.hits if judged.all() else hits.hits[:, judged]
    labels = test.labels[judged]
    per_class = metrics.metric_named(metric).mean_of_hits == "classes"
    strata = np.unique(labels, return_inverse=True)[1] if per_class else np.zeros_like(labels)
    sizes = np.bincount(strata)
    weights = (1 / (sizes[strata] * len(sizes))).astype(np.float32)
    means = np.stack([np.bincount(strata, row) / sizes for row in outcomes])
    spread = outcomes - means.astype(np.float32)[:, strata]
    spread *= weights
    # A class of one image tells nothing of its own spread: it adds none.
    unbiased = np.sqrt(sizes / np.maximum(sizes - 1, 1))[strata].astype(np.float32)
    spread *= unbiased
    residuals = spread
    if not judged.all():
        residuals = np.zeros(hits.hits.shape, np.float32)
        residuals[:, judged] = spread
    units = outcomes * weights
    half = halving[:, judged]
    binary = bool(((outcomes == 0) | (outcomes == 1)).all())
    column = ImageColumn(
        models=hits.models,
        images=int(judged.sum()),
        scores=means.mean(axis=1),
        covariance=(residuals @ residuals.T).astype(np.float64),
        wins=_wins(outcomes, binary=binary),
        hits=binary and not per_class,
        halves=np.stack([_score_on(units, weights, side) for side in (half, ~half)]),
        units=units if len(labels) <= EXACT_UP_TO else None,
        strata=strata,
        sample=sample,
    )
    return column, residuals


def _wins(outcomes: NDArray[np.float32], *, binary: bool) -> Floats | None:
    if binary:
        return (outcomes @ (1 - outcomes).T).astype(np.float64)
    if len(outcomes) > MOST_COUNTED:
        return None
    return np.array([(row > outcomes).sum(axis=1) for row in outcomes], np.float64)


def _halvings(images: int, rng: np.random.Generator) -> Mask:
    order = np.argsort(rng.random((SPLITS, images)), axis=1)
    halving: Mask = order < images // 2
    return halving


def _score_on(units: NDArray[np.float32], weights: NDArray[np.float32], side: Mask) -> Floats:
    """Scores on some of the images, shape (SPLITS, n_models); NaN where there are none."""
    chosen = side.astype(np.float32)
    with np.errstate(invalid="ignore", divide="ignore"):
        scores: Floats = ((units @ chosen.T) / (chosen @ weights)).T.astype(np.float64)
    return scores
