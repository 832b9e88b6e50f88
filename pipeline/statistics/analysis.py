"""From the cube of scores to the statistics of the study, as a labelled data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from pipeline.results.cube import cheap_predictors, comparable, headline_variants
from pipeline.results.variant_table import variants_of
from pipeline.statistics.advice import advices
from pipeline.statistics.correlation import COEFFICIENTS, MIN_FAMILIES, MIN_MODELS, correlate
from pipeline.statistics.jackknife import MIN_GROUPS
from pipeline.statistics.panel import ASSUMED_TESTS
from pipeline.statistics.weighted_tau import weighted_tau
from pipeline.study import metrics
from pipeline.study.column import EACH_TARGET, Column, column_name
from pipeline.study.protocol_list import reaches_all
from pipeline.study.schema import Correlation

_PAIR = ("coefficient", "predictor", "target")


def analyse(cube: xr.Dataset, settings: Correlation) -> xr.Dataset:
    """Correlate every (variant, data set) with every other, over models.

    Cheap predictors take part by their promise; it is no accuracy, so the correlation of logits
    is withheld where one is part of the pair.

    Parameters
    ----------
    cube : Dataset
        See `pipeline.results.cube.to_cube`.
    settings : Correlation

    Returns
    -------
    Dataset
        Dimensions coefficient, predictor and target, the latter two over score columns named
        ``protocol/variant@data set``; variables value, low, high, n, families.
    """
    flat = comparable(cube, settings.metric).stack(column=("variant", "dataset"))
    scores = flat.transpose("model", "column").values
    names = [column_name(variant, dataset) for variant, dataset in flat["column"].values]
    variants = [str(variant) for variant, _ in flat["column"].values]
    datasets = [str(dataset) for _, dataset in flat["column"].values]
    n_test = cube["n_test"].sel(dataset=datasets).values.astype(np.float64)
    n_test[n_test == 0] = ASSUMED_TESTS  # foreign scores need not tell
    n_test[np.isin(variants, cheap_predictors(cube))] = np.nan  # and with it the logit
    found = correlate(scores, cube["family"].values.astype(str), n_test, settings.confidence)
    tau = np.where(found.n < MIN_MODELS, np.nan, weighted_tau(scores))[np.newaxis]
    no_interval = np.full_like(tau, np.nan)
    roles = [str(cube["role"].sel(dataset=d).item()) for d in datasets]
    return xr.Dataset(
        {
            "value": (_PAIR, np.concatenate([found.value, tau])),
            "low": (_PAIR, np.concatenate([found.low, no_interval])),
            "high": (_PAIR, np.concatenate([found.high, no_interval])),
            "n": (_PAIR[1:], found.n),
            "families": (_PAIR[1:], found.families),
        },
        coords={"coefficient": [*COEFFICIENTS, "weighted_tau"]}
        | dict.fromkeys(("predictor", "target"), names)
        | {
            f"{axis}_{word}": (axis, values)
            for axis in ("predictor", "target")
            for word, values in (("variant", variants), ("dataset", datasets), ("role", roles))
        },
        attrs={
            "metric": settings.metric,
            "interval": f"{settings.confidence:.0%} delete-one-family jackknife on the atanh "
            f"scale, t with G-1 degrees of freedom; below {MIN_FAMILIES} families single models "
            f"are left out; withheld below {MIN_GROUPS} models",
            "withheld": f"coefficients with fewer than {MIN_MODELS} models; intervals of weighted "
            "τ, which `headline` has for headline scores",
        },
    )


def predictor_summary(cube: xr.Dataset, correlations: xr.Dataset) -> list[dict[str, Any]]:
    """How well each protocol's headline, on each in-domain data set, ranks models elsewhere.

    Returns
    -------
    list of dict
        Keys protocol, dataset, target_protocol, coefficient, mean (over the out-of-domain data
        sets, unweighted), lowest, highest, targets (number of data sets).
    """
    first = headline_variants(cube)
    inside = [str(d) for d in cube["dataset"].values if cube["role"].sel(dataset=d) == "in_domain"]
    outside = [
        str(d) for d in cube["dataset"].values if cube["role"].sel(dataset=d) == "out_of_domain"
    ]
    rows = []
    for protocol, variant in first.items():
        for target_protocol, target_variant in first.items():
            for dataset in inside:
                for coefficient in COEFFICIENTS:
                    values = (
                        correlations["value"]
                        .sel(
                            coefficient=coefficient,
                            predictor=column_name(variant, dataset),
                            target=[column_name(target_variant, d) for d in outside],
                        )
                        .values
                    )
                    values = values[np.isfinite(values)]
                    if values.size:
                        rows.append(
                            {
                                "protocol": protocol,
                                "dataset": dataset,
                                "target_protocol": target_protocol,
                                "coefficient": coefficient,
                                "mean": float(values.mean()),
                                "lowest": float(values.min()),
                                "highest": float(values.max()),
                                "targets": int(values.size),
                            }
                        )
    return rows


def columns_of(cube: xr.Dataset) -> dict[str, Column]:
    """All columns of scores by their names."""
    found = (
        Column(variant, dataset)
        for variant in variants_of(cube).values()
        for dataset in [*map(str, cube["dataset"].values), EACH_TARGET]
    )
    return {column.name: column for column in found}


def agreement(cube: xr.Dataset, correlations: xr.Dataset) -> dict[str, dict[str, float]]:
    """How well each cheap predictor ranks models by each protocol's headline.

    Returns
    -------
    dict of dict
        Spearman ρ by predictor's name and protocol: of a data set's train split with the scores on
        the same data set, averaged over data sets with a coefficient.
    """
    spearman = correlations["value"].sel(coefficient="spearman")
    datasets = [str(d) for d in cube["dataset"].values]
    found: dict[str, dict[str, float]] = {}
    variants = variants_of(cube)
    for predictor in cheap_predictors(cube):
        for protocol, variant in headline_variants(cube).items():
            pairs = [(column_name(predictor, d), column_name(variant, d)) for d in datasets]
            values = np.array([spearman.sel(predictor=p, target=t).item() for p, t in pairs])
            if np.isfinite(values).any():
                name = variants[predictor].name
                found.setdefault(name, {})[protocol] = float(np.nanmean(values))
    return found


def tracked(
    cube: xr.Dataset, correlations: xr.Dataset, statistics: Mapping[str, xr.Dataset]
) -> dict[str, Any]:
    """The few numbers, and statements, that ``dvc metrics`` tracks."""
    first = headline_variants(cube)
    of = metrics.metric_named(str(correlations.attrs["metric"]))
    value = comparable(cube, of.name)
    missing = 0
    for protocol, variant in first.items():
        scores = value.sel(variant=variant)
        if not reaches_all(protocol):  # to the data sets that it reaches
            scores = scores.dropna("dataset", how="all")
        gaps = np.isnan(scores)
        if "asked" in cube:
            gaps &= cube["asked"].sel(variant=variant, dataset=scores["dataset"]) == 1
        missing += int(gaps.sum())
    spearman: dict[str, Any] = {}
    for row in predictor_summary(cube, correlations):
        if row["coefficient"] == "spearman":
            of_predictor = spearman.setdefault(f"{row['protocol']}_on_{row['dataset']}", {})
            of_predictor[row["target_protocol"]] = round(row["mean"], 6)
    return {
        "metric": of.goodness_of(of.name),
        "scores": int(np.isfinite(cube["value"]).sum()),
        "missing_cells": missing,
        "mean_out_of_domain_spearman": spearman,
        "statements": {
            advice.targets: advice.text for advice in advices(statistics, columns_of(cube))
        },
        "mean_predictor_spearman": {
            name: {protocol: round(mean, 6) for protocol, mean in of_protocols.items()}
            for name, of_protocols in agreement(cube, correlations).items()
        },
    }
