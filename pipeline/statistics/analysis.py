"""From the cube of scores to the statistics of the study, as a labelled data set."""

from __future__ import annotations

import numpy as np
import xarray as xr

from pipeline.results.cube import cheap_predictors, comparable, headline_variants
from pipeline.results.variant_table import variants_of
from pipeline.statistics.correlation import COEFFICIENTS, MIN_FAMILIES, MIN_MODELS, correlate
from pipeline.statistics.jackknife import MIN_GROUPS
from pipeline.statistics.panel import ASSUMED_TESTS
from pipeline.statistics.weighted_tau import weighted_tau
from pipeline.study.column import EACH_TARGET, Column, column_name
from pipeline.study.protocol_list import reaches_all
from pipeline.study.schema import Correlation

_PAIR = ("coefficient", "predictor", "target")


def analyse(cube: xr.Dataset, settings: Correlation) -> xr.Dataset:
    """Correlate every (variant, data set) with every other, over models.

    Transferability metrics take part by their promise; it is no accuracy, so the correlation of
    logits is withheld where one is part of the pair.

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


def columns_of(cube: xr.Dataset) -> dict[str, Column]:
    """All columns of scores by their names."""
    found = (
        Column(variant, dataset)
        for variant in variants_of(cube).values()
        for dataset in [*map(str, cube["dataset"].values), EACH_TARGET]
    )
    return {column.name: column for column in found}


def missing_count(cube: xr.Dataset, metric: str) -> int:
    """Cells of the headlines that the study asks for and that have no score."""
    value, missing = comparable(cube, metric), 0
    for protocol, variant in headline_variants(cube).items():
        scores = value.sel(variant=variant)
        if not reaches_all(protocol):  # to the data sets that it reaches
            scores = scores.dropna("dataset", how="all")
        gaps = np.isnan(scores)
        if "asked" in cube:
            gaps &= cube["asked"].sel(variant=variant, dataset=scores["dataset"]) == 1
        missing += int(gaps.sum())
    return missing
