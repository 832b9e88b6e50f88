"""Correlation without the noise of the test images: reliability and disattenuated Pearson r."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from pipeline.statistics.arrays import Floats, Mask, Words
from pipeline.statistics.correlation import (
    COEFFICIENTS,
    MIN_FAMILIES,
    MIN_MODELS,
    by_pattern,
    correlate,
    families_together,
    together,
)
from pipeline.statistics.evidence import Evidence
from pipeline.statistics.fisher_z import ALMOST_ONE, least_r_error
from pipeline.statistics.image_noise import ImageNoise, image_noise, no_outcomes
from pipeline.statistics.jackknife import Jackknife, members_of
from pipeline.statistics.table import blank, fill, tabled, withheld
from pipeline.study.column import column_name

MIN_RELIABILITY = 0.9
"""Below this of either score, the disattenuated r is withheld."""

CONSTANT = 1e-26
"""A variance over models that is only rounding."""

_SOURCE = "Spearman 1904; Fuller 1987, Measurement Error Models, for errors that covary"


def error_moment(covariance: Floats) -> float:
    """What noise adds to the sample (co)variance over models of scores with this covariance.

    E[Σ_m (e_m - ē)(f_m - f̄)] / (M - 1) for errors e, f: only what differs between models counts,
    so that an image that is hard for all of them adds nothing.

    Parameters
    ----------
    covariance : ndarray of shape (n_models, n_models)
        Between the errors of one score (rows) and of another, or the same.
    """
    models = len(covariance)
    return float((np.trace(covariance) - covariance.sum() / models) / (models - 1))


@dataclass(frozen=True)
class NoisyScores:
    """Score columns with the noise of their test images.

    Attributes
    ----------
    scores : ndarray of shape (n_models, n_columns)
        NaN where missing.
    covariance : mapping of two columns' numbers to ndarray of shape (n_models, n_models)
        Between the errors of the first column's scores (rows) and of the second's; there for
        every column with itself, and for columns on the same images. Other errors are independent.
    """

    scores: Floats
    covariance: Mapping[tuple[int, int], Floats]

    def without(self, gone: Mask) -> NoisyScores:
        """The same without some models."""
        left = np.ix_(~gone, ~gone)
        return NoisyScores(
            self.scores[~gone], {pair: noise[left] for pair, noise in self.covariance.items()}
        )


def disattenuate(noisy: NoisyScores) -> tuple[Floats, Floats]:
    """Pearson's r of all pairs of columns without their noise, and their reliability.

    (S_xy - σ_e,xy) / √((S_xx - σ²_ex)(S_yy - σ²_ey)). With much noise its size can exceed 1.

    Returns
    -------
    r : ndarray of shape (n_columns, n_columns)
    reliability : ndarray of shape (n_columns, n_columns)
        Of the row's column, over the models that the column's column has, too. NaN where a score
        does not vary; r also where it varies less than its noise.
    """
    columns = noisy.scores.shape[1]
    r, reliable = np.full((columns, columns), np.nan), np.full((columns, columns), np.nan)
    patterns = by_pattern(noisy.scores)
    for pattern, mine in patterns:
        for other, theirs in patterns:
            rows = pattern & other
            if rows.sum() < 2:
                continue
            square = np.ix_(rows, rows)
            x, y = (noisy.scores[np.ix_(rows, chosen)] for chosen in (mine, theirs))
            errors = [
                np.array([error_moment(noisy.covariance[c, c][square]) for c in chosen])
                for chosen in (mine, theirs)
            ]
            crossed = np.zeros((len(mine), len(theirs)))
            row, column = ({int(c): i for i, c in enumerate(chosen)} for chosen in (mine, theirs))
            for (first, second), noise in noisy.covariance.items():
                if first in row and second in column:
                    crossed[row[first], column[second]] = error_moment(noise[square])
            block = np.ix_(mine, theirs)
            r[block], reliable[block] = _disattenuated(x, y, errors, crossed)
    return r, reliable


def _disattenuated(
    x: Floats, y: Floats, errors: list[Floats], crossed: Floats
) -> tuple[Floats, Floats]:
    """Of columns with the same models: r, and the reliability of x for each of y."""
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    freedom = len(x) - 1
    spreads = [np.square(v).sum(axis=0) / freedom for v in (x, y)]
    spreads = [np.where(v > CONSTANT, v, np.nan) for v in spreads]
    with np.errstate(invalid="ignore"):
        clean = [np.sqrt(v - error) for v, error in zip(spreads, errors, strict=True)]
        clean = [np.where(v > 0, v, np.nan) for v in clean]
        r = (x.T @ y / freedom - crossed) / np.outer(*clean)
    reliable = np.broadcast_to((1 - errors[0] / spreads[0])[:, np.newaxis], r.shape)
    return r, reliable


def disattenuated_interval(
    noisy: NoisyScores, families: Words, confidence: float
) -> tuple[Floats, Floats]:
    """Delete-one-family jackknife of the disattenuated r; NaN below 5 families.

    Parameters
    ----------
    noisy : NoisyScores
    families : ndarray of shape (n_models,)
    confidence : float

    Returns
    -------
    low, high : ndarray of shape (n_columns, n_columns)
    """
    jackknife = Jackknife(disattenuate(noisy)[0], confidence, ALMOST_ONE)
    present = np.isfinite(noisy.scores)
    counts = families_together(present, families)
    for members in members_of(families):
        used = together(present[members]) > 0
        jackknife.leave_out(disattenuate(noisy.without(members))[0], used)
    ends = jackknife.interval(least_r_error(together(present)))
    low, high = (np.where(counts < MIN_FAMILIES, np.nan, end) for end in ends)
    return low, high


def reliability(evidence: Evidence) -> xr.Dataset:
    """Share of each score's variance over models that is not noise of its test images."""
    definition = (
        "1 - σ²_e / S²: S² is the variance of scores over models, σ²_e what drawing test images "
        "adds to it, from paired outcomes less the image's mean over models"
    )
    noise = image_noise(evidence)
    if not noise.columns:
        return withheld(definition, no_outcomes(evidence))
    labels = {"variant": list(evidence.headline.values()), "dataset": evidence.datasets()}
    table = blank(labels, ("reliability", "error_sd", "spread_sd", "models", "images"))
    for (variant, dataset), column in noise.columns.items():
        place = labels["variant"].index(variant), labels["dataset"].index(dataset)
        fill(table, place, {"models": len(column.models), "images": column.images})
        if len(column.models) < MIN_MODELS:
            continue
        error, spread = error_moment(column.covariance), np.var(column.scores, ddof=1)
        deviations = {"error_sd": np.sqrt(max(error, 0.0)), "spread_sd": np.sqrt(spread)}
        fill(table, place, deviations)
        if spread > CONSTANT:
            fill(table, place, {"reliability": 1 - error / spread})
    return tabled(
        labels,
        table,
        definition=definition,
        source=_SOURCE,
        withheld=f"of fewer than {MIN_MODELS} models, and of scores that do not vary",
    )


def disattenuated_pearson(evidence: Evidence) -> xr.Dataset:
    """Pearson's r between headline scores, less what their test images' noise does to it."""
    definition = (
        "(S_xy - σ_e,xy) / √((S_xx - σ²_ex)(S_yy - σ²_ey)); σ_e,xy is 0 unless both scores use the "
        "same test images. There is no such formula for ranks"
    )
    noise = image_noise(evidence)
    columns = list(noise.columns)
    if not columns:
        return withheld(definition, no_outcomes(evidence))
    noisy = _noisy(noise, evidence.models)
    families = evidence.cube["family"].values.astype(np.str_)
    confidence = evidence.settings.confidence
    r, reliable = disattenuate(noisy)
    low, high = disattenuated_interval(noisy, families, confidence)
    n_test = np.full(len(columns), np.nan)  # without it, no logits: Pearson's r is all we need
    seen = correlate(noisy.scores, families, n_test, confidence)
    trusted = (np.minimum(reliable, reliable.T) >= MIN_RELIABILITY) & (seen.n >= MIN_MODELS)
    other = ~np.eye(len(columns), dtype=bool)
    shown = trusted & other
    shared = np.zeros(r.shape)
    for pair in noisy.covariance:
        shared[pair] = 1
    table = {
        "value": np.where(shown, r, np.nan),
        "low": np.where(shown, low, np.nan),
        "high": np.where(shown, high, np.nan),
        "observed": np.where(other, seen.value[COEFFICIENTS.index("pearson")], np.nan),
        "reliability_predictor": np.where(seen.n >= MIN_MODELS, reliable, np.nan),
        "reliability_target": np.where(seen.n >= MIN_MODELS, reliable.T, np.nan),
        "shared_images": shared,
        "n": seen.n.astype(float),
        "families": seen.families.astype(float),
    }
    names = [column_name(*column) for column in columns]
    return tabled(
        {"predictor": names, "target": names},
        table,
        definition=definition,
        source=_SOURCE,
        interval=f"{confidence:.0%} delete-one-family jackknife on the atanh scale, t with "
        f"G-1 degrees of freedom; withheld below {MIN_FAMILIES} families",
        withheld=f"where a reliability is below {MIN_RELIABILITY}, and of fewer than "
        f"{MIN_MODELS} models",
    )


def _noisy(noise: ImageNoise, models: list[str]) -> NoisyScores:
    """All columns with outcomes, over all models of the study."""
    places = [np.array([models.index(m) for m in c.models]) for c in noise.columns.values()]
    scores = np.full((len(models), len(places)), np.nan)
    number = {}
    for i, (name, column) in enumerate(noise.columns.items()):
        scores[places[i], i], number[name] = column.scores, i
    covariance = {}
    for (first, second), values in noise.shared.items():
        i, j = number[first], number[second]
        whole = np.full((len(models), len(models)), np.nan)
        whole[np.ix_(places[i], places[j])] = values
        covariance[i, j] = whole
    return NoisyScores(scores, covariance)
