"""Mean scores over data sets, compared image by image: who is within chance of the best.

The mean of a model over k data sets is Σ s_d / k; its error, and that of the difference of two
models, follows from the paired per-image outcomes. Data sets that hold the same images (the same
pictures, rotated or blurred) share their noise, which is counted.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import scipy
import xarray as xr

from pipeline.results.cube import same_metric
from pipeline.statistics.arrays import Floats
from pipeline.statistics.evidence import Evidence
from pipeline.statistics.image_noise import ImageColumn, ImageNoise, image_noise, no_outcomes
from pipeline.statistics.model_pairs import (
    CORRECTED,
    MOST_MODELS,
    compare_normal,
    pair_table,
    pair_tests,
)
from pipeline.statistics.pair_tests import Paired, PairTests
from pipeline.statistics.remembered import remembered_of_headlines
from pipeline.statistics.standing import STANDING, standing, standing_attributes
from pipeline.statistics.table import blank, fill, tabled, withheld
from pipeline.statistics.unpaired import CONSERVATIVE, unpaired_columns, unpaired_means

ALL, OUTSIDE, TARGET = "all", "out_of_domain", "target"
SCOPES = (ALL, OUTSIDE, TARGET)

NUMBERS = ("mean", "low", "high", *STANDING, "datasets")
DEFINITION = (
    "mean score over data sets, each with equal weight, by each protocol's headline variant, of "
    "models with per-image outcomes on all of them. behind: the best model's mean less this one's"
)


def mean_scores(evidence: Evidence) -> xr.Dataset:
    """Means over data sets, who is within chance of the best, and what the tie costs.

    Returns
    -------
    Dataset
        Dimensions protocol, scope (`ALL` data sets, those out of domain, or `report.target`) and
        model; variables of `NUMBERS`: mean with low and high (over test images, of that model
        alone), those of `STANDING` (NaN where only one model is left), and datasets (how many the
        mean is over). NaN for a model that lacks a data set.
    """
    if not image_noise(evidence).columns and not unpaired_columns(evidence):
        return withheld(DEFINITION, no_outcomes(evidence))
    labels = {"protocol": evidence.headline, "scope": SCOPES, "model": evidence.models}
    values = blank(labels, NUMBERS)
    tests = mean_tests(evidence)
    place = {name: i for i, name in enumerate(evidence.models)}
    for p, protocol in enumerate(evidence.headline):
        for s, scope in enumerate(SCOPES):
            datasets = _scored(evidence, protocol, scope)
            found = _means(evidence, protocol, datasets)
            if found is None or not found.models:
                continue
            at = (p, s, [place[name] for name in found.models])
            fill(values, at, _alone(found, evidence.settings.confidence))
            if (protocol, scope) in tests:
                fill(values, at, standing(tests[protocol, scope], evidence.margin))
            fill(values, at, {"datasets": len(datasets)})
    unpaired = _unpaired(evidence)
    return tabled(
        labels,
        values,
        definition=DEFINITION,
        **standing_attributes(evidence),
        unpaired=", ".join(unpaired),
        conservative=CONSERVATIVE if unpaired else "",
        withheld="models that lack a data set; protocols with a data set that has scores "
        "without per-image outcomes; intervals of scores without any variation",
    )


def _unpaired(evidence: Evidence) -> list[str]:
    """Protocols whose means are compared without per-image outcomes."""
    variants = {variant for variant, _ in unpaired_columns(evidence)}
    return [protocol for protocol, variant in evidence.headline.items() if variant in variants]


def mean_pairs(evidence: Evidence) -> xr.Dataset:
    """Differences between all pairs of models by their means, as `model_pairs` of a data set."""
    definition = (
        "mean score of `model` less that of `rival`, as in mean_scores, each pair once in the "
        "study's order. p: normal, by the models' covariance over test images; exact McNemar on "
        f"a single data set. {CORRECTED}. p_bh: for exploration"
    )
    tests = {
        name: found for name, found in mean_tests(evidence).items()
        if len(found.models) <= MOST_MODELS
    }  # fmt: skip
    if not tests:
        few = (
            f"fewer than 2 models, or more than {MOST_MODELS}, have per-image outcomes on all "
            "data sets"
        )
        reason = few if image_noise(evidence).columns else no_outcomes(evidence)
        return withheld(definition, reason)
    axes = {"protocol": list(evidence.headline), "scope": list(SCOPES)}
    return pair_table(evidence, axes, tests, definition)


@remembered_of_headlines
def mean_tests(evidence: Evidence) -> Mapping[tuple[str, str], PairTests]:
    """Of each protocol and scope with means of 2 models or more.

    Where a mean is over one data set, it is the test on that data set, not another one beside it;
    where both scopes are the same data sets, they have one test.
    """
    tests: dict[tuple[str, str], PairTests] = {}
    for protocol, variant in evidence.headline.items():
        known: dict[tuple[str, ...], PairTests] = {}
        for scope in SCOPES:
            datasets = _scored(evidence, protocol, scope)
            found = _means(evidence, protocol, datasets)
            if found is None or len(found.models) < 2:
                continue
            if tuple(datasets) not in known:
                known[tuple(datasets)] = (
                    pair_tests(evidence)[variant, datasets[0]]
                    if len(datasets) == 1 and (variant, datasets[0]) in pair_tests(evidence)
                    else compare_normal(
                        found,
                        evidence.settings.confidence,
                        drawn=len(found.models) <= MOST_MODELS,
                    )
                )
            tests[protocol, scope] = known[tuple(datasets)]
    return tests


def _means(evidence: Evidence, protocol: str, datasets: list[str]) -> Paired | None:
    """From per-image outcomes; without any, from the scores and their own intervals."""
    variant = evidence.headline[protocol]
    paired_ones = means_of(image_noise(evidence), variant, datasets)
    return unpaired_means(evidence, variant, datasets) if paired_ones is None else paired_ones


def _scored(evidence: Evidence, protocol: str, scope: str) -> list[str]:
    """Data sets of a scope on which any model has a score, by the metric that most of them have."""
    if scope == TARGET:
        asked = list(evidence.target)
    else:
        asked = evidence.datasets(OUTSIDE if scope == OUTSIDE else None)
    of_one = same_metric(evidence.cube, evidence.settings.metric, evidence.headline[protocol])
    return [dataset for dataset in asked if dataset in of_one]


def means_of(noise: ImageNoise, variant: str, datasets: list[str]) -> Paired | None:
    """Means of a variant over data sets; None where one of them has no outcomes."""
    columns = [noise.columns.get((variant, dataset)) for dataset in datasets]
    known = [column for column in columns if column is not None]
    if not known or len(known) < len(columns):
        return None
    if len(known) == 1:
        return known[0]
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
    samples = {column.sample: column.images for column in known}
    return Paired(
        models=tuple(models),
        scores=value / k,
        covariance=covariance / k**2,
        images=sum(samples.values()),
        wins=_wins(known, places),
        effective=len(samples) * min(samples.values()),
    )


def _wins(columns: list[ImageColumn], places: list[list[int]]) -> Floats | None:
    """Images on which one model does better, over all data sets."""
    wins = [column.wins for column in columns if column.wins is not None]
    if len(wins) < len(columns):
        return None
    counted: Floats = np.sum(
        [w[np.ix_(at, at)] for w, at in zip(wins, places, strict=True)], axis=0
    )
    return counted


def _alone(found: Paired, confidence: float) -> dict[str, Floats]:
    """Each model's mean and its own interval."""
    error = np.sqrt(np.maximum(np.diag(found.covariance), 0))
    half = scipy.stats.norm.isf((1 - confidence) / 2) * error
    half = np.where(half > 1e-9, half, np.nan)  # all right or all wrong: the formula says none
    return {
        "mean": found.scores,
        "low": np.maximum(found.scores - half, 0),
        "high": np.minimum(found.scores + half, 1),
    }
