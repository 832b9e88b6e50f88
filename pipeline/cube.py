"""All scores of a study as one table and as one labelled cube; missing cells stay visible."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from cache.errors import ProbelineError
from cache.files import explain_disk_errors
from cache.records import read_record
from pipeline.paths import PROTOCOLS, record_path
from pipeline.study import Study

COLUMNS = (
    "model", "dataset", "protocol", "variant", "metric", "value", "ci_low", "ci_high",
    "n_train", "n_test", "seed", "seconds", "backend", "details",
)  # fmt: skip
"""Of scores.csv, in order."""


@dataclass(frozen=True)
class Missing:
    """A cell that the study names and nobody has scored."""

    model: str
    dataset: str
    protocol: str


def gather(study: Study) -> tuple[pd.DataFrame, list[Missing]]:
    """The scores of every cell that the study names, and the cells without any.

    Returns
    -------
    scores : DataFrame
        One row per model, data set, protocol, variant and metric; see `COLUMNS`.
    missing : list of Missing
    """
    rows, missing = [], []
    for protocol in PROTOCOLS:
        for dataset in study.datasets:
            for model in study.models:
                record = read_record(record_path(protocol, dataset, model))
                settings = getattr(study, protocol).model_dump()
                if record is None or record.key["settings"] != settings:
                    missing.append(Missing(model, dataset, protocol))
                    continue
                for score in record.scores:
                    row = {"model": model, "dataset": dataset, "protocol": protocol, **score}
                    row["details"] = json.dumps(row["details"], sort_keys=True)
                    rows.append(row)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table["seed"] = table["seed"].astype("Int64")
    return table, missing


def to_cube(study: Study, scores: pd.DataFrame) -> xr.Dataset:
    """The same scores as a labelled cube.

    Returns
    -------
    Dataset
        Dimensions model, dataset, variant (``protocol/variant``) and metric; variables value,
        ci_low, ci_high, seconds (float64, NaN where not scored) and n_test per data set.
        Coordinates carry the study's words on models (family, backbone, method, supervision) and
        data sets (role, cluster, shift).
    """
    keyed = scores.assign(variant=scores["protocol"] + "/" + scores["variant"])
    variants = list(dict.fromkeys(keyed["variant"]))
    metrics = list(dict.fromkeys(keyed["metric"]))
    labels = {
        "model": list(study.models),
        "dataset": list(study.datasets),
        "variant": variants,
        "metric": metrics,
    }
    places = tuple(
        pd.Index(names).get_indexer(pd.Index(keyed[dim])) for dim, names in labels.items()
    )
    variables = {}
    for name in ("value", "ci_low", "ci_high", "seconds"):
        cube = np.full([len(names) for names in labels.values()], np.nan)
        cube[places] = keyed[name]
        variables[name] = (tuple(labels), cube)
    n_test = keyed.groupby("dataset")["n_test"].max()
    models, datasets = study.models.values(), study.datasets.values()
    return xr.Dataset(
        variables | {"n_test": ("dataset", [int(n_test.get(d, 0)) for d in study.datasets])},
        coords=labels
        | {"protocol": ("variant", [v.split("/")[0] for v in variants])}
        | {
            n: ("model", [getattr(m, n) for m in models])
            for n in ("family", "backbone", "method", "supervision")
        }
        | {
            n: ("dataset", [getattr(d, n) or "" for d in datasets])
            for n in ("role", "cluster", "shift")
        },
        attrs={
            "intervals": "95%: Clopper-Pearson for top-k, stratified bootstrap for mean_per_class"
        },
    )


def write_netcdf(dataset: xr.Dataset, path: Path) -> None:
    """Write a netCDF file that is whole or absent."""
    temporary = path.with_name(f".{path.name}.partial")
    with explain_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            dataset.to_netcdf(temporary, engine="h5netcdf")
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def read_netcdf(path: Path) -> xr.Dataset:
    """Read a whole netCDF file.

    Raises
    ------
    ProbelineError
        When it is absent or damaged.
    """
    try:
        with xr.open_dataset(path, engine="h5netcdf") as stored:
            return stored.load()
    except FileNotFoundError:
        raise ProbelineError(
            str(path), "is not made yet", remedy="run `dvc repro`, which makes it"
        ) from None
    except (OSError, ValueError, KeyError) as error:
        raise ProbelineError(
            str(path),
            "is damaged, or no netCDF file",
            found=str(error).split("\n")[0][:200],
            remedy="delete it and run `dvc repro`",
        ) from None


def headline_variants(cube: xr.Dataset) -> Mapping[str, str]:
    """The first variant of each protocol, which stands for it."""
    first: dict[str, str] = {}
    for variant, protocol in zip(cube["variant"].values, cube["protocol"].values, strict=True):
        first.setdefault(str(protocol), str(variant))
    return first
