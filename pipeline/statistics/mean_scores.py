"""Mean scores over data sets, compared image by image: who can't be told apart from the best.

The mean of a model over k data sets is Σ s_d / k; its error, and that of the difference of two
models, follows from the paired per-image outcomes. Data sets that hold the same images (the same
pictures, rotated or blurred) share their noise, which is counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import stats

from pipeline.results.cube import comparable
from pipeline.statistics.evidence import Evidence
from pipeline.statistics.image_draws import normal_draws
from pipeline.statistics.image_noise import ImageNoise, image_noise, no_outcomes
from pipeline.statistics.rank_sets import confidence_set
from pipeline.statistics.withheld import withheld

Floats = NDArray[np.float64]

ALL, OUTSIDE = "all", "out_of_domain"
SCOPES = (ALL, OUTSIDE)

DRAWS = 10_000
"""Of the models' means, for the model confidence set."""

DIMS = ("protocol", "scope", "model")
NUMBERS = ("mean", "low", "high", "behind", "behind_low", "behind_high", "p_best", "datasets")
DEFINITION = (
    "mean score over data sets, each with equal weight, by each protocol's headline variant, of "
    "models with per-image outcomes on all of them. behind: the best model's mean less this one's"
)


@dataclass(frozen=True)
class Means:
    """Means over data sets of some models.

    Attributes
    ----------
    models : tuple of str
        Those with outcomes on every one of the data sets.
    value : ndarray of shape (n_models,)
    covariance : ndarray of shape (n_models, n_models)
        Over draws of test images.
    """

    models: tuple[str, ...]
    value: Floats
    covariance: Floats


def mean_scores(evidence: Evidence) -> xr.Dataset:
    """Means over data sets, and which models can't be told apart from the best.

    Returns
    -------
    Dataset
        Dimensions protocol, scope (`ALL` data sets, or those out of domain) and model; variables of
        `NUMBERS`: mean with low and high (over test images), behind with behind_low and behind_high
        (for all pairs of models at once), p_best (of the model confidence set), and datasets (how
        many the mean is over). NaN for a model that lacks a data set.
    """
    noise = image_noise(evidence)
    if not noise.columns:
        return withheld(DEFINITION, no_outcomes(evidence))
    shape = (len(evidence.headline), len(SCOPES), len(evidence.models))
    values = {name: np.full(shape, np.nan) for name in NUMBERS}
    scored = comparable(evidence.cube, evidence.settings.metric).notnull().any("model")
    for p, variant in enumerate(evidence.headline.values()):
        for s, role in enumerate((None, OUTSIDE)):
            datasets = [
                d for d in evidence.datasets(role) if scored.sel(variant=variant, dataset=d)
            ]
            found = means_of(noise, variant, datasets)
            if found is None or not found.models:
                continue
            places = [evidence.models.index(name) for name in found.models]
            for name, numbers in _compared(found, evidence.settings.confidence).items():
                values[name][p, s, places] = numbers
            values["datasets"][p, s, places] = len(datasets)
    return xr.Dataset(
        {name: (DIMS, numbers) for name, numbers in values.items()},
        coords={"protocol": list(evidence.headline), "scope": list(SCOPES)}
        | {"model": evidence.models},
        attrs={
            "definition": DEFINITION,
            "interval": f"{evidence.settings.confidence:.0%}, normal, over draws of the test "
            "images; of differences for all pairs of models at once (Bonferroni)",
            "p_best": "models with p above 1 - confidence can't be told apart from the best (model "
            "confidence set, T_max); not transitive",
            "source": "Hansen, Lunde & Nason 2011",
            "withheld": "models that lack a data set; protocols with a data set that has scores "
            "without per-image outcomes; intervals of scores without any variation",
        },
    )


def means_of(noise: ImageNoise, variant: str, datasets: list[str]) -> Means | None:
    """Means of a variant over data sets; None where one of them has no outcomes."""
    columns = [noise.columns.get((variant, dataset)) for dataset in datasets]
    known = [column for column in columns if column is not None]
    if not known or len(known) < len(columns):
        return None
    models = [m for m in known[0].models if all(m in column.models for column in known)]
    places = [[column.models.index(m) for m in models] for column in known]
    k = len(known)
    value = sum((c.scores[at] for c, at in zip(known, places, strict=True)), np.zeros(len(models)))
    covariance = np.zeros((len(models), len(models)))
    for one, rows in zip(datasets, places, strict=True):
        for other, columns_at in zip(datasets, places, strict=True):
            shared = noise.shared.get(((variant, one), (variant, other)))
            if shared is not None:
                covariance += shared[np.ix_(rows, columns_at)]
    return Means(tuple(models), value / k, covariance / k**2)


def _compared(found: Means, confidence: float) -> dict[str, Floats]:
    """The variables of one protocol and scope, each of shape (n_models,)."""
    m = len(found.models)
    variance = np.diag(found.covariance)
    best = int(np.argmax(found.value))
    gap = found.value[best] - found.value
    of_gap = variance + variance[best] - 2 * found.covariance[best]
    # What is left of two models that agree on every image is rounding of float32 sums.
    of_gap = np.where(of_gap <= 1e-6 * (variance + variance[best]), 0.0, of_gap)
    alone = float(stats.norm.isf((1 - confidence) / 2)) * np.sqrt(np.maximum(variance, 0))
    alone = np.where(alone > 1e-9, alone, np.nan)  # all right or all wrong: the formula says none
    pairs = max(m * (m - 1) // 2, 1)
    together = float(stats.norm.isf((1 - confidence) / 2 / pairs)) * np.sqrt(of_gap)
    rng = np.random.default_rng(0)
    draws = normal_draws(found.value, found.covariance, DRAWS, rng)
    return {
        "mean": found.value,
        "low": np.maximum(found.value - alone, 0),
        "high": np.minimum(found.value + alone, 1),
        "behind": gap,
        "behind_low": np.maximum(gap - together, -1),
        "behind_high": np.minimum(gap + together, 1),
        "p_best": confidence_set(found.value, draws),
    }
