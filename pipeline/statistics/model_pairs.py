"""F3: which models differ on a data set, image by image, all pairs tested together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import stats

from pipeline.statistics.evidence import Evidence
from pipeline.statistics.image_noise import (
    Column,
    ImageColumn,
    draw_together,
    image_noise,
    no_outcomes,
)
from pipeline.statistics.multiplicity import benjamini_hochberg, holm, max_t
from pipeline.statistics.remembered import remembered
from pipeline.statistics.withheld import withheld

Floats = NDArray[np.float64]

DRAWS = 10_000

MOST_MODELS = 200
"""Beyond this, pairs are not compared: there would be 20,000 of them on each data set."""


@dataclass(frozen=True)
class PairTests:
    """All pairs of models of one column; arrays of shape (n_pairs,) in the order of `pairs`.

    Attributes
    ----------
    models : tuple of str
    pairs : tuple of two ndarrays of int
        The first model of each pair, and the second.
    difference, low, high : ndarray
        First less second; the interval holds for all pairs at once.
    p, p_max_t, p_holm, p_bh : ndarray
    """

    models: tuple[str, ...]
    pairs: tuple[NDArray[np.intp], NDArray[np.intp]]
    difference: Floats
    low: Floats
    high: Floats
    p: Floats
    p_max_t: Floats
    p_holm: Floats
    p_bh: Floats


def compare_pairs(column: ImageColumn, drawn: Floats, confidence: float) -> PairTests:
    """Test all pairs of models on the images of one data set.

    Parameters
    ----------
    column : ImageColumn
    drawn : ndarray of shape (n_draws, n_models)
        Scores on other images alike.
    confidence : float

    Returns
    -------
    PairTests

    Notes
    -----
    p alone is McNemar's exact one (1947) where each image has one outcome, else normal. Max-T
    draws images for all models together, so that it knows how pairs depend on each other; it
    divides by the standard error over images.
    """
    first, second = np.triu_indices(len(column.models), 1)
    difference = column.scores[first] - column.scores[second]
    error = _standard_error(column.covariance, first, second)
    differs = error > 1e-9
    with np.errstate(invalid="ignore", divide="ignore"):
        z = np.where(differs, np.abs(difference) / error, np.where(difference == 0, 0.0, np.inf))
        inverse = np.where(differs, 1 / error, 0.0)
    maxima = _largest(np.ascontiguousarray((drawn - column.scores).T), inverse, first)
    p = 2 * stats.norm.sf(z) if column.wins is None else _mcnemar(column.wins, first, second)
    half = float(np.quantile(maxima, confidence)) * error
    return PairTests(
        models=column.models,
        pairs=(first, second),
        difference=difference,
        low=np.maximum(difference - half, -1),
        high=np.minimum(difference + half, 1),
        p=p,
        p_max_t=max_t(z, maxima),
        p_holm=holm(p),
        p_bh=benjamini_hochberg(p),
    )


def _largest(deviations: Floats, inverse: Floats, first: NDArray[np.intp]) -> Floats:
    """Of each draw, the largest studentised difference of two models.

    Parameters
    ----------
    deviations : ndarray of shape (n_models, n_draws)
    inverse : ndarray of shape (n_pairs,)
        1 / standard error of the difference.
    first : ndarray of shape (n_pairs,)
        The first model of each pair; its second ones are all later models, in order.
    """
    largest = np.zeros(deviations.shape[1])
    for model in range(len(deviations) - 1):
        studentised = deviations[model] - deviations[model + 1 :]
        studentised *= inverse[first == model][:, np.newaxis]
        np.maximum(largest, np.abs(studentised, out=studentised).max(axis=0), out=largest)
    return largest


def _standard_error(
    covariance: Floats, first: NDArray[np.intp], second: NDArray[np.intp]
) -> Floats:
    variances = np.diag(covariance)
    of_difference = variances[first] + variances[second] - 2 * covariance[first, second]
    # What is left of two equal models is rounding of float32 sums.
    noise = 1e-6 * (variances[first] + variances[second])
    return np.sqrt(np.where(of_difference <= noise, 0.0, of_difference))


def _mcnemar(wins: Floats, first: NDArray[np.intp], second: NDArray[np.intp]) -> Floats:
    """Exact: images that one of both has right are coin tosses under the null hypothesis."""
    one, other = wins[first, second], wins[second, first]
    p: Floats = np.minimum(2 * stats.binom.cdf(np.minimum(one, other), one + other, 0.5), 1)
    return p


@remembered
def pair_tests(evidence: Evidence) -> Mapping[Column, PairTests]:
    """Of every protocol's headline on every data set with outcomes of 2 to 200 models."""
    rng = np.random.default_rng(0)
    by_images: dict[int, list[Column]] = {}
    for name, column in image_noise(evidence).columns.items():
        if 2 <= len(column.models) <= MOST_MODELS:
            by_images.setdefault(column.sample, []).append(name)
    tests = {}
    for names in by_images.values():
        columns = [image_noise(evidence).columns[name] for name in names]
        for name, column, drawn in zip(
            names, columns, draw_together(columns, DRAWS, rng), strict=True
        ):
            tests[name] = compare_pairs(column, drawn, evidence.settings.confidence)
    return tests


def model_pairs(evidence: Evidence) -> xr.Dataset:
    """Differences between all pairs of models, by protocol and data set."""
    definition = (
        "score of `model` less that of `rival` by each protocol's headline, each pair once in the "
        "study's order. p: exact McNemar test, normal where outcomes are shares of draws; p_max_t "
        "and p_holm: corrected for all pairs on the data set; p_bh: for exploration"
    )
    tests = pair_tests(evidence)
    if not tests:
        few = "there are outcomes of fewer than 2 models, or of more than 200, on every data set"
        reason = few if image_noise(evidence).columns else no_outcomes(evidence)
        return withheld(definition, reason)
    names = evidence.models
    axes = {
        "variant": list(dict.fromkeys(variant for variant, _ in tests)),
        "dataset": evidence.datasets(),
        "model": names,
        "rival": names,
    }
    columns = ("difference", "low", "high", "p", "p_max_t", "p_holm", "p_bh")
    shape = tuple(len(labels) for labels in axes.values())
    table = {name: np.full(shape, np.nan) for name in columns}
    for (variant, dataset), found in tests.items():
        v, d = axes["variant"].index(variant), axes["dataset"].index(dataset)
        places = np.array([names.index(model) for model in found.models])
        one, other = (places[side] for side in found.pairs)
        for name in columns:
            table[name][v, d, one, other] = getattr(found, name)
    return xr.Dataset(
        {name: (tuple(axes), values) for name, values in table.items()},
        coords=axes,
        attrs={
            "definition": definition,
            "source": f"McNemar 1947; Westfall & Young 1993 with {DRAWS:,} draws of test images",
            "interval": f"{evidence.settings.confidence:.0%}, for all pairs on the data set at "
            "once (max-T)",
        },
    )
