"""What the cells of a data set hold, as one small file: by it DVC sees that they changed.

A cell consists of dozens of files, and DVC looks at each, a dozen times for a stage that runs. A
cell's description names the digest of all its other files, so a digest of descriptions stands for
all bytes. Stages that read cells depend on this file; `extract`, which makes it, has the cells
themselves as its output. Nobody but DVC reads it: readers of cells check what they read.
"""

from __future__ import annotations

import json

from cache.files import sha256_file, write_durably
from pipeline.datasets.index import Index
from pipeline.embeddings.cells import needed_splits
from pipeline.project.paths import cell_address, cells_path
from pipeline.study.schema import Study


def record_cells(study: Study, index: Index) -> None:
    """Write the digests of those cells of a data set that the study needs and that are whole.

    What else lies in the folder, of models that left the study, makes no stage run.
    """
    test_only = "train" not in index.split_names
    digests = {}
    for model, entry in study.models.items():
        described = {
            split: cell_address(index.name, model, split).path / "zarr.json"
            for split in needed_splits(study, entry, test_only=test_only)
        }
        digests[model] = {s: sha256_file(path) for s, path in described.items() if path.is_file()}
    text = json.dumps(digests, indent=1, sort_keys=True)
    write_durably(cells_path(index.name), f"{text}\n".encode())
