"""How many test images are enough: choosing the best model from fewer of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr

from pipeline.statistics.arrays import Floats
from pipeline.statistics.evidence import Evidence
from pipeline.statistics.image_draws import normal_draws
from pipeline.statistics.image_noise import ImageColumn, image_noise, no_outcomes
from pipeline.statistics.table import blank, fill, tabled, withheld

SIZES = (10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000)
"""Numbers of test images that are tried, where the data set has more."""

DRAWS = 500
"""Subsets of each size."""

NORMAL_FROM = 100
"""Images from which on the accuracies on subsets of a large test set are taken as normal."""

CHOICE = "choosing the best model from some of the test images, against all of them"


def enough_images(evidence: Evidence) -> xr.Dataset:
    """What choosing a model costs, and how often it is the best one, by test images.

    Returns
    -------
    Dataset
        Dimensions protocol, dataset and images; variables regret (mean loss in accuracy
        against the best model), regret_high (its 95th percentile), p_best (how often it is the
        best model, even if by one image), models and n_test.
    """
    cells = list(_cells(evidence))
    if not cells:
        return withheld(CHOICE, no_outcomes(evidence))
    labels = {"protocol": evidence.headline, "dataset": evidence.datasets(), "images": SIZES}
    values = blank(labels, ("regret", "regret_high", "p_best", "models", "n_test"))
    for p, d, column in cells:
        rng = np.random.default_rng(0)
        for place, size in enumerate(SIZES):
            scores = subset_scores(column, size, rng)
            if scores is None:
                continue
            counts = {"models": len(column.models), "n_test": column.images}
            fill(values, (p, d, place), cost_of(*choices(scores, column.scores)) | counts)
    return tabled(
        labels,
        values,
        definition=CHOICE + "; images are drawn without replacement, the same for all "
        "models, and the whole test set counts as the truth: what comes near to it is too "
        "good",
        source=f"{DRAWS} subsets of each size; of large test sets normal draws, from "
        f"{NORMAL_FROM} images on",
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


def cost_of(best: Floats, regret: Floats) -> dict[str, float]:
    """What `choices` come to, over all draws."""
    return {
        "regret": float(regret.mean()),
        "regret_high": float(np.quantile(regret, 0.95)),
        "p_best": float(best.mean()),
    }


def _cells(evidence: Evidence) -> Iterator[tuple[int, int, ImageColumn]]:
    """Protocol's and data set's place, and outcomes, where two models were judged."""
    columns = image_noise(evidence).columns
    for p, variant in enumerate(evidence.headline.values()):
        for d, dataset in enumerate(evidence.datasets()):
            column = columns.get((variant, dataset))
            if column is not None and len(column.models) > 1:
                yield p, d, column
