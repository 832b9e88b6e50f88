"""The main figures as small tables for ``dvc plots show`` and ``dvc plots diff``.

Their templates lie in ``.dvc/plots``. DVC writes names into a page of its own without escaping
them, so ``<``, without which no element of HTML begins, becomes the look-alike ``‹`` here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from pipeline.results.cube import comparable, headline_variants
from pipeline.study.column import column_name

Rows = list[dict[str, Any]]

_COLUMNS = {
    "scores": ("model", "protocol", "score"),
    "domains": ("model", "family", "protocol", "in_domain", "out_of_domain"),
    "correlation": ("predictor", "target", "rho", "low", "high", "models"),
}


def plot_tables(cube: xr.Dataset, correlations: xr.Dataset) -> dict[str, Rows]:
    """Rows of each plot, by the plot's name.

    Parameters
    ----------
    cube : Dataset
        See `pipeline.results.cube.to_cube`.
    correlations : Dataset
        See `pipeline.statistics.analysis.analyse`.

    Returns
    -------
    dict
        ``scores``: mean score of each model over the data sets that a protocol's headline judges,
        where it has them all. ``domains``: the same in-domain and out-of-domain. ``correlation``:
        Spearman ρ between all headline columns, with its interval. A plot of nothing has one row
        of nulls: DVC stumbles over none.
    """
    scores = comparable(cube, str(correlations.attrs["metric"]))
    tables = {
        "scores": _scores(cube, scores),
        "domains": _domains(cube, scores),
        "correlation": _correlation(cube, correlations),
    }
    return {name: rows or [dict.fromkeys(_COLUMNS[name])] for name, rows in tables.items()}


def _scores(cube: xr.Dataset, scores: xr.DataArray) -> Rows:
    return [
        {"model": _safe(model), "protocol": _safe(protocol), "score": _short(mean)}
        for protocol, variant in headline_variants(cube).items()
        for model, mean in zip(
            cube["model"].values, _means(scores.sel(variant=variant)), strict=True
        )
        if np.isfinite(mean)
    ]


def _domains(cube: xr.Dataset, scores: xr.DataArray) -> Rows:
    rows: Rows = []
    for protocol, variant in headline_variants(cube).items():
        of = scores.sel(variant=variant)
        inside, outside = (
            _means(of.isel(dataset=np.flatnonzero(cube["role"].values == role)))
            for role in ("in_domain", "out_of_domain")
        )
        rows += [
            {
                "model": _safe(cube["model"].values[i]),
                "family": _safe(cube["family"].values[i]),
                "protocol": _safe(protocol),
                "in_domain": _short(inside[i]),
                "out_of_domain": _short(outside[i]),
            }
            for i in np.flatnonzero(np.isfinite(inside) & np.isfinite(outside))
        ]
    return rows


def _correlation(cube: xr.Dataset, correlations: xr.Dataset) -> Rows:
    columns = {
        column_name(variant, dataset): _safe(f"{dataset} · {protocol}")
        for dataset in cube["dataset"].values
        for protocol, variant in headline_variants(cube).items()
    }
    keys = list(columns)
    chosen = correlations.sel(coefficient="spearman", predictor=keys, target=keys)
    value, low, high, n = (chosen[name].values for name in ("value", "low", "high", "n"))
    return [
        {
            "predictor": columns[keys[i]],
            "target": columns[keys[j]],
            "rho": _short(value[i, j]),
            "low": _short(low[i, j]) if np.isfinite(low[i, j]) else None,
            "high": _short(high[i, j]) if np.isfinite(high[i, j]) else None,
            "models": int(n[i, j]),
        }
        for i, j in np.argwhere(np.isfinite(value))
        if i != j
    ]


def _means(scores: xr.DataArray) -> Any:
    """Mean over the data sets with any score; NaN for models that lack one of them.

    Parameters
    ----------
    scores : DataArray of dims model and dataset
    """
    judged = scores.dropna("dataset", how="all").transpose("model", "dataset").values
    return judged.mean(axis=1) if judged.shape[1] else np.full(len(judged), np.nan)


def _short(number: float) -> float:
    return round(float(number), 6)


def _safe(name: object) -> str:
    return str(name).replace("<", "‹")
