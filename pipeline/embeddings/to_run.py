"""Which images `extract` is going to run: those that no cell holds and no stopped run has done.

Found by digests of images, those of the index and those of the cells. No embedding is read, but
rows that a stopped run keeps beside a cell (`cache.ahead`), which are few.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from cache.ahead import read_ahead
from cache.cell import Cell, is_current
from cache.chunking import Chunking
from cache.commits import is_usable, journals
from cache.fingerprint import fingerprint
from cache.journal import read_entries
from cache.rows import Digests, find_rows, make_plan
from pipeline.datasets.former_cells import digests_of
from pipeline.datasets.index import Index
from pipeline.embeddings.cells import cell_key, known_card, needed_splits, samples_of
from pipeline.embeddings.held import candidates, held_cells
from pipeline.embeddings.storage import Wanted, inherited, known_storages
from pipeline.project.paths import cell_address
from pipeline.study.schema import Study


class ToRun:
    """What is still to be run of some models on some data sets.

    The project's cells are listed once for all of these; where cells of several models are of the
    same images, those are compared once.

    Parameters
    ----------
    study : Study
    missing : mapping of str to (Index, sequence of str)
        By data set: the models of which cells are missing or stale. Where a model was never loaded
        here, nobody can name its cells, and every image counts.
    """

    def __init__(self, study: Study, missing: Mapping[str, tuple[Index, Sequence[str]]]) -> None:
        self._study = study
        self._digests: dict[tuple[str, str], Digests | None] = {}
        self._indexes = {name: index for name, (index, _) in missing.items()}
        self._wanted = {
            (name, model): self._cells(index, model)
            for name, (index, models) in missing.items()
            for model in models
        }
        keys = [c.key for cells in self._wanted.values() for c in (cells or {}).values()]
        self._held = held_cells(keys)
        self._known = known_storages() if any(self._held.values()) else {}
        self._find = _Remembered()

    def images(self, dataset: str, models: Sequence[str]) -> int:
        """How many a network sees that these models share, views of them included."""
        index = self._indexes[dataset]
        left: dict[str, NDArray[np.bool_]] = {}
        for model in models:
            cells = self._wanted[dataset, model]
            dtype = "float16" if cells is None else self._dtype(cells)
            for split in self._splits(index, model):
                rows = left.setdefault(
                    split, np.zeros(len(index.labels(samples_of(split)[0])), bool)
                )
                if cells is None:
                    rows[:] = True
                elif split in cells:
                    rows |= self._left(cells[split], dtype, len(rows))
        return sum(int(rows.sum()) for rows in left.values())

    def _splits(self, index: Index, model: str) -> tuple[str, ...]:
        entry = self._study.models[model]
        if entry.weights == "imported":
            return ()
        return needed_splits(self._study, entry, test_only="train" not in index.split_names)

    def _cells(self, index: Index, model: str) -> dict[str, Wanted] | None:
        """Those that are not there, by split; None where nobody can say what they would be."""
        card = known_card(self._study, index, model)
        if card is None:
            return None
        cells = {}
        for split in self._splits(index, model):
            key = cell_key(self._study, index, split, self._study.models[model], card)
            address = cell_address(index.name, model, split)
            if not is_current(address, key):
                digests = self._digests_of(index, samples_of(split)[0])
                cells[split] = Wanted(address, key, digests, card.columns)
        return cells

    def _digests_of(self, index: Index, split: str) -> Digests | None:
        if (index.name, split) not in self._digests:
            self._digests[index.name, split] = digests_of(index, split)
        return self._digests[index.name, split]

    def _dtype(self, cells: Mapping[str, Wanted]) -> str:
        """That rows are going to be stored in, as far as it is decided."""
        if self._study.extraction.storage == "float32" or not cells:
            return "float32"
        wanted = list(cells.values())
        begun = [storage for cell in wanted if (storage := cell.begun) is not None]
        storage = begun[0] if begun else inherited(wanted, self._held, self._known, self._find)
        return "float16" if storage is None else storage.dtype

    def _left(self, cell: Wanted, dtype: str, rows: int) -> NDArray[np.bool_]:
        """Which rows of a cell are to be computed."""
        begun = cell.begun
        left = np.ones(rows, bool)
        if cell.digests is not None:
            around = candidates(self._held, cell.key, cell.address)
            stored = dtype if begun is None else begun.dtype
            left = make_plan(cell.digests, stored, around, cell.columns, self._find).computed
        if begun is not None:
            chunking = Chunking.of(rows, cell.columns)
            for path in journals(cell.address.partial):
                for entry in read_entries(path)[0]:
                    if is_usable(entry, chunking, begun.dtype):
                        left[chunking.rows_of(entry["chunk"])] = False
        partial, name = cell.address.partial, fingerprint(cell.key)
        left[read_ahead(partial, name, rows, cell.columns).rows] = False
        return left


class _Remembered:
    """Finds rows by digests (`cache.rows.Finder`); of cells of the same images, once."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, str | None], NDArray[np.int32] | None] = {}

    def __call__(
        self, digests: Digests, missing: NDArray[np.intp], cell: Cell
    ) -> NDArray[np.int64]:
        key = id(digests), cell.made_of  # whoever asks keeps the digests
        if key not in self._found:
            found = find_rows(digests, cell).astype(np.int32)
            self._found[key] = found if (found >= 0).any() else None
        rows = self._found[key]
        if rows is None:
            return np.full(len(missing), -1, np.int64)
        return rows[missing].astype(np.int64)
