"""Cells of the project that hold rows which a cell to be made could take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cache.cell import Cell, CellAddress
from pipeline.datasets.former_cells import held_cells_of
from pipeline.embeddings.cells import rows_made_by


def held_cells(keys: Sequence[Mapping[str, Any]]) -> dict[str, list[Cell]]:
    """The whole cells of the project that hold rows as some keys ask for, by `rows_made_by`.

    In the order of data sets, models, splits.
    """
    wanted = {made for key in keys if (made := rows_made_by(key)) is not None}
    held: dict[str, list[Cell]] = {made: [] for made in wanted}
    for cell in held_cells_of("*") if wanted else ():
        made = rows_made_by(cell.manifest.key)
        if made in wanted:
            held[made].append(cell)
    return held


def candidates(
    held: Mapping[str, list[Cell]], key: Mapping[str, Any], to: CellAddress
) -> list[Cell]:
    """Cells to take rows from: what lies at the place itself, beside it, then all others."""
    cells = held.get(rows_made_by(key) or "", [])
    return sorted(cells, key=lambda c: (c.address != to, c.address.store != to.store))
