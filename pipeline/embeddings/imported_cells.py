"""Cells from imported embeddings; needs no torch."""

from __future__ import annotations

from cache.errors import ProbelineError
from cache.writer import CellWriter
from pipeline.datasets.imported import imported_card, read_embeddings
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
        When the files' ids are not those of the data set.
    """
    entry = study.models[model]
    card = imported_card(index.name, model)
    for split in SPLITS:
        rows = read_embeddings(imported_path(index.name, model), split)
        wanted = index.split(split)["path"].tolist()
        place = {name: row for row, name in enumerate(rows.ids)}
        absent = [name for name in wanted if name not in place]
        if absent or len(wanted) != len(place):
            raise ProbelineError(
                f"model {model} on data set {index.name}",
                f"the imported {split} embeddings are of other samples",
                expected=f"the {len(wanted):,} ids of the index",
                found=f"{len(rows.ids):,} rows; {len(absent):,} ids are missing"
                + (f", e.g. {absent[0]}" if absent else ""),
                remedy="export ids with the embeddings; with images, an id is the image's path",
            )
        features = rows.features[[place[name] for name in wanted]]
        with CellWriter(
            cell_address(index.name, model, split),
            key=cell_key(study, index, split, entry, card),
            ids=wanted,
            labels=index.labels(split),
            columns=card.columns,
            dtype=study.extraction.storage,
            wait=wait_seconds(),
        ) as writer:
            whole = False
            while not whole:  # twice where float16 turns out not to be enough
                for chunk in writer.missing:
                    writer.write(chunk, features[writer.rows_of(chunk)])
                whole = writer.commit()
        record_provenance(
            index.name,
            model,
            entry,
            card,
            split=split,
            images=len(wanted),
            seconds=0.0,
            remarks=(*writer.remarks, "imported, compute precision unknown"),
            device="imported",
            precision="imported",
        )
