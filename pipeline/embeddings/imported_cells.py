"""Cells from imported embeddings; needs no torch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cache.errors import ProbelineError
from cache.writer import CellWriter
from pipeline.datasets.embedding_files import read_embeddings
from pipeline.datasets.imported import differing, imported_card, samples_of_index
from pipeline.datasets.index import Index
from pipeline.embeddings.cells import cell_key
from pipeline.embeddings.provenance import record_provenance
from pipeline.machine.environment import wait_seconds
from pipeline.project.paths import SPLITS, cell_address, imported_path
from pipeline.study.schema import Study


def write_imported_cells(study: Study, index: Index, model: str) -> None:
    """Make the cells of an imported model, in the order of the index.

    Raises
    ------
    ProbelineError
        When the files' ids or classes are not those of the data set.
    """
    entry = study.models[model]
    card = imported_card(index.name, model)
    folder = imported_path(index.name, model)
    for split in SPLITS:
        rows = read_embeddings(folder, split)
        theirs = samples_of_index(index, split)
        if how := differing(rows.samples, theirs, index.classes):
            raise ProbelineError(
                f"model {model} on data set {index.name}",
                f"the imported {split} embeddings are of other samples than the index lists",
                expected=f"the {len(theirs.ids):,} ids of the index, each with its class",
                found=how,
                remedy="export each row's id and class with the embeddings (with images, an id is "
                "the image's path); or, where the index is of former embeddings, "
                f"`dvc repro -f index@{index.name}`",
            )
        row_of = {name: row for row, name in enumerate(rows.samples.ids)}
        order = np.array([row_of[name] for name in theirs.ids])
        with CellWriter(
            cell_address(index.name, model, split),
            key=cell_key(study, index, split, entry, card),
            ids=theirs.ids,
            labels=index.labels(split),
            columns=card.columns,
            dtype=study.extraction.storage,
            wait=wait_seconds(),
        ) as writer:
            whole = False
            while not whole:  # twice where float16 turns out not to be enough
                for chunk in writer.missing:
                    writer.write(chunk, rows.features[order[writer.rows_of(chunk)]])
                if not writer.finished:  # else another process has recorded it
                    record_provenance(
                        index.name,
                        model,
                        entry,
                        card,
                        split=split,
                        images=len(order),
                        seconds=0.0,
                        storage=replace(
                            writer.storage,
                            remarks=(*writer.remarks, "imported, compute precision unknown"),
                        ),
                        device="imported",
                        precision="imported",
                    )
                whole = writer.commit()
