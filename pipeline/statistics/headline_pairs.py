"""All pairs of headline scores: coefficients, intervals by two methods, and p of no correlation."""

from __future__ import annotations

import itertools

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.results.cube import comparable
from pipeline.statistics.arrays import Floats, Words
from pipeline.statistics.correlation import (
    COEFFICIENTS,
    FEW_FAMILIES,
    MIN_FAMILIES,
    MIN_MODELS,
    Correlations,
    coefficients,
    correlate,
    families_together,
    logits,
    together,
)
from pipeline.statistics.evidence import Evidence
from pipeline.statistics.fisher_z import least_errors, limits
from pipeline.statistics.jackknife import Jackknife, members_of
from pipeline.statistics.panel import ASSUMED_TESTS
from pipeline.statistics.permutation import MANY, PERMUTATIONS, permutation_p
from pipeline.statistics.resampling import (
    family_weights,
    percentile_interval,
    resampled_correlations,
    resampled_tau,
)
from pipeline.statistics.table import tabled, withheld
from pipeline.statistics.weighted_tau import weighted_tau
from pipeline.statistics.written import counted
from pipeline.study.column import column_name

ALL_COEFFICIENTS = (*COEFFICIENTS, "weighted_tau")

REPLICATES = 2_000
"""Redrawn families of the check: it is not the headline interval."""

MOST_MODELS = 50
"""Beyond this many models, the check and the intervals of weighted τ are left out: their cost grows
with the square of the number of models, and their point gets lost."""

_DEFINITION = "correlation over models between the headline scores of two (protocol, data set)"


def headline_pairs(evidence: Evidence) -> xr.Dataset:
    """Coefficients between all headline scores, with everything that is known about them.

    Each pair is over the models that both have; `common` is the same over the models that all of
    the columns have, so that cells differ by nothing but their columns.
    """
    cube, settings = evidence.cube, evidence.settings
    scores = comparable(cube, settings.metric).sel(variant=list(evidence.headline.values()))
    values = scores.transpose("model", "variant", "dataset").values
    known = np.isfinite(values).any(axis=0)
    names = [
        column_name(variant, dataset)
        for (variant, dataset), there in zip(
            itertools.product(evidence.headline.values(), evidence.datasets()),
            known.ravel(),
            strict=True,
        )
        if there
    ]
    if not names:
        return withheld(_DEFINITION, "there are no scores")
    columns = values[:, known]
    n_test = np.where(cube["n_test"].values > 0, cube["n_test"].values, ASSUMED_TESTS).astype(float)
    n_test = np.broadcast_to(n_test, known.shape)[known]
    families = cube["family"].values.astype(np.str_)
    found = correlate(columns, families, n_test, settings.confidence)
    ends = _with_weighted_tau(columns, families, found, settings.confidence)
    table = dict(zip(("value", "low", "high"), ends, strict=True))
    table |= _cluster_check(columns, families, n_test, settings.confidence)
    shape = table["value"].shape
    p, smallest = permutation_p(
        columns, cube["backbone"].values.astype(np.str_), np.random.default_rng(0)
    )
    table["p_zero"], table["smallest_p"] = np.full(shape, np.nan), np.full(shape, np.nan)
    spearman = COEFFICIENTS.index("spearman")
    enough = found.n >= MIN_MODELS
    table["p_zero"][spearman] = np.where(enough, p, np.nan)
    table["smallest_p"][spearman] = np.where(enough, smallest, np.nan)
    table["n"] = np.broadcast_to(found.n, shape).astype(float)
    everywhere = np.isfinite(columns).all(axis=1)
    table["common"] = _common(columns[everywhere], n_test)
    table["families"] = np.broadcast_to(found.families, shape).astype(float)
    few = found.families < FEW_FAMILIES
    table["few_families"] = np.where(np.isnan(table["low"]), np.nan, few.astype(float))
    table["over_models"] = np.where(np.isnan(table["low"]), np.nan, found.over_models.astype(float))
    return tabled(
        {"coefficient": ALL_COEFFICIENTS, "predictor": names, "target": names},
        table,
        definition=_DEFINITION + ", by each protocol's headline variant",
        source="Vigna 2015 for weighted τ; Efron & Stein 1981; Phipson & Smyth 2010",
        interval=f"{settings.confidence:.0%} delete-one-family jackknife on the atanh "
        f"scale, t with G-1 degrees of freedom; few_families: 1 below {FEW_FAMILIES}; "
        f"over_models: 1 below {MIN_FAMILIES}, where single models are left out instead, which "
        "is silent about other families. "
        "Beside it, as a check that is too narrow, percentiles over "
        f"{REPLICATES:,} redraws of families",
        p_zero=f"of no Spearman correlation within backbones, {PERMUTATIONS:,} permutations "
        "of models within their backbone; not claimed to hold where a family has several "
        f"models. smallest_p: none can be smaller. Above {MANY} models normal, with the "
        "permutations' variance",
        common=f"over {counted(everywhere.sum(), 'model')} with all of these scores",
        common_models=int(everywhere.sum()),
        withheld=f"coefficients below {MIN_MODELS} models or of constant scores; intervals "
        f"below {MIN_FAMILIES} models; above {MOST_MODELS} models, the check and intervals "
        "of weighted τ",
    )


def _common(columns: Floats, n_test: Floats) -> Floats:
    """All coefficients over models that have every score; NaN where these are too few."""
    if len(columns) < MIN_MODELS:
        return np.full((len(ALL_COEFFICIENTS), *2 * columns.shape[1:]), np.nan)
    return np.concatenate([coefficients(columns, n_test), weighted_tau(columns)[np.newaxis]])


def _with_weighted_tau(
    columns: Floats, families: Words, found: Correlations, confidence: float
) -> tuple[Floats, Floats, Floats]:
    """Values, lower and upper ends of all coefficients, weighted τ the last."""
    value = np.where(found.n < MIN_MODELS, np.nan, weighted_tau(columns))
    low, high = np.full_like(value, np.nan), np.full_like(value, np.nan)
    if len(columns) <= MOST_MODELS:
        low, high = _tau_interval(columns, value, families, found.families, confidence)
        if found.over_models.any():
            models = np.arange(len(columns)).astype(np.str_)
            ends = _tau_interval(columns, value, models, found.n, confidence)
            low, high = (
                np.where(found.over_models, of_models, of_families)
                for of_models, of_families in zip(ends, (low, high), strict=True)
            )
    return (
        np.concatenate([found.value, value[np.newaxis]]),
        np.concatenate([found.low, low[np.newaxis]]),
        np.concatenate([found.high, high[np.newaxis]]),
    )


def _tau_interval(
    columns: Floats,
    value: Floats,
    units: Words,
    counts: NDArray[np.int64],
    confidence: float,
) -> tuple[Floats, Floats]:
    """Of weighted τ, with the clip and the least error of Kendall's."""
    present = np.isfinite(columns)
    n, kendall = together(present), COEFFICIENTS.index("kendall")
    at = limits(n)
    jackknife = Jackknife(value, confidence, at[kendall])
    for members in members_of(units):
        gone = together(present[members])
        jackknife.leave_out(weighted_tau(columns[~members]), gone > 0, limits(n - gone)[kendall])
    least = least_errors(np.clip(value, -at, at), n)[kendall]
    low, high = (np.where(counts < MIN_FAMILIES, np.nan, end) for end in jackknife.interval(least))
    return low, high


def _cluster_check(
    columns: Floats, families: Words, n_test: Floats, confidence: float
) -> dict[str, Floats]:
    """Percentile intervals over redrawn families, of all coefficients but weighted τ."""
    shape = (len(ALL_COEFFICIENTS), columns.shape[1], columns.shape[1])
    low, high = np.full(shape, np.nan), np.full(shape, np.nan)
    present = np.isfinite(columns)
    counts = families_together(present, families)
    enough = (counts >= MIN_FAMILIES) & (together(present) >= MIN_MODELS)
    if len(columns) <= MOST_MODELS and enough.any():
        weights = family_weights(families, REPLICATES, np.random.default_rng(0))
        logit = logits(columns, n_test)
        upper = np.triu_indices(columns.shape[1])
        draws = np.empty((REPLICATES, len(upper[0])))
        for c, redrawn in enumerate(
            (
                resampled_correlations(columns, columns, weights, "pearson"),
                resampled_correlations(logit, logit, weights, "pearson"),
                resampled_correlations(columns, columns, weights, "spearman"),
                resampled_tau(columns, weights),
            )
        ):
            for block, values in redrawn:
                draws[block] = values[:, *upper]
            for table, end in zip((low, high), percentile_interval(draws, confidence), strict=True):
                table[c][upper] = table[c].T[upper] = end
    return {
        "cluster_low": np.where(enough, low, np.nan),
        "cluster_high": np.where(enough, high, np.nan),
    }
