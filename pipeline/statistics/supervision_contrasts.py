"""Supervised minus self-supervised models, of any columns of scores.

Models are compared within backbones. With at least `MIN_SIDE` models on both sides the interval is
over families, and the claim is about them; below that it is over draws of the labels, and the claim
is about the models named. A difference is linear in the scores: of a column that is the difference
of two others it is the change of the gap from one to the other, with its interval.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from pipeline.statistics.arrays import Counts, Floats, Mask, Words
from pipeline.statistics.contrasts import Contrast, difference
from pipeline.statistics.design import frequent_backbones
from pipeline.statistics.evidence import Evidence
from pipeline.statistics.jackknife import MIN_GROUPS, without_each
from pipeline.statistics.labels_seen import ALL_SEEN, unseen_only, unseen_weights
from pipeline.statistics.panel import words
from pipeline.statistics.written import UNKNOWN

MIN_SIDE = 8
"""Models on either side, below which nothing is said of families."""

ALL = "all backbones"
FAMILIES, NAMED = "families", "the models named"


@dataclass(frozen=True)
class Gap:
    """One comparison on all columns.

    Attributes
    ----------
    value : ndarray of shape (n_columns,)
    half : ndarray of shape (n_columns,)
        Half the interval.
    covariance : callable
        From columns to the covariance of their values.
    left, right : ndarray of shape (n_columns,)
        Models on either side.
    claim : ndarray of shape (n_columns,), str
    """

    value: Floats
    half: Floats
    covariance: Callable[[Counts], Floats]
    left: Counts
    right: Counts
    claim: Words


def gaps_of(evidence: Evidence, scores: Floats, draws: Floats) -> dict[str, Gap] | str:
    """Every comparison that the study allows, or why there is none.

    Parameters
    ----------
    evidence : Evidence
    scores : ndarray of shape (n_models, ...)
        NaN where missing; all further axes are columns.
    draws : ndarray of shape (n_models, ..., n_draws)
        Their values by draw; those of equal number go together.

    Returns
    -------
    dict of str to Gap, or str
        By `ALL`, a backbone, or ``one backbone - another``.
    """
    family = words(evidence, "family")
    flat = scores.reshape(len(scores), -1)
    of_draws = draws.reshape(*flat.shape, draws.shape[-1])
    found = {
        name: _gap(contrasts, flat, of_draws, family, evidence.settings.confidence)
        for name, contrasts in _groups(evidence)
    }
    if not found:
        return "no backbone has both supervised and self-supervised models"
    if evidence.labels_seen and not any(np.isfinite(gap.value).any() for gap in found.values()):
        return ALL_SEEN
    return found


def with_mean(evidence: Evidence, datasets: list[str], table: Floats) -> Floats:
    """Cells that may be compared, with their mean over data sets behind them.

    Parameters
    ----------
    evidence : Evidence
    datasets : list of str
    table : ndarray of shape (n_models, n_heads, n_datasets, ...)

    Returns
    -------
    ndarray of shape (n_models, n_heads, n_datasets + 1, ...)
        NaN where pre-training has seen the labels. The mean is over data sets where it has of no
        model, and NaN where one of these has no score.
    """
    table, weights = unseen_only(evidence, datasets, table), unseen_weights(evidence, datasets)
    counted = weights != 0  # NaN where none is left
    mean = np.einsum("mhd...,d->mh...", table[:, :, counted], weights[counted])
    return np.concatenate([table, mean[:, :, np.newaxis]], axis=2)


def gap_variables(
    groups: Mapping[str, Gap], shape: tuple[int, int, int]
) -> dict[str, NDArray[Any]]:
    """What a table of comparisons holds, by name, with an axis of groups behind the heads."""
    parts = [
        {
            "difference": gap.value,
            "low": gap.value - gap.half,
            "high": gap.value + gap.half,
            "supervised": gap.left,
            "self_supervised": gap.right,
            "claim": np.where(np.isfinite(gap.value), gap.claim, "").astype(object),
        }
        for gap in groups.values()
    ]
    return {
        name: np.stack([part[name].reshape(shape) for part in parts], axis=1) for name in parts[0]
    }


def interval_words(evidence: Evidence) -> str:
    """Of both kinds of claims, for the attributes of tables."""
    return (
        f"{evidence.settings.confidence:.0%}: with at least {MIN_SIDE} models a side and "
        f"{MIN_GROUPS} families delete-one-family jackknife, and a claim about families; else "
        "Student's t over draws of the labels, paired, and a claim about the models named, on "
        "these test images"
    )


def _groups(evidence: Evidence) -> Iterator[tuple[str, list[Contrast]]]:
    """Name and contrast; for a difference in differences two contrasts."""
    backbone, supervision = words(evidence, "backbone"), words(evidence, "supervision")
    left, right = supervision == "supervised", supervision == "self_supervised"
    known = backbone != UNKNOWN
    both = np.intersect1d(backbone[left & known], backbone[right & known])
    if not len(both):
        return
    matched = np.isin(backbone, both)
    yield ALL, [Contrast(ALL, left & matched, right & matched, backbone)]
    mine = {
        name: Contrast(name, left & (backbone == name), right & (backbone == name), backbone)
        for name in frequent_backbones(backbone)
        if name in both
    }
    yield from ((name, [contrast]) for name, contrast in mine.items())
    first = next(iter(mine), "")
    for name in list(mine)[1:]:
        yield f"{name} - {first}", [mine[name], mine[first]]


def _gap(
    contrasts: list[Contrast],
    scores: Floats,
    draws: Floats,
    family: Words,
    level: float,
) -> Gap:
    """Of the first contrast, less the second one if there are two."""

    def statistic(kept: Mask) -> tuple[Floats, Counts]:
        parts = [difference(contrast, scores, kept) for contrast in contrasts]
        value, n = parts[0]
        return (value, n) if len(parts) == 1 else (value - parts[1][0], n + parts[1][1])

    value, n, without, remaining = without_each(statistic, family)
    used = remaining < n
    sides = [[_in_pairs(c, scores, side) for side in (c.left, c.right)] for c in contrasts]
    left, right = (np.min([s[i] for s in sides], axis=0) for i in (0, 1))
    groups = used.sum(axis=0)
    over_families = (np.minimum(left, right) >= MIN_SIDE) & (groups >= MIN_GROUPS)
    count = np.maximum(groups, 2)
    deviation = np.where(used, without - np.where(used, without, 0).sum(axis=0) / count, 0.0)
    scaled = deviation * np.sqrt((count - 1) / count)
    quantile = scipy.stats.t.ppf(0.5 + level / 2, count - 1)
    of_families = quantile * np.sqrt(np.square(scaled).sum(axis=0))
    of_draws, of_columns = _over_draws(contrasts, draws, level)
    z = float(scipy.stats.norm.ppf(0.5 + level / 2))

    def covariance(columns: Counts) -> Floats:
        if over_families[columns].all():
            # As wide as the interval, which is wider than the normal one.
            part = scaled[:, columns] * (quantile[columns] / z)
            return np.asarray(part.T @ part, np.float64)
        return of_columns(columns)

    return Gap(
        value,
        np.where(over_families, of_families, of_draws),
        covariance,
        left,
        right,
        np.where(over_families, FAMILIES, NAMED),
    )


def _in_pairs(contrast: Contrast, scores: Floats, side: Mask) -> Counts:
    """Models of one side in strata that have both sides, per column."""
    present = np.isfinite(scores)
    counts = np.zeros(scores.shape[1], np.int64)
    assert contrast.strata is not None  # all contrasts here are within backbones
    for name in np.unique(contrast.strata[contrast.left]):
        here = (contrast.strata == name)[:, np.newaxis] & present
        both = here[contrast.left].any(axis=0) & here[contrast.right].any(axis=0)
        counts += np.where(both, here[side].sum(axis=0), 0)
    return counts


def _over_draws(
    contrasts: list[Contrast], draws: Floats, level: float
) -> tuple[Floats, Callable[[Counts], Floats]]:
    """Half the interval over draws of the labels, and the covariance of columns.

    All models have the same draws, so the difference is taken draw by draw; so do budgets, whose
    draws of equal number lie in each other. A mean over D draws and one over D' share min(D, D').

    Parameters
    ----------
    contrasts : list of Contrast
    draws : ndarray of shape (n_models, n_columns, n_draws)
    level : float
    """
    everyone = np.ones(len(draws), bool)
    flat = draws.reshape(len(draws), -1)
    parts = [difference(c, flat, everyone)[0].reshape(draws.shape[1:]) for c in contrasts]
    each = parts[0] if len(parts) == 1 else parts[0] - parts[1]
    count = np.isfinite(each).sum(axis=1)
    usable = np.maximum(count, 2)
    sums = np.where(np.isfinite(each), each, 0)
    mean = sums.sum(axis=1) / usable
    deviation = np.where(np.isfinite(each), each - mean[:, np.newaxis], 0.0)
    variance = np.square(deviation).sum(axis=1) / (usable - 1)
    quantile = scipy.stats.t.ppf(0.5 + level / 2, usable - 1)
    half = np.where(count > 1, quantile * np.sqrt(variance / usable), np.nan)
    wider = quantile / scipy.stats.norm.ppf(0.5 + level / 2)

    def covariance(columns: Counts) -> Floats:
        part, n = deviation[columns], usable[columns]
        shared = np.minimum(n[:, np.newaxis], n)
        products = part @ part.T / (shared - 1)
        together = products * shared / (n[:, np.newaxis] * n)
        return np.asarray(together * np.outer(wider[columns], wider[columns]), np.float64)

    return half, covariance
