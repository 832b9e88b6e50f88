"""Correlations among models of one backbone, and given the backbone.

Backbones differ in score and in every predictor of it: a correlation over all models may be no
more than that. Here are ρ within each backbone, and the partial ρ given the backbone.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.results.cube import cheap_predictors, comparable
from pipeline.statistics.arrays import Floats, Mask, Words
from pipeline.statistics.design import frequent_backbones
from pipeline.statistics.evidence import Evidence
from pipeline.statistics.jackknife import MIN_GROUPS, Estimate, jackknifed
from pipeline.statistics.panel import words
from pipeline.statistics.rank_correlation import spearman
from pipeline.statistics.table import tabled
from pipeline.statistics.written import UNKNOWN
from pipeline.study.column import column_name

ALL, POOLED = "all models", "given backbone"


def within_backbones(evidence: Evidence) -> xr.Dataset:
    """Headline protocols on in-domain data sets against headlines on the others, by backbone.

    Returns
    -------
    Dataset
        Dimensions backbone (`ALL`, `POOLED`, then names), predictor and target
        (``protocol/variant@data set``); variables value (Spearman's ρ), low, high, n, methods.
    """
    outside = [d for d in evidence.datasets() if d not in evidence.datasets("in_domain")]
    headlines = list(evidence.headline.values())
    x, predictors = _columns(evidence, headlines, evidence.datasets("in_domain"))
    y, targets = _columns(evidence, headlines, outside)
    backbone, method = words(evidence, "backbone"), words(evidence, "method")
    groups: dict[str, tuple[Mask, Words | None]] = {
        ALL: (np.ones(len(x), bool), None),
        POOLED: (backbone != UNKNOWN, backbone),
    }
    groups |= {name: (backbone == name, None) for name in frequent_backbones(backbone)}
    parts = [
        _estimate(x[rows], y[rows], None if given is None else given[rows], method[rows], evidence)
        for rows, given in groups.values()
    ]
    return tabled(
        {"backbone": groups, "predictor": predictors, "target": targets},
        _estimated(parts, "methods"),
        definition="Spearman's ρ among models of one backbone, and given the backbone: of ranks "
        "less their mean over the backbone's models",
        interval=f"{evidence.settings.confidence:.0%} delete-one-method jackknife, atanh scale; "
        f"withheld below {MIN_GROUPS} methods",
    )


def predictors_given_backbone(evidence: Evidence) -> xr.Dataset:
    """Transferability metrics of a train split against the headline scores on the same data set.

    Returns
    -------
    Dataset
        Dimensions given (`ALL`, `POOLED`), dataset, predictor and protocol; variables value
        (Spearman's ρ), low, high, n, families.
    """
    cube, family = evidence.cube, words(evidence, "family")
    backbone, names = words(evidence, "backbone"), cheap_predictors(cube)
    table = comparable(cube, evidence.settings.metric).transpose("model", "dataset", "variant")
    parts = []
    for given in (None, backbone):
        of_datasets = []
        for dataset in evidence.datasets():
            x = table.sel(dataset=dataset, variant=names).values
            y = table.sel(dataset=dataset, variant=list(evidence.headline.values())).values
            if given is not None:
                x = np.where((backbone == UNKNOWN)[:, np.newaxis], np.nan, x)
            of_datasets.append(_estimate(x, y, given, family, evidence))
        parts.append(Estimate.stacked(of_datasets))
    return tabled(
        {
            "given": [ALL, POOLED],
            "dataset": evidence.datasets(),
            "predictor": [evidence.variants[name].name for name in names],
            "protocol": evidence.headline,
        },
        _estimated(parts, "families"),
        definition="Spearman's ρ of a transferability metric's promise with scores on the same "
        "data set, over all models and given the backbone",
        interval=f"{evidence.settings.confidence:.0%} delete-one-family jackknife, atanh scale; "
        f"withheld below {MIN_GROUPS} families",
    )


def _columns(
    evidence: Evidence, variants: list[str], datasets: list[str]
) -> tuple[Floats, list[str]]:
    """Scores of shape (n_models, n_columns), without empty columns, and the columns' names."""
    table = comparable(evidence.cube, evidence.settings.metric)
    chosen = table.sel(variant=variants, dataset=datasets).transpose("model", "variant", "dataset")
    flat = chosen.values.reshape(len(evidence.models), -1)
    scored = np.isfinite(flat).any(axis=0)
    names = [column_name(v, d) for v in variants for d in datasets]
    return flat[:, scored], [name for name, has in zip(names, scored, strict=True) if has]


def _estimate(
    x: Floats,
    y: Floats,
    given: Words | None,
    units: Words,
    evidence: Evidence,
) -> Estimate:
    def statistic(kept: Mask) -> tuple[Floats, NDArray[np.int64]]:
        return spearman(x[kept], y[kept], None if given is None else given[kept])

    confidence = evidence.settings.confidence
    return jackknifed(statistic, units, confidence, correlation=True)


def _estimated(parts: list[Estimate], units: str) -> dict[str, NDArray[np.number]]:
    """Of all estimates, along a new first axis; `units`: what its groups are called."""
    found = Estimate.stacked(parts)
    return {
        "value": found.value,
        "low": found.low,
        "high": found.high,
        "n": found.n,
        units: found.groups,
    }
