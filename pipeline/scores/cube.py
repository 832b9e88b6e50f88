"""All scores of a study as one table and as one labelled cube; missing cells stay visible."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5netcdf
import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import H5NetCDFStore

from cache.errors import CellMissingError, CellStaleError, ProbelineError
from cache.files import explain_disk_errors
from cache.fingerprint import fingerprint
from cache.records import Record, read_record
from pipeline.cells import cell_key, open_all_cells
from pipeline.datasets.index import Index, read_index
from pipeline.datasets.settings import Dataset
from pipeline.models.settings import Model
from pipeline.paths import PARAMS, cell_address, record_path
from pipeline.provenance import recorded_card
from pipeline.records import is_asked, key_on, protocols_of
from pipeline.scores.costs import recorded_costs
from pipeline.scores.foreign_scores import SCORES, load_foreign, refuse_shared
from pipeline.scores.score_table import (
    CELL,
    CELL_COSTS,
    COLUMNS,
    DATASET_WORDS,
    MODEL_SIZES,
    MODEL_WORDS,
    typed,
)
from pipeline.study import Study

_SCORED = ("value", "ci_low", "ci_high", "seconds")
"""Variables of the cube that a score has."""


@dataclass(frozen=True)
class Missing:
    """A cell that the study names and nobody has scored."""

    model: str
    dataset: str
    protocol: str


def gather(study: Study) -> tuple[pd.DataFrame, list[Missing]]:
    """The scores of every cell that the study names, those imported, and the cells without any.

    Returns
    -------
    scores : DataFrame
        One row per model, data set, protocol, variant, metric and seed; see
        `pipeline.scores.score_table.COLUMNS`.
    missing : list of Missing
        Of the study's own.

    Raises
    ------
    ProbelineError
        When a data set with records has no index, which tells whether they are current; when
        imported scores do not fit together, or to the study's own.
    """
    computed, missing = _computed(study)
    foreign = load_foreign(study)
    refuse_shared({str(PARAMS): computed, str(SCORES): foreign})
    if foreign.empty:
        return computed, missing
    parts = [computed, foreign] if len(computed) else [foreign]  # pandas: empty ones turn types
    return typed(pd.concat(parts, ignore_index=True)), missing


def _computed(study: Study) -> tuple[pd.DataFrame, list[Missing]]:
    current = Current(study)
    costs = functools.cache(recorded_costs)
    rows, missing = [], []
    for protocol in protocols_of(study):
        for dataset, entry in study.datasets.items():
            for model, its in study.models.items():
                if not is_asked(study, protocol, dataset, model):
                    continue
                record = current.record(protocol, dataset, model)
                if record is None:
                    missing.append(Missing(model, dataset, protocol))
                    continue
                known = {
                    "model": model,
                    "dataset": dataset,
                    "protocol": protocol,
                    **{word: getattr(its, word) for word in MODEL_WORDS},
                    **{word: getattr(entry, word) or "" for word in DATASET_WORDS},
                    **costs(dataset, model),
                }
                for score in record.scores:
                    details = json.dumps(score["details"], sort_keys=True)
                    rows.append({**known, **score, "details": details})
    return typed(pd.DataFrame(rows, columns=list(COLUMNS))), missing


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
        self._records = functools.cache(self._read)

    def record(self, protocol: str, dataset: str, model: str) -> Record | None:
        """The record of a protocol on a cell; None when there is none, or one of something else.

        Read once: statistics ask for the same one many times.

        Raises
        ------
        CellCorruptError
            When the record is damaged.
        ProbelineError
            When the data set is not indexed.
        """
        return self._records(protocol, dataset, model)

    def index(self, dataset: str) -> Index:
        """A data set's index, read once."""
        return self._index(dataset)

    def _read(self, protocol: str, dataset: str, model: str) -> Record | None:
        if not is_asked(self._study, protocol, dataset, model):
            return None
        record = read_record(record_path(protocol, dataset, model))
        if record is None:
            return None
        try:
            key = key_on(
                self._study,
                protocol,
                self._index(dataset),
                model,
                lambda name: self._cells(name, model),
            )
        except (CellMissingError, CellStaleError):
            return None
        return record if fingerprint(record.key) == fingerprint(key) else None

    def _fingerprints(self, dataset: str, model: str) -> dict[str, str]:
        """Of the cells that the study asks for, and of the classes' names."""
        study, index = self._study, self._index(dataset)
        if cell_address(dataset, model, "val").store.exists():
            cells = open_all_cells(study, index, model)
            of: dict[str, str] = {s: cell.manifest.fingerprint for s, cell in cells.items()}
            return {**of, "names": index.names_digest}
        # A clone that pulled results without embeddings: the record of their origin tells.
        entry = study.models[model]
        card = recorded_card(dataset, model, entry)
        if card is None:
            raise CellMissingError(
                f"model {model} on data set {dataset}",
                "there are neither embeddings nor provenance",
            )
        of = {s: fingerprint(cell_key(study, index, s, entry, card)) for s in index.split_names}
        return {**of, "names": index.names_digest}


def to_cube(study: Study, scores: pd.DataFrame) -> xr.Dataset:
    """The same scores as a labelled cube.

    Returns
    -------
    Dataset
        Dimensions model, dataset, variant (``protocol/variant``) and metric: first those that the
        study names, then those imported. Variables value, ci_low, ci_high, seconds (float64, NaN
        where not scored; of several seeds their mean, which has no interval); n_test per data set
        (0 where nobody said it); asked per model, data set and variant: 0 where the study does not
        run its own protocol, so that a NaN is no gap; images and extraction_seconds per model and
        data set: forward passes behind the embeddings, and what they took (NaN where unknown).
        Coordinates carry the words on models (family, backbone, method, supervision, kind), their
        sizes (parameters, dimension: features per image; NaN where unknown), the words on data
        sets (role, cluster, shift), and of variants the protocol and whether it is the study's own.
    """
    keyed = typed(scores)
    keyed["variant"] = keyed["protocol"] + "/" + keyed["variant"]
    labels = {
        "model": _names(study.models, keyed["model"]),
        "dataset": _names(study.datasets, keyed["dataset"]),
        "variant": _names((), keyed["variant"]),
        "metric": _names((), keyed["metric"]),
    }
    cells = _one_row_each(keyed)
    n_test = keyed.groupby("dataset")["n_test"].max().reindex(labels["dataset"]).fillna(0)
    models = keyed.drop_duplicates("model").set_index("model")
    datasets = keyed.drop_duplicates("dataset").set_index("dataset")
    sizes = keyed.groupby("model")[list(MODEL_SIZES)].first().reindex(labels["model"])
    return xr.Dataset(
        {name: (tuple(labels), _placed(cells, labels, name)) for name in _SCORED}
        | {"n_test": ("dataset", n_test.to_numpy(np.int64))}
        | {"asked": (("model", "dataset", "variant"), _asked(study, labels))}
        | {
            name: (("model", "dataset"), _placed(_known(keyed, name), labels, name))
            for name in CELL_COSTS
        },
        coords=labels
        | {
            "protocol": ("variant", [v.split("/")[0] for v in labels["variant"]]),
            "own": ("variant", _own(study, keyed, labels["variant"])),
        }
        | {
            word: ("model", _words(study.models, models, labels["model"], word))
            for word in MODEL_WORDS
        }
        | {name: ("model", sizes[name].to_numpy(np.float64)) for name in MODEL_SIZES}
        | {
            word: ("dataset", _words(study.datasets, datasets, labels["dataset"], word))
            for word in DATASET_WORDS
        },
        attrs={
            "intervals": "95%: Clopper-Pearson for top-k, stratified bootstrap for "
            "mean_per_class; of fewshot Student's t over draws"
        },
    )


def _names(first: Iterable[str], others: pd.Series[str]) -> list[str]:
    return list(dict.fromkeys([*first, *others.unique()]))


def _own(study: Study, keyed: pd.DataFrame, variants: list[str]) -> list[int]:
    """1 for variants of a protocol that the study runs on some cell of its own, else 0."""
    of_study = (
        keyed["protocol"].isin(protocols_of(study))
        & keyed["model"].isin(list(study.models))
        & keyed["dataset"].isin(list(study.datasets))
    )
    return pd.Index(variants).isin(keyed.loc[of_study, "variant"].unique()).astype(int).tolist()


def _asked(study: Study, labels: Mapping[str, Sequence[str]]) -> NDArray[np.int8]:
    """Shape (n_models, n_datasets, n_variants); what only imported scores can fill counts as 1."""
    shape = [len(labels[dim]) for dim in ("model", "dataset", "variant")]
    asked = np.ones(shape, np.int8)
    of_variants = np.array([variant.split("/")[0] for variant in labels["variant"]], np.str_)
    for protocol in protocols_of(study):
        columns = np.flatnonzero(of_variants == protocol)
        for m, model in enumerate(study.models):
            for d, dataset in enumerate(study.datasets):
                if not is_asked(study, protocol, dataset, model):
                    asked[m, d, columns] = 0
    return asked


def _words(
    entries: Mapping[str, Model] | Mapping[str, Dataset],
    rows: pd.DataFrame,
    names: list[str],
    word: str,
) -> list[str]:
    """What params.yaml says of models (or data sets), else what the scores' table says."""
    said = rows[word].to_dict() | {n: getattr(entry, word) or "" for n, entry in entries.items()}
    return [said[name] for name in names]


def _one_row_each(keyed: pd.DataFrame) -> pd.DataFrame:
    """Scores of several seeds as their mean; the interval of one seed is not that of the mean."""
    rows = keyed[[*CELL, *_SCORED]]
    several = rows.duplicated(list(CELL), keep=False)
    if not several.any():
        return rows
    means = rows[several].groupby(list(CELL), sort=False)[["value", "seconds"]].mean()
    means = means.reset_index().reindex(columns=rows.columns)
    return pd.concat([rows[~several], means.astype(rows.dtypes)], ignore_index=True)


def _known(keyed: pd.DataFrame, name: str) -> pd.DataFrame:
    """One row for each model and data set of which a cost is known."""
    rows = keyed[["model", "dataset", name]].dropna(subset=name)
    return rows.drop_duplicates(["model", "dataset"])


def _placed(
    rows: pd.DataFrame, labels: Mapping[str, Sequence[str]], name: str
) -> NDArray[np.float64]:
    """A column of a table as an array over those labels that the table has."""
    dims = {dim: names for dim, names in labels.items() if dim in rows}
    array = np.full([len(names) for names in dims.values()], np.nan)
    places = tuple(pd.Index(names).get_indexer(pd.Index(rows[d])) for d, names in dims.items())
    array[places] = rows[name].to_numpy(np.float64)
    return array


def write_netcdf(
    dataset: xr.Dataset, path: Path, groups: Mapping[str, xr.Dataset] | None = None
) -> None:
    """Write a netCDF file that is whole or absent.

    Parameters
    ----------
    dataset : Dataset
        What lies at the file's root.
    path : Path
    groups : mapping of str to Dataset, optional
        Further data sets, by the name of their group.
    """
    temporary = path.with_name(f".{path.name}.partial")
    with explain_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # By `to_netcdf` the file would be opened, and all of it visited, for each group anew.
            with h5netcdf.File(temporary, "w") as file:
                dataset.dump_to_store(H5NetCDFStore(file))
                for name, group in (groups or {}).items():
                    group.dump_to_store(H5NetCDFStore(file.create_group(name)))
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def read_netcdf(path: Path) -> xr.Dataset:
    """Read the root of a netCDF file.

    Raises
    ------
    ProbelineError
        When it is absent or damaged.
    """
    with _explain_netcdf(path), xr.open_dataset(path, engine="h5netcdf") as stored:
        return stored.load()


def read_netcdf_groups(path: Path) -> dict[str, xr.Dataset]:
    """Read a whole netCDF file: its groups by name, the root as ``""``.

    Raises
    ------
    ProbelineError
        When it is absent or damaged.
    """
    # Faster than `open_groups`, which visits the whole file for each group.
    with _explain_netcdf(path), h5netcdf.File(path, "r") as file:
        groups = {"": file} | {str(name): group for name, group in file.groups.items()}
        return {
            name: xr.open_dataset(H5NetCDFStore(group)).load() for name, group in groups.items()
        }


@contextlib.contextmanager
def _explain_netcdf(path: Path) -> Iterator[None]:
    try:
        yield
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
    that only one data set has. Imported variants stand for protocols that the study does not run.
    """
    scored = (cube["value"].count(["model", "metric"]) > 0).sum("dataset")
    own = cube.coords.get("own", xr.ones_like(scored))
    best: dict[str, tuple[tuple[int, int], str]] = {}
    for variant, protocol, *rank in zip(
        cube["variant"].values, cube["protocol"].values, own.values, scored.values, strict=True
    ):
        preference = int(rank[0]), int(rank[1])
        if protocol != "predictors" and preference > best.get(str(protocol), ((-1, -1), ""))[0]:
            best[str(protocol)] = preference, str(variant)
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
