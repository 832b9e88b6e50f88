"""Data checks over all models of a study: near-duplicates across splits, and doubtful labels.

One model's neighbours may be odd; what most models agree on is worth a look. A finding is listed
where more than half of the models report it, from the first space that the study stores.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from cache.records import is_current_record, write_record
from pipeline.datasets.index import read_index
from pipeline.embeddings.cells import open_cells
from pipeline.embeddings.unavailable import available
from pipeline.neighbors.neighbors import neighbors_key, spaces
from pipeline.project.paths import records_folder
from pipeline.study.knn import KNN
from pipeline.study.schema import Study

FORMAT = 1
"""Part of every file's key: raised when the rules or the columns change."""

COLUMNS = ("kind", "image", "other", "label", "suggested", "models")
"""`kind`: near_duplicate (a val `image` and a train image, `other`) or suspected_label (a train
`image`); `label`: of the image; `suggested`: the other image's label, or the class that neighbours
agree on; `models`: the share of models that report it."""


_SCHEMA = pa.schema([(name, pa.string()) for name in COLUMNS[:-1]] + [(COLUMNS[-1], pa.float64())])


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
            from pipeline.neighbors.findings import findings_of  # needs pandas

            findings = findings_of(study, index, cells, COLUMNS)
            table = pa.Table.from_pandas(findings, schema=_SCHEMA, preserve_index=False)
            write_record(checks_path(dataset), key=key, scores=[], outcomes=table)
