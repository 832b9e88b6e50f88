"""The type that a model's rows are stored in: what cells that are there, or begun, say of it.

It belongs to the rows (weights, feature, transform, precision), and is taken over by every cell
that copies some. So no file of its own keeps it: it is in the cells' descriptions, in those of
unfinished cells as well, and a clone that pulled cells knows it.

Where no cell says it, it is decided on images of the data set at hand, before any chunk is written
(`pipeline.embeddings.sampling`). Not on images of all data sets: others may not be on this machine
yet, and adding one must change nothing. A data set whose values need float32 begins a generation,
which those that come later take over; what is stored in float16 stays, and is copied as float16.
Of data sets that are extracted at the same time, whoever writes its decision first was earlier.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cache.cell import Cell, CellAddress
from cache.errors import CellCorruptError, CellMissingError
from cache.fingerprint import canonical_json
from cache.layout import NAME as LAYOUT
from cache.layout import read_layout
from cache.rows import Digests, Finder, find_intact, make_plan, name_of
from cache.storage import Storage
from pipeline.datasets.former_cells import held_cells_of
from pipeline.embeddings.cells import model_of_rows
from pipeline.embeddings.held import candidates
from pipeline.project.paths import EMBEDDINGS


@dataclass(frozen=True)
class Wanted:
    """A cell that is to be made.

    Attributes
    ----------
    address : CellAddress
    key : mapping
    digests : ndarray of shape (n_samples, ROW_BYTES), optional
        Of its rows.
    columns : int
    """

    address: CellAddress
    key: Mapping[str, Any]
    digests: Digests | None
    columns: int

    @property
    def begun(self) -> Storage | None:
        """What was decided by a run that was stopped, or by another shard."""
        layout = read_layout(self.address.partial)
        if layout is None or canonical_json(layout.key) != canonical_json(self.key):
            return None
        return layout.storage


Known = Mapping[str, Storage]
"""The newest storage of a model's rows in the project, by `model_of_rows`."""

_Stamp = tuple[int, int, int, int]
"""Of a file: inode, size, both times."""


class Storages:
    """What all cells of the project say of their models' rows, whole and unfinished ones.

    Those for which float16 was preferred: of others, the type says nothing of their values.
    """

    def __init__(self) -> None:
        self._said: dict[Path, tuple[_Stamp, tuple[str, Storage] | None]] = {}

    def look(self) -> dict[str, Storage]:
        """See `Known`. Looked again, only what is new or was written to meanwhile is read."""
        paths = [
            *sorted(EMBEDDINGS.glob("*/*.zarr/*/zarr.json")),
            *sorted(EMBEDDINGS.glob(f"*/*.partial/{LAYOUT}")),
        ]
        former, self._said = self._said, {}
        newest: dict[str, Storage] = {}
        for path in paths:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # it has just gone
                stamp = _stamp(path)
                known = former.get(path)
                said = known[1] if known is not None and known[0] == stamp else _said_by(path)
                self._said[path] = stamp, said
                if said is not None:
                    model, taken = said
                    newest[model] = max(newest.get(model, taken), taken, key=_age)
        return newest


def known_storages() -> dict[str, Storage]:
    """`Storages.look`, once."""
    return Storages().look()


def _stamp(path: Path) -> _Stamp:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _said_by(path: Path) -> tuple[str, Storage] | None:
    """A cell's `model_of_rows` and storage, by its description or by what it will be."""
    if path.name == LAYOUT:
        layout, address = read_layout(path.parent), CellAddress.of_partial(path.parent)
        if layout is None:
            return None
        key, storage = layout.key, layout.storage
    else:
        address = CellAddress(path.parents[1], path.parent.name)
        try:
            manifest = Cell.open(address).manifest
        except (CellMissingError, CellCorruptError):
            return None
        key, storage = manifest.key, manifest.storage
    model = model_of_rows(key) if _is_decided(key) else None
    return None if model is None else (model, _taken_from(storage, address))


def inherited(
    wanted: Sequence[Wanted],
    held: Mapping[str, list[Cell]],
    known: Known,
    find: Finder = find_intact,
) -> Storage | None:
    """How the cells of a model on a data set are stored, as far as other cells say it.

    Parameters
    ----------
    wanted : sequence of Wanted
        All that are to be made, of all splits and views.
    held : mapping of str to list of Cell
        See `pipeline.embeddings.held.held_cells`.
    known : Known
    find : callable
        See `cache.rows.make_plan`.

    Returns
    -------
    Storage or None
        That of the cells from which most rows can be copied; where none can, that of the model's
        other cells on the data set (a cell that is made again is what it was), or of a generation
        in float32. None where it is to be decided.
    """
    copied: Counter[str] = Counter()
    sources: dict[str, Storage] = {}
    for cell in wanted:
        if cell.digests is None:
            continue
        around = [
            c for c in candidates(held, cell.key, cell.address) if _is_decided(c.manifest.key)
        ]
        plan = make_plan(cell.digests, "float16", around, cell.columns, find)
        for number, source in enumerate(plan.cells):
            dtype = source.manifest.dtype
            copied[dtype] += int((plan.source == number).sum())
            sources.setdefault(dtype, _taken_from(source.manifest.storage, source.address))
    if copied:
        return sources["float32" if copied["float32"] >= copied["float16"] else "float16"]
    if beside := _beside(wanted[0]):
        return min(beside, key=_age)
    return in_float32(known, wanted[0].key)


def in_float32(known: Known, key: Mapping[str, Any]) -> Storage | None:
    """The newest storage of a model's rows, where that is a generation in float32.

    Parameters
    ----------
    known : Known
    key : mapping
        Of a cell of that model.
    """
    newest = known.get(model_of_rows(key) or "")
    return newest if newest is not None and newest.dtype == "float32" else None


def _beside(wanted: Wanted) -> list[Storage]:
    """What was decided of the whole cells that lie in the same store, of the same rows."""
    store, model = wanted.address.store, model_of_rows(wanted.key)
    around = [
        cell.manifest for cell in held_cells_of(store.parent.name) if cell.address.store == store
    ]
    return [
        manifest.storage
        for manifest in around
        if _is_decided(manifest.key)
        and manifest.generation
        and model_of_rows(manifest.key) == model
    ]


def follows(known: Storage | None, dtype: str, decided: str, why: str = "") -> Storage:
    """What is decided on images of a data set, after what is known of the model's rows.

    Parameters
    ----------
    known : Storage, optional
    dtype : {"float16", "float32"}
    decided : str
        On what, in words.
    why : str
        It is float32.
    """
    former = 0 if known is None else known.generation
    if dtype == "float16":
        return Storage(dtype, max(1, former), decided)
    begins = f"; generation {former + 1} of the model's rows begins here" if former else ""
    remark = f"stored in float32: {why}, {decided}{begins}"
    return Storage(dtype, former + 1, decided, (remark,))


def _is_decided(key: Mapping[str, Any]) -> bool:
    """Whether a cell's type says something of its values: else the user asked for it."""
    return bool(key.get("storage") == "float16")


def _taken_from(storage: Storage, address: CellAddress) -> Storage:
    """The storage of a cell as others take it over; of former cells it has no generation yet."""
    name = name_of(address)
    remarks = (f"stored in float32: as the rows of {name}",) * (storage.dtype == "float32")
    taken = replace(storage, decided=f"as the rows of {name}", remarks=remarks)
    return taken if taken.generation else replace(taken, generation=1)


def _age(storage: Storage) -> tuple[int, bool]:
    return storage.generation, storage.dtype == "float32"
