"""How much of the gap between objectives the backbone explains, where the design can tell.

The share is 1 - (gap at equal backbone) / (gap over all models), where the gap over all models is
not compatible with 0. Variance is divided between objective and backbone as adjusted R²: of the
factor alone (first in), beyond the other (last in), and their mean, which is the LMG measure of two
factors (Lindeman, Merenda & Gold 1980; Grömping 2007). Adjusted R² is not 0 for a factor without
effect in any one sample, so it stands beside its null: scores permuted within levels of the other
factor. All on the logit scale.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.statistics.arrays import Floats, Mask, Words
from pipeline.statistics.contrasts import Contrast, difference
from pipeline.statistics.design import OBJECTIVES, obstacle
from pipeline.statistics.evidence import Evidence
from pipeline.statistics.jackknife import jackknifed
from pipeline.statistics.panel import headline_panel, words
from pipeline.statistics.table import blank, fill, tabled
from pipeline.statistics.written import UNKNOWN

PERMUTATIONS = 999
FACTORS = ("objective", "backbone")
DIMS = ("protocol", "dataset")


def objective_share(evidence: Evidence) -> xr.Dataset:
    """The objectives' gap, over all models and at equal backbone, and the backbone's share of it.

    Returns
    -------
    Dataset
        Dimensions protocol and dataset; variables gap, adjusted and share, each with _low and
        _high, n, methods, and verdict: why the share is withheld, or ``not estimable``.
    """
    panel = headline_panel(evidence).sel(scale="logit").transpose("model", *DIMS)
    scores = panel.values.reshape(panel.sizes["model"], -1)
    objective, backbone, method = (words(evidence, w) for w in ("objective", "backbone", "method"))
    left, right = (objective == word for word in OBJECTIVES)
    marginal = Contrast("", left, right)
    known = backbone != UNKNOWN
    adjusted = Contrast("", left & known, right & known, backbone)

    def statistic(kept: Mask) -> tuple[Floats, NDArray[np.int64]]:
        gap, n = difference(marginal, scores, kept)
        within, _ = difference(adjusted, scores, kept)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.stack([gap, within, 1 - within / gap]), np.stack([n, n, n])

    found = jackknifed(statistic, method, evidence.settings.confidence)
    verdict = np.array(
        [
            _share_verdict(scores[:, c], objective, backbone, found.low[0, c], found.high[0, c])
            for c in range(scores.shape[1])
        ],
        object,
    )
    shape = panel.shape[1:]
    confounded = np.array([v.startswith("not estimable") for v in verdict], bool)
    nowhere = np.zeros(len(verdict), bool)
    hidden = {"gap": nowhere, "adjusted": confounded, "share": verdict != ""}
    columns = {
        f"{name}{end}": np.where(hidden[name], np.nan, values[place])
        for place, name in enumerate(hidden)
        for end, values in (("", found.value), ("_low", found.low), ("_high", found.high))
    } | {"n": found.n[0], "methods": found.groups[0], "verdict": verdict}
    return tabled(
        {name: panel[name].values for name in DIMS},
        {name: values.reshape(shape) for name, values in columns.items()},
        definition=f"{OBJECTIVES[0]} minus {OBJECTIVES[1]}, mean logit: over all models, at "
        "equal backbone (least squares on objective and backbone), and 1 - their ratio",
        interval=f"{evidence.settings.confidence:.0%} delete-one-method jackknife",
        withheld="at equal backbone: unless every backbone has at least two models of each "
        "objective; the share also where the interval of the gap over all models contains 0",
    )


def variance_explained(evidence: Evidence) -> xr.Dataset:
    """Adjusted R² of objective and backbone: first in, last in, and LMG beside its null.

    Returns
    -------
    Dataset
        Dimensions factor, protocol and dataset; variables first_in, last_in, lmg, null_mean,
        null_high (95th percentile), p, n and verdict.
    """
    panel = headline_panel(evidence).sel(scale="logit").transpose("model", *DIMS)
    objective, backbone = words(evidence, "objective"), words(evidence, "backbone")
    rng = np.random.default_rng(0)
    labels = {"factor": FACTORS} | {name: panel[name].values for name in DIMS}
    table = blank(labels, ("first_in", "last_in", "lmg", "null_mean", "null_high", "p"))
    shape = table["p"].shape
    n, verdict = np.zeros(shape, np.int64), np.full(shape, "", object)
    for place in np.ndindex(panel.shape[1:]):
        y = panel.values[(slice(None), *place)]
        used = np.isfinite(y) & np.isin(objective, OBJECTIVES) & (backbone != UNKNOWN)
        n[(slice(None), *place)] = used.sum()
        reason = obstacle(objective[used], backbone[used])
        if reason:
            verdict[(slice(None), *place)] = reason
            continue
        parts = divide_variance(y[used], objective[used], backbone[used], rng)
        for factor, part in enumerate(parts):
            fill(table, (factor, *place), vars(part))
    return tabled(
        labels,
        {**table, "n": n, "verdict": verdict},
        definition="adjusted R² of logit accuracy on objective and backbone: alone, beyond "
        "the other, and the mean of both (LMG)",
        source="Lindeman, Merenda & Gold 1980; Grömping 2007",
        null=f"{PERMUTATIONS} permutations of scores within levels of the other factor",
        withheld="unless every backbone has at least two models of each objective",
    )


@dataclass(frozen=True)
class Part:
    """One factor's part of the variance, and what its LMG is without an effect."""

    first_in: float
    last_in: float
    lmg: float
    null_mean: float
    null_high: float
    p: float


def divide_variance(
    y: Floats, objective: Words, backbone: Words, rng: np.random.Generator
) -> tuple[Part, Part]:
    """Parts of objective and backbone in the variance of `y`, over models without gaps."""
    found = []
    for own, other in ((objective, backbone), (backbone, objective)):
        first, last = _first_and_last(y[:, np.newaxis], own, other)
        permuted = _within(y, other, PERMUTATIONS, rng)
        null = np.mean(_first_and_last(permuted, own, other), axis=0)
        lmg = float((first[0] + last[0]) / 2)
        p = (int((null >= lmg - 1e-12).sum()) + 1) / (PERMUTATIONS + 1)
        found.append(
            Part(float(first[0]), float(last[0]), lmg, float(null.mean()),
                 float(np.quantile(null, 0.95)), p)
        )  # fmt: skip
    return found[0], found[1]


def adjusted_r2(y: Floats, *factors: Words) -> Floats:
    """Of a least-squares fit with an intercept and the levels of each factor.

    Parameters
    ----------
    y : ndarray of shape (n_models, n_columns)
    *factors : ndarray of shape (n_models,)
    """
    columns = [np.ones((len(y), 1))]
    columns += [(f[:, np.newaxis] == np.unique(f)[1:]).astype(np.float64) for f in factors]
    design = np.hstack(columns)
    left, sizes, _ = np.linalg.svd(design, full_matrices=False)
    basis = left[:, sizes > 1e-9 * sizes[0]]
    centred = y - y.mean(axis=0)
    total = np.square(centred).sum(axis=0)
    rest = np.square(centred - basis @ (basis.T @ centred)).sum(axis=0)
    n, rank = len(y), basis.shape[1]
    with np.errstate(invalid="ignore", divide="ignore"):
        adjusted: Floats = 1 - rest / total * (n - 1) / (n - rank)
    return adjusted


def _first_and_last(y: Floats, own: Words, other: Words) -> tuple[Floats, Floats]:
    return adjusted_r2(y, own), adjusted_r2(y, own, other) - adjusted_r2(y, other)


def _within(y: Floats, groups: Words, count: int, rng: np.random.Generator) -> Floats:
    """`count` permutations of `y` within groups, shape (n_models, count)."""
    place = np.unique(groups, return_inverse=True)[1]
    order = np.argsort(place[:, np.newaxis] + rng.random((len(y), count)), axis=0)
    permuted = np.empty(order.shape)
    permuted[np.argsort(place, kind="stable")] = y[order]
    return permuted


def _share_verdict(y: Floats, objective: Words, backbone: Words, low: float, high: float) -> str:
    used = np.isfinite(y)
    reason = obstacle(objective[used], backbone[used])
    if reason:
        return reason
    if not np.isfinite(low):
        return "withheld: no interval of the gap over all models"
    if low <= 0 <= high:
        return "withheld: the interval of the gap over all models contains 0"
    return ""
