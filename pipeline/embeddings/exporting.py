"""Embeddings as plain files for other programs."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from cache.cell import Cell
from cache.errors import ProbelineError
from cache.files import write_durably
from pipeline.datasets.index import read_index
from pipeline.embeddings.cells import open_all_cells
from pipeline.study.schema import Study


def export_cells(study: Study, dataset: str, model: str, folder: Path, kind: str) -> Iterator[Path]:
    """Write the train and val embeddings of one model on one data set.

    Parameters
    ----------
    study : Study
    dataset, model : str
    folder : Path
    kind : {"npy", "parquet"}
        npy: ``<split>.npy`` of shape (n_samples, n_features) in the stored type, and
        ``<split>.csv`` with id, label and class of each row. parquet: one file with those
        columns and ``f0``, ``f1`` and so on, in float32.

    Yields
    ------
    Path
        Of each file written.

    Raises
    ------
    ProbelineError
        When the study has no such data set or model, or the cells are not current.
    """
    for what, name, names in (
        ("data set", dataset, list(study.datasets)),
        ("model", model, list(study.models)),
    ):
        if name not in names:
            raise ProbelineError(
                f"{what} {name}",
                f"the study has no such {what}",
                expected=f"one of {', '.join(names)}",
                remedy="name one of these",
            )
    index = read_index(dataset)
    classes = np.array(index.classes)
    for cell in open_all_cells(study, index, model).values():
        stem = folder / dataset / model / cell.address.split
        labels = cell.labels()
        rows = pd.DataFrame({"id": cell.ids(), "label": labels, "class": classes[labels]})
        if kind == "npy":
            yield _write(stem.with_suffix(".npy"), _npy_bytes(cell))
            yield _write(stem.with_suffix(".csv"), rows.to_csv(index=False).encode())
        else:
            features = cell.read().astype(np.float32)
            columns = pd.DataFrame(features, columns=[f"f{i}" for i in range(features.shape[1])])
            buffer = io.BytesIO()
            pd.concat([rows, columns], axis=1).to_parquet(buffer, index=False)
            yield _write(stem.with_suffix(".parquet"), buffer.getvalue())


def _npy_bytes(cell: Cell) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, cell.read())
    return buffer.getvalue()


def _write(path: Path, data: bytes) -> Path:
    write_durably(path, data)
    return path
