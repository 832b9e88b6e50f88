"""An unfinished cell with all that may lie beside it, as a run leaves it that was stopped."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np

from cache.ahead import Ahead
from cache.cell import Cell, CellAddress
from cache.fingerprint import fingerprint
from cache.rows import Plan, planned, row_digests
from cache.storage import Storage
from cache.writer import CellWriter

ROWS, COLUMNS = 600, 4
KEY = {"k": 1}
VALUES = np.random.default_rng(0).normal(size=(ROWS, COLUMNS)).astype(np.float32)
_DIGESTS = row_digests([hashlib.sha256(b"%d" % n).hexdigest() for n in range(ROWS)])


def begin(folder: Path) -> CellAddress:
    """Rows ahead, a plan, a journal with one chunk, a layout; and the cell that is copied from."""
    shutil.rmtree(folder, ignore_errors=True)
    with writer(_held(folder), {"other": 1}) as other:
        for chunk in other.missing:
            other.write(chunk, VALUES[other.rows_of(chunk)])
        assert other.commit()
    rows = np.arange(0, ROWS, 9)
    ahead = Ahead(rows, VALUES[rows], 0.25)
    address = CellAddress(folder / "m.zarr", "train")
    with writer(address, KEY, storage=Storage("float16", 1, "on all images"), ahead=ahead) as cell:
        assert planned(cell, [Cell.open(_held(folder))]).cells
        cell.write(0, VALUES[cell.rows_of(0)])
    return address


def plan(address: CellAddress) -> Plan:
    """That of the unfinished cell, as a run finds it that goes on: anew where it is of no use."""
    with writer(address, KEY) as cell:
        return planned(cell, [])


def finish(address: CellAddress, folder: Path) -> Cell:
    """Go on with it, or with a copy of it, until it is whole; the folder is where it was begun."""
    with writer(address, KEY) as cell:
        while True:
            follow = planned(cell, [Cell.open(_held(folder))])
            for chunk in cell.missing:
                span = cell.rows_of(chunk)
                values = VALUES[span].copy()
                known = cell.ahead.inside(span)
                values[cell.ahead.rows[known] - span.start] = cell.ahead.values[known]
                copied, rounded = follow.copy_into(values, span)
                cell.write(chunk, values, copied=copied, rounded=rounded)
            if not cell.missing and cell.commit():
                return Cell.open(address, fingerprint(KEY))


def writer(address: CellAddress, key: object, **decided: object) -> CellWriter:
    """Of a cell of all rows."""
    ids = [str(n) for n in range(ROWS)]
    return CellWriter(
        address, key=key, ids=ids, labels=np.arange(ROWS), columns=COLUMNS, digests=_DIGESTS,
        **decided,
    )  # fmt: skip


def _held(folder: Path) -> CellAddress:
    return CellAddress(folder / "held.zarr", "train")
