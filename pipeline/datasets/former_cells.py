"""Cells of the former layout learn from the index what their rows were made of.

They did not say it themselves, so nobody could copy a row of them once the index had changed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from cache.cell import Cell, CellAddress
from cache.errors import CellCorruptError, CellMissingError
from cache.rows import Digests, row_digests
from cache.sealing import seal_digests
from pipeline.datasets.index import Index
from pipeline.project.paths import EMBEDDINGS, SPLITS


def held_cells_of(dataset: str) -> Iterator[Cell]:
    """The whole cells of a data set, or of all (``*``), in the order of their paths."""
    for path in sorted(EMBEDDINGS.glob(f"{dataset}/*.zarr/*/zarr.json")):
        with contextlib.suppress(CellMissingError, CellCorruptError):
            yield Cell.open(CellAddress(path.parents[1], path.parent.name))


def digests_of(index: Index, split: str) -> Digests | None:
    """What the rows of a split are made of; None of samples without images."""
    digests = index.digests(split)
    return row_digests(digests) if digests and all(digests) else None


def seal_former_cells(index: Index) -> int:
    """Tell cells of the former layout what their rows were made of, while the index knows it.

    Returns
    -------
    int
        Cells that were told. Imported ones are not, as their rows are of a file; nor are views,
        which were seeded by the number of their row.
    """
    sealed = 0
    for cell in held_cells_of(index.name):
        key, split = cell.manifest.key, cell.address.split
        if (
            cell.manifest.format == 1
            and split in SPLITS
            and key.get("precision") != "imported"
            and key.get("samples") == index.samples_digest(split)
            and (digests := digests_of(index, split)) is not None
        ):
            sealed += seal_digests(cell.address, digests)
    return sealed
