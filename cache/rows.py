"""Rows that the cache already holds: found by what they were made of, and copied.

A row depends on its image and on what was done with it, not on its place in a list. So a cell that
is built takes the rows that other whole cells hold, and only what is new is computed. Which row
comes from which cell is written beside the unfinished cell before any is copied; a run that goes on
later follows it, or finds that a cell has gone, and plans anew.

Lookups are of millions of digests: binary arrays, sorted once, no dictionaries of text.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cache.bundles import read_arrays, write_arrays
from cache.cell import ROW_BYTES, Cell, CellAddress
from cache.errors import CellCorruptError, CellMissingError
from cache.fingerprint import fingerprint
from cache.writer import CellWriter

_log = logging.getLogger(__name__)

Digests = NDArray[np.uint8]
"""Of shape (n_rows, ROW_BYTES)."""


def row_digests(hexadecimal: Sequence[str]) -> Digests:
    """SHA-256 as text, to what rows are found by: ndarray of shape (n_rows, ROW_BYTES)."""
    data = bytes.fromhex("".join(digest[: 2 * ROW_BYTES] for digest in hexadecimal))
    return np.frombuffer(data, np.uint8).reshape(len(hexadecimal), ROW_BYTES)


@dataclass(frozen=True)
class Plan:
    """Where each row of a cell comes from.

    Attributes
    ----------
    cells : tuple of Cell
        Whole cells that hold some of the rows.
    source : ndarray of shape (n_rows,), int32
        A position in `cells`; -1: to be computed.
    row : ndarray of shape (n_rows,), int64
        The row there.
    """

    cells: tuple[Cell, ...]
    source: NDArray[np.int32]
    row: NDArray[np.int64]

    @property
    def computed(self) -> NDArray[np.bool_]:
        """Which rows no cell holds."""
        return self.source < 0

    def uses(self, address: CellAddress) -> bool:
        """Whether rows come from that cell."""
        return any(cell.address == address for cell in self.cells)

    def copy_into(self, values: NDArray[np.float32], rows: slice) -> tuple[dict[str, int], bool]:
        """Fill in those of some rows that other cells hold; each chunk read is compared first.

        Parameters
        ----------
        values : ndarray of shape (n_rows, n_features)
            Of these rows.
        rows : slice

        Returns
        -------
        copied : dict of str to int
            Rows, by `name_of` the cell that they come from.
        rounded : bool
            Whether some were stored in float16.

        Raises
        ------
        CellCorruptError
            When a chunk is not what was written.
        """
        source, row = self.source[rows], self.row[rows]
        copied: dict[str, int] = {}
        rounded = False
        for number in np.unique(source[source >= 0]).tolist():
            cell, here = self.cells[number], np.flatnonzero(source == number)
            if cell.damaged_rows(row[here]).any():
                cell.read()  # refuses the damaged chunk by its name
            values[here] = cell.take(row[here])
            name = name_of(cell.address)
            copied[name] = copied.get(name, 0) + len(here)
            rounded |= cell.manifest.dtype == "float16"
        return copied, rounded


def name_of(address: CellAddress) -> str:
    """How provenance calls a cell: data set, model and split."""
    return f"{address.store.parent.name}/{address.store.stem}/{address.split}"


Finder = Callable[[Digests, NDArray[np.intp], Cell], NDArray[np.int64]]
"""Of all wanted rows, those that are still looked for, and a cell: the row there of each, or -1."""


def find_intact(digests: Digests, missing: NDArray[np.intp], cell: Cell) -> NDArray[np.int64]:
    """See `Finder`; each chunk that a row was found in is compared with what was written."""
    found = find_rows(digests[missing], cell)
    there = np.flatnonzero(found >= 0)
    found[there[cell.damaged_rows(found[there])]] = -1
    return found


def make_plan(
    digests: Digests,
    dtype: str,
    candidates: Iterable[Cell],
    columns: int,
    find: Finder = find_intact,
) -> Plan:
    """Look for rows in whole cells; what is damaged there, or rounded, is passed over.

    Parameters
    ----------
    digests : ndarray of shape (n_rows, ROW_BYTES)
        Of the rows that are wanted.
    dtype : {"float16", "float32"}
        That they will be stored in: no row of float16 comes into a cell of float32.
    candidates : iterable of Cell
        Cells of the same model, preferred ones first.
    columns : int
        Features of a row.
    find : callable
        See `Finder`.
    """
    source = np.full(len(digests), -1, np.int32)
    row = np.zeros(len(digests), np.int64)
    cells: list[Cell] = []
    for cell in candidates:
        missing = np.flatnonzero(source < 0)
        if not len(missing):
            break
        manifest = cell.manifest
        if manifest.columns != columns or (dtype, manifest.dtype) == ("float32", "float16"):
            continue
        found = find(digests, missing, cell)
        here = np.flatnonzero(found >= 0)
        if len(here):
            source[missing[here]], row[missing[here]] = len(cells), found[here]
            cells.append(cell)
    return Plan(tuple(cells), source, row)


def planned(writer: CellWriter, candidates: Iterable[Cell]) -> Plan:
    """The plan of an unfinished cell: as it was begun, or a new one, which is stored.

    Parameters
    ----------
    writer : CellWriter
        Of a cell whose rows have digests; others are computed.
    candidates : iterable of Cell

    Notes
    -----
    Where a cell that rows were to come from has gone, or is another now, a warning says so. The
    chunks that were committed stay: they are what they were.
    """
    begun, gone = _read_plan(writer)
    if begun is not None:
        return begun
    if writer.digests is None or writer.finished:
        return _nothing_held(writer.rows)
    plan = make_plan(writer.digests, writer.dtype, candidates, writer.columns)
    if plan.cells:
        _write_plan(writer.address, plan)
    else:
        writer.address.plan.unlink(missing_ok=True)
    if gone:
        _log.warning(
            "%s: rows were to be copied from %s, which has gone or changed; planned anew: %d of %d "
            "rows are copied",
            writer.address, gone, np.count_nonzero(~plan.computed), writer.rows,
        )  # fmt: skip
    return plan


def _nothing_held(rows: int) -> Plan:
    return Plan((), np.full(rows, -1, np.int32), np.zeros(rows, np.int64))


def copy_rows(writer: CellWriter, plan: Plan) -> bool:
    """Fill a cell whose every missing row is planned to come from others.

    Returns
    -------
    bool
        False when the cell turns out to need float32, which rows in float16 are not good for.
    """
    for chunk in writer.missing:
        rows = writer.rows_of(chunk)
        values = np.empty((rows.stop - rows.start, writer.columns), np.float32)
        copied, rounded = plan.copy_into(values, rows)
        writer.write(chunk, values, copied=copied, rounded=rounded)
    return not writer.missing


def find_rows(wanted: Digests, cell: Cell) -> NDArray[np.int64]:
    """The row of a cell that is each row of `wanted`, or -1; its embeddings are not read.

    By their first 64 bits; a row whose first 64 bits two digests share may be passed over, and is
    computed then.
    """
    try:
        held = cell.digests()
    except CellCorruptError:
        held = None
    if held is None:
        return np.full(len(wanted), -1, np.int64)
    parts = (np.ascontiguousarray(digests).view(np.uint64) for digests in (wanted, held))
    wanted_start, held_start = (np.ascontiguousarray(part[:, 0]) for part in parts)
    order = np.argsort(held_start, kind="stable")
    place = np.searchsorted(held_start[order], wanted_start)
    found = order[np.minimum(place, len(order) - 1)]
    same = (held[found] == wanted).all(axis=1)
    return np.where(same, found, -1).astype(np.int64)


def _write_plan(address: CellAddress, plan: Plan) -> None:
    write_arrays(
        address.plan,
        stores=[str(cell.address.store) for cell in plan.cells],
        splits=[cell.address.split for cell in plan.cells],
        seals=[_seal_of(cell) for cell in plan.cells],
        source=plan.source,
        row=plan.row,
    )


def _read_plan(writer: CellWriter) -> tuple[Plan | None, str]:
    """The stored plan, if it can still be followed; and the cell for whose want it can't."""
    try:
        found = read_arrays(writer.address.plan)
        source, row = found["source"].astype(np.int32), found["row"].astype(np.int64)
        cells = list(zip(found["stores"], found["splits"], found["seals"], strict=True))
    except (OSError, CellCorruptError, ValueError, KeyError, TypeError):
        return None, ""
    if writer.digests is None or not source.shape == row.shape == (writer.rows,):
        return None, ""
    needed = np.zeros(writer.rows, bool)
    for chunk in writer.missing:
        needed[writer.rows_of(chunk)] = True
    opened: list[Cell] = []
    followed = np.full(writer.rows, -1, np.int32)
    for number, (store, split, seal) in enumerate(cells):
        here = needed & (source == number)
        if not here.any():
            continue
        address = CellAddress(Path(str(store)), str(split))
        try:
            cell = Cell.open(address)
            same = _seal_of(cell) == seal
            made_of = cell.digests()
        except (CellMissingError, CellCorruptError, OSError, ValueError):
            return None, str(address)
        same &= cell.manifest.columns == writer.columns
        rounded = (writer.dtype, cell.manifest.dtype) == ("float32", "float16")
        if not same or rounded or not _are_of(made_of, row[here], writer.digests[here]):
            return None, str(address)
        if cell.damaged_rows(row[here]).any():
            return None, str(address)
        followed[here] = len(opened)
        opened.append(cell)
    return Plan(tuple(opened), followed, row), ""


def _are_of(held: Digests | None, rows: NDArray[np.int64], wanted: Digests) -> bool:
    """Whether a cell's rows are of those images: a copied folder's plan may say anything."""
    if held is None or rows.min() < 0 or rows.max() >= len(held):
        return False
    return bool((held[rows] == wanted).all())


def _seal_of(cell: Cell) -> str:
    """What tells a cell from all others, were they made for the same key."""
    return fingerprint([cell.manifest.key, cell.manifest.digests])
