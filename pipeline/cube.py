"""All scores of a study as one table and as one labelled cube; missing cells stay visible."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from cache.errors import CellMissingError, CellStaleError, ProbelineError
from cache.files import explain_disk_errors
from cache.fingerprint import fingerprint
from cache.records import Record, read_record
from pipeline.cells import cell_key, open_cells
from pipeline.index import read_index
from pipeline.paths import SPLITS, cell_address, record_path
from pipeline.provenance import recorded_card
from pipeline.records import protocols_of, record_key
from pipeline.study import Study

COLUMNS = (
    "model", "dataset", "protocol", "variant", "metric", "value", "ci_low", "ci_high",
    "n_train", "n_test", "seed", "seconds", "backend", "details",
)  # fmt: skip
"""Of scores.csv, in order."""

_NUMBERS = ("value", "ci_low", "ci_high", "seconds")


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

    Raises
    ------
    ProbelineError
        When a data set with records has no index, which tells whether they are current.
    """
    current = Current(study)
    rows, missing = [], []
    for protocol in protocols_of(study):
        for dataset in study.datasets:
            for model in study.models:
                record = current.record(protocol, dataset, model)
                if record is None:
                    missing.append(Missing(model, dataset, protocol))
                    continue
                for score in record.scores:
                    row = {"model": model, "dataset": dataset, "protocol": protocol, **score}
                    row["details"] = json.dumps(row["details"], sort_keys=True)
                    rows.append(row)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table["seed"] = table["seed"].astype("Int64")
    for name in _NUMBERS:  # a column of None alone would be one of objects
        table[name] = table[name].astype(float)
    return table, missing


class Current:
    """The records that answer a study: its settings, and the very cells that it asks for.

    A record of a cell that has since been computed otherwise (in another precision, say) is not
    among them, even where a killed run has not yet scored the new cell: such scores would be
    compared with others that they can't be compared with.

    Parameters
    ----------
    study : Study
    """

    def __init__(self, study: Study) -> None:
        self._study = study
        self._index = functools.cache(read_index)
        self._cells = functools.cache(self._fingerprints)

    def record(self, protocol: str, dataset: str, model: str) -> Record | None:
        """The record of a protocol on a cell; None when there is none, or one of something else.

        Raises
        ------
        CellCorruptError
            When the record is damaged.
        ProbelineError
            When the data set is not indexed.
        """
        record = read_record(record_path(protocol, dataset, model))
        if record is None:
            return None
        try:
            key = record_key(self._study, protocol, dataset, lambda name: self._cells(name, model))
        except (CellMissingError, CellStaleError):
            return None
        return record if fingerprint(record.key) == fingerprint(key) else None

    def _fingerprints(self, dataset: str, model: str) -> dict[str, str]:
        """Of the train and val cell that the study asks for, and of the classes' names."""
        study, index = self._study, self._index(dataset)
        if cell_address(dataset, model, "train").store.exists():
            pair = zip(SPLITS, open_cells(study, index, model), strict=True)
            of = {split: cell.manifest.fingerprint for split, cell in pair}
            return {**of, "names": index.names_digest}
        # A clone that pulled results without embeddings: the record of their origin tells.
        entry = study.models[model]
        card = recorded_card(dataset, model, entry)
        if card is None:
            raise CellMissingError(
                f"model {model} on data set {dataset}",
                "there are neither embeddings nor provenance",
            )
        of = {s: fingerprint(cell_key(study, index, s, entry, card)) for s in SPLITS}
        return {**of, "names": index.names_digest}


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
    for name in _NUMBERS:
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
            "intervals": "95%: Clopper-Pearson for top-k, stratified bootstrap for "
            "mean_per_class; of fewshot Student's t over draws"
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
    """The variant that stands for each protocol that judges images.

    It is the first of those scored on the most data sets: what transfer names first may be a probe
    that only one data set has.
    """
    scored = (cube["value"].count(["model", "metric"]) > 0).sum("dataset")
    best: dict[str, tuple[int, str]] = {}
    for variant, protocol, datasets in zip(
        cube["variant"].values, cube["protocol"].values, scored.values, strict=True
    ):
        if protocol != "predictors" and datasets > best.get(str(protocol), (-1, ""))[0]:
            best[str(protocol)] = int(datasets), str(variant)
    return {protocol: variant for protocol, (_, variant) in best.items()}


def cheap_predictors(cube: xr.Dataset) -> list[str]:
    """Variants of the protocol that judges no images: ``predictors/rankme`` and so on."""
    return [str(v) for v in cube["variant"].values[cube["protocol"].values == "predictors"]]


def comparable(cube: xr.Dataset, metric: str) -> xr.DataArray:
    """What ranks the models by each variant: its metric, or of a cheap predictor its promise.

    Returns
    -------
    DataArray
        Dimensions model, dataset and variant; NaN where not scored.
    """
    found = cube["value"].reindex(metric=[metric, "promise"])
    judges = cube["protocol"] != "predictors"
    scores: xr.DataArray = found.sel(metric=metric, drop=True).where(
        judges, found.sel(metric="promise", drop=True)
    )
    return scores
