"""Data checks over all models of a study: near-duplicates across splits, and doubtful labels.

One model's neighbours may be odd; what most models agree on is worth a look. A finding is listed
where more than half of the models report it, from the first space that the study stores.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from cache.cell import Cell
from cache.records import is_current_record, write_record
from pipeline.datasets.index import Index, read_index
from pipeline.embeddings.cells import open_cells
from pipeline.embeddings.unavailable import available
from pipeline.neighbors.duplicates import near_duplicates, suspected_label_errors
from pipeline.neighbors.neighbors import neighbors_key, read_neighbors, spaces
from pipeline.project.paths import records_folder
from pipeline.study.knn import KNN
from pipeline.study.schema import Study

FORMAT = 1
"""Part of every file's key: raised when the rules or the columns change."""

COLUMNS = ("kind", "image", "other", "label", "suggested", "models")
"""`kind`: near_duplicate (a val `image` and a train image, `other`) or suspected_label (a train
`image`); `label`: of the image; `suggested`: the other image's label, or the class that neighbours
agree on; `models`: the share of models that report it."""


def checks_path(dataset: str) -> Path:
    """A data set's findings; no model's name holds a hyphen."""
    return records_folder(KNN.name, dataset) / "data-checks.parquet"


def check_data(study: Study) -> None:
    """List every data set's findings, where the stored list is not current.

    Raises
    ------
    ProbelineError
        When a cell or its stored neighbours are not what the study asks for.
    """
    space = spaces(study.neighbors)[0]
    for dataset, entry in study.datasets.items():
        if entry.test_only:
            continue
        index = read_index(dataset)
        cells = {model: open_cells(study, index, model) for model in available(study, dataset)}
        of_models = {
            model: neighbors_key(study.neighbors, space, *pair) for model, pair in cells.items()
        }
        key = {"format": FORMAT, "neighbors": of_models}
        if not is_current_record(checks_path(dataset), key):
            findings = _findings(study, index, cells)
            table = pa.Table.from_pandas(findings, schema=_SCHEMA, preserve_index=False)
            write_record(checks_path(dataset), key=key, scores=[], outcomes=table)


def vote_of_models(reports: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Findings that more than half of the models report, in a settled order.

    Parameters
    ----------
    reports : sequence of DataFrame
        Of each model: its findings, without repetition, in columns of any names.

    Returns
    -------
    DataFrame
        Those columns and `models`, the share of models; most agreement first.
    """
    columns = list(reports[0].columns)
    counted = pd.concat(reports).groupby(columns, as_index=False).size()
    counted["models"] = counted.pop("size") / len(reports)
    found: pd.DataFrame = counted[counted["models"] > 0.5]
    order = [True] * len(columns)
    return found.sort_values(["models", *columns], ascending=[False, *order], ignore_index=True)


_SCHEMA = pa.schema([(name, pa.string()) for name in COLUMNS[:-1]] + [(COLUMNS[-1], pa.float64())])


def _findings(study: Study, index: Index, cells: dict[str, tuple[Cell, Cell]]) -> pd.DataFrame:
    """With names for numbers, in `COLUMNS`."""
    space = spaces(study.neighbors)[0]
    twins, doubts = [], []
    for model, pair in cells.items():
        stored = read_neighbors(study.neighbors, index.name, model, space, *pair)
        val, own = stored["val"], stored["train"]
        twins.append(near_duplicates(val.distances, val.indices))
        doubts.append(suspected_label_errors(own.indices, index.labels("train"), own.samples))
    paths = {split: index.split(split)["path"] for split in ("train", "val")}
    classes = pd.Series(index.classes)
    pairs, suspects = vote_of_models(twins), vote_of_models(doubts)
    label = {split: index.split(split)["class"] for split in ("train", "val")}
    parts: list[dict[str, Any]] = [
        {
            "kind": "near_duplicate",
            "image": pairs["val"].map(paths["val"]),
            "other": pairs["train"].map(paths["train"]),
            "label": pairs["val"].map(label["val"]),
            "suggested": pairs["train"].map(label["train"]),
            "models": pairs["models"],
        },
        {
            "kind": "suspected_label",
            "image": suspects["image"].map(paths["train"]),
            "other": None,
            "label": suspects["image"].map(label["train"]),
            "suggested": suspects["suggested"].map(classes),
            "models": suspects["models"],
        },
    ]
    frames = [pd.DataFrame(part, columns=list(COLUMNS)).astype({"other": object}) for part in parts]
    return pd.concat([frame for frame in frames if len(frame)] or frames[:1], ignore_index=True)
