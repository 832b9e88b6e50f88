"""What most models of a study report of a data set's images, as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from cache.cell import Cell
from pipeline.datasets.index import Index
from pipeline.neighbors.duplicates import near_duplicates, suspected_label_errors
from pipeline.neighbors.neighbors import read_neighbors, spaces
from pipeline.study.schema import Study


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


def findings_of(
    study: Study, index: Index, cells: Mapping[str, tuple[Cell, Cell]], columns: Sequence[str]
) -> pd.DataFrame:
    """With names for numbers, in the columns of `pipeline.neighbors.data_checks`."""
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
    frames = [pd.DataFrame(part, columns=list(columns)).astype({"other": object}) for part in parts]
    return pd.concat([frame for frame in frames if len(frame)] or frames[:1], ignore_index=True)
