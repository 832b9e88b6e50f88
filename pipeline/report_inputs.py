"""Everything that the report is made of, read once and checked to be of one study."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import xarray as xr
from numpy.typing import NDArray

from cache.errors import ProbelineError
from cache.records import Record
from pipeline.cube import Current, headline_variants
from pipeline.index import read_index
from pipeline.paths import CORRELATION_NC, SCORES_CSV, SCORES_NC, provenance_path
from pipeline.study import Study

_REMEDY = "run `dvc repro` (or the stages `collect`, then `correlate`)"


@dataclass(frozen=True)
class Hits:
    """Per-image outcomes of one protocol's headline variant on one data set.

    Attributes
    ----------
    models : tuple of str
        Models that have outcomes here.
    hits : ndarray of shape (n_models, n_test)
        Whether the top-1 prediction was right; where a protocol has draws, in which share of
        them, so that an image counts once. NaN for an image that the protocol did not judge:
        transfer leaves out those of classes that it was not trained on.
    """

    models: tuple[str, ...]
    hits: NDArray[np.float64]


@dataclass(frozen=True)
class ValSplit:
    """The test images of one data set.

    Attributes
    ----------
    paths : tuple of str
    labels : ndarray of shape (n_test,), int64
    n_train, n_classes : int
    remarks : tuple of str
        What the index found that is not an error.
    """

    paths: tuple[str, ...]
    labels: NDArray[np.int64]
    n_train: int
    n_classes: int
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class Inputs:
    """What the report reads.

    Attributes
    ----------
    study : Study
    cube : Dataset
        See `pipeline.cube.to_cube`.
    correlations : Dataset
        See `pipeline.analysis.analyse`.
    scores : DataFrame
        Rows of scores.csv.
    provenance : mapping of (data set, model) to dict
    val_splits : mapping of data set to ValSplit
    hits : mapping of (protocol, data set) to Hits
    """

    study: Study
    cube: xr.Dataset
    correlations: xr.Dataset
    scores: pd.DataFrame
    provenance: Mapping[tuple[str, str], dict[str, Any]]
    val_splits: Mapping[str, ValSplit]
    hits: Mapping[tuple[str, str], Hits]

    @property
    def headline(self) -> Mapping[str, str]:
        """First variant of each protocol, as ``protocol/variant``."""
        return headline_variants(self.cube)

    @property
    def metric(self) -> str:
        """The metric that was correlated; the whole report speaks of it first."""
        return str(self.correlations.attrs["metric"])

    def datasets(self, role: str | None = None) -> list[str]:
        """Names of all data sets, or of those with a role, in the study's order."""
        entries = self.study.datasets.items()
        return [name for name, entry in entries if role in (None, entry.role)]


def load_inputs(study: Study) -> Inputs:
    """Read all that the report shows.

    Raises
    ------
    ProbelineError
        When a result is absent, or was made for another study.
    """
    cube, correlations = _read_netcdf(SCORES_NC), _read_netcdf(CORRELATION_NC)
    try:
        scores = pd.read_csv(SCORES_CSV, dtype={"details": str})
    except FileNotFoundError:
        raise ProbelineError(str(SCORES_CSV), "there are no scores yet", remedy=_REMEDY) from None
    _check_same_study(study, cube, correlations)
    val_splits = {name: _val_split(name) for name in study.datasets}
    current = Current(study)
    hits = {
        (protocol, dataset): _hits(
            study, current, protocol, variant.partition("/")[2], dataset, test
        )
        for protocol, variant in headline_variants(cube).items()
        for dataset, test in val_splits.items()
    }
    provenance = {
        (dataset, model): json.loads(path.read_bytes())
        for dataset in study.datasets
        for model in study.models
        if (path := provenance_path(dataset, model)).exists()
    }
    return Inputs(study, cube, correlations, scores, provenance, val_splits, hits)


def _read_netcdf(path: Path) -> xr.Dataset:
    try:
        with xr.open_dataset(path, engine="h5netcdf") as stored:
            return stored.load()
    except FileNotFoundError:
        raise ProbelineError(str(path), "is not there yet", remedy=_REMEDY) from None


def _check_same_study(study: Study, cube: xr.Dataset, correlations: xr.Dataset) -> None:
    for dimension, named in (("model", study.models), ("dataset", study.datasets)):
        found = [str(name) for name in cube[dimension].values]
        if found != list(named):
            raise ProbelineError(
                str(SCORES_NC),
                "holds the scores of another study",
                expected=f"{dimension}s {', '.join(named)}",
                found=", ".join(found),
                remedy=_REMEDY,
            )
    columns = {f"{v}@{d}" for v in cube["variant"].values for d in cube["dataset"].values}
    if not columns:
        raise ProbelineError(str(SCORES_NC), "holds no score", remedy="run `dvc repro`")
    if columns != {str(name) for name in correlations["predictor"].values}:
        raise ProbelineError(
            str(CORRELATION_NC), "was made from other scores", remedy="run the stage `correlate`"
        )


def _val_split(name: str) -> ValSplit:
    index = read_index(name)
    val = index.split("val")
    return ValSplit(
        paths=tuple(val["path"]),
        labels=index.labels("val"),
        n_train=len(index.split("train")),
        n_classes=len(index.classes),
        remarks=index.remarks,
    )


def _hits(
    study: Study, current: Current, protocol: str, variant: str, dataset: str, test: ValSplit
) -> Hits:
    names, rows = [], []
    for model in study.models:
        record = current.record(protocol, dataset, model)
        if record is None:
            continue
        table = record.outcomes()
        mine = table.filter(pc.equal(table["variant"], variant))
        if not len(mine):
            continue
        names.append(model)
        rows.append(_shares(record, mine, len(test.labels), partly=protocol == "transfer"))
    return Hits(tuple(names), np.array(rows).reshape(len(rows), len(test.labels)))


def _shares(record: Record, mine: pa.Table, n_test: int, *, partly: bool) -> NDArray[np.float64]:
    """Share of an image's outcomes that are right: of few-shot it has one a draw."""
    samples = mine["sample"].to_numpy()
    judged = np.bincount(samples, minlength=n_test)
    if len(judged) != n_test or (judged.min() == 0 and not partly):
        raise ProbelineError(
            str(record.path),
            "was made for other test images",
            expected=f"outcomes of {n_test:,} images",
            found=f"of {np.count_nonzero(judged):,}, up to number {samples.max():,}",
            remedy="run `dvc repro`",
        )
    right = np.bincount(samples, mine["rank"].to_numpy() == 1, n_test)
    shares = np.full(n_test, np.nan)
    np.divide(right, judged, where=judged > 0, out=shares)
    return shares
