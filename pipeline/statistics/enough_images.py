"""How many test images are enough: choosing the best model from fewer of them."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import stats

from pipeline.statistics.evidence import Evidence
from pipeline.statistics.image_draws import normal_draws
from pipeline.statistics.image_noise import ImageColumn, image_noise, no_outcomes
from pipeline.statistics.withheld import withheld

Floats = NDArray[np.float64]

SIZES = (10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000)
"""Numbers of test images that are tried, where the data set has more."""

DRAWS = 500
"""Subsets of each size."""

NORMAL_FROM = 100
"""Images from which on the accuracies on subsets of a large test set are taken as normal."""

POWER = 0.8
"""With which the two best models shall be told apart."""

CHOICE = "choosing the best model from some of the test images, against all of them"


def enough_images(evidence: Evidence) -> xr.Dataset:
    """Probability of choosing the best model, and what a wrong choice costs, by test images.

    Returns
    -------
    Dataset
        Dimensions protocol, dataset and images; variables p_best, regret (mean loss in accuracy
        against the best model), regret_high (its 95th percentile), models and n_test.
    """
    cells = list(_cells(evidence))
    if not cells:
        return withheld(CHOICE, no_outcomes(evidence))
    names = ("p_best", "regret", "regret_high", "models", "n_test")
    shape = (len(evidence.headline), len(evidence.datasets()), len(SIZES))
    values = {name: np.full(shape, np.nan) for name in names}
    for p, d, column in cells:
        rng = np.random.default_rng(0)
        for place, size in enumerate(SIZES):
            scores = subset_scores(column, size, rng)
            if scores is None:
                continue
            best, regret = choices(scores, column.scores)
            found = (best.mean(), regret.mean(), np.quantile(regret, 0.95), len(column.models),
                     column.images)  # fmt: skip
            for name, value in zip(names, found, strict=True):
                values[name][p, d, place] = value
    return xr.Dataset(
        {name: (("protocol", "dataset", "images"), value) for name, value in values.items()},
        coords={
            "protocol": list(evidence.headline),
            "dataset": evidence.datasets(),
            "images": list(SIZES),
        },
        attrs={
            "definition": CHOICE + "; images are drawn without replacement, the same for all "
            "models, and the whole test set counts as the truth: what comes near to it is too "
            "good",
            "source": f"{DRAWS} subsets of each size; of large test sets normal draws, from "
            f"{NORMAL_FROM} images on",
        },
    )


def images_to_separate(evidence: Evidence) -> xr.Dataset:
    """Test images that are needed to tell the two best models apart.

    Returns
    -------
    Dataset
        Dimensions protocol and dataset; variables best and second (names), difference, low, high,
        p (McNemar), needed (NaN for equal models) and n_test.
    """
    definition = (
        f"test images with which McNemar's test finds the difference of the two best models in "
        f"{POWER:.0%} of cases, if it is as large as it was found"
    )
    cells = list(_cells(evidence))
    if not cells:
        return withheld(definition, no_outcomes(evidence))
    shape = (len(evidence.headline), len(evidence.datasets()))
    names = ("difference", "low", "high", "p", "needed", "n_test")
    values = {name: np.full(shape, np.nan) for name in names}
    pair = np.full((2, *shape), "", object)
    for p, d, column in cells:
        first, second = np.argsort(-column.scores, kind="stable")[:2]
        pair[:, p, d] = column.models[first], column.models[second]
        variance = column.covariance[[first, second], [first, second]].sum()
        found = separation(
            float(column.scores[first] - column.scores[second]),
            float(variance - 2 * column.covariance[first, second]),
            column.images,
            evidence.settings.confidence,
        )
        for name, value in zip(names, (*found, column.images), strict=True):
            values[name][p, d] = value
    dims = ("protocol", "dataset")
    return xr.Dataset(
        {"best": (dims, pair[0]), "second": (dims, pair[1])}
        | {name: (dims, value) for name, value in values.items()},
        coords={"protocol": list(evidence.headline), "dataset": evidence.datasets()},
        attrs={
            "definition": definition,
            "interval": f"{evidence.settings.confidence:.0%}, normal, over test images. The two "
            "were chosen because they came out best: their difference is uncertain, and with it "
            "what is needed",
            "source": "McNemar 1947; Connor 1987, Biometrics 43",
        },
    )


def subset_scores(column: ImageColumn, size: int, rng: np.random.Generator) -> Floats | None:
    """Scores on subsets of the test images, drawn without replacement.

    Returns
    -------
    ndarray of shape (DRAWS, n_models), or None
        None for sizes that the test set does not have, and for few images of a large test set,
        whose outcomes are not kept.
    """
    n = column.images
    if size >= n:
        return None
    if column.units is not None:
        order = np.argsort(rng.random((DRAWS, n)), axis=1)[:, :size]
        chosen = np.zeros((DRAWS, n))
        np.put_along_axis(chosen, order, n / size, axis=1)
        scores: Floats = chosen @ column.units.T.astype(np.float64)
        return scores
    if size < NORMAL_FROM:
        return None
    # Of one image, over those drawn, less what they are of all (without replacement).
    return normal_draws(column.scores, column.covariance * n * (1 / size - 1 / n), DRAWS, rng)


def choices(scores: Floats, truth: Floats) -> tuple[Floats, Floats]:
    """Of each draw, whether the choice is a truly best model, and how much it loses.

    Models that come out equal are chosen by lot, so both are means over them.

    Parameters
    ----------
    scores : ndarray of shape (n_draws, n_models)
    truth : ndarray of shape (n_models,)

    Returns
    -------
    best, regret : ndarray of shape (n_draws,)
    """
    chosen = scores >= scores.max(axis=1, keepdims=True) - 1e-12
    share = chosen / chosen.sum(axis=1, keepdims=True)
    loss = truth.max() - truth
    return share @ (loss <= 1e-12), share @ loss


def separation(
    difference: float, variance: float, n: int, confidence: float
) -> tuple[float, float, float, float, float]:
    """Difference, its interval, McNemar's p, and the images needed to find it.

    Parameters
    ----------
    difference : float
        Of two scores.
    variance : float
        Of the difference, over test images.
    n : int
        Test images.
    confidence : float
    """
    spread = variance * (n - 1)  # of one image, about the observed mean
    square = spread + difference**2
    if square <= 1e-12:  # equal on every image
        return 0.0, math.nan, math.nan, 1.0, math.nan
    z = float(stats.norm.isf((1 - confidence) / 2))
    half = z * math.sqrt(max(variance, 0))
    p = float(2 * stats.norm.sf(abs(difference) / math.sqrt(square / n)))
    needed = math.nan
    if difference:
        reach = z * math.sqrt(square) + float(stats.norm.ppf(POWER)) * math.sqrt(max(spread, 0))
        needed = math.ceil((reach / difference) ** 2)
    return difference, difference - half, difference + half, p, needed


def _cells(evidence: Evidence) -> Iterator[tuple[int, int, ImageColumn]]:
    """Protocol's and data set's place, and outcomes, where two models were judged."""
    columns = image_noise(evidence).columns
    for p, variant in enumerate(evidence.headline.values()):
        for d, dataset in enumerate(evidence.datasets()):
            column = columns.get((variant, dataset))
            if column is not None and len(column.models) > 1:
                yield p, d, column
