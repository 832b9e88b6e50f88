"""The records that answer a study, among all that lie in its folder."""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from cache.errors import CellMissingError, CellStaleError
from cache.fingerprint import fingerprint
from cache.manifest import numbers_of
from cache.records import Record, read_record
from pipeline.embeddings.cells import cell_key, fingerprints_of, open_all_cells
from pipeline.datasets.index import Index, read_index
from pipeline.machine.environment import cpu_count
from pipeline.project.paths import cell_address, record_path
from pipeline.embeddings.provenance import recorded_card, recorded_storage
from pipeline.study.records import is_asked, key_on
from pipeline.study.schema import Study

Found = TypeVar("Found")


class Current:
    """The records that answer a study: its settings, and the very cells that it asks for.

    A record of a cell that has since been computed otherwise (in another precision, say) is not
    among them, even where a killed run has not yet scored the new cell: such scores would be
    compared with others that they can't be compared with.

    Parameters
    ----------
    study : Study
    """

    def __init__(self, study: Study) -> None:
        self._study = study
        self._index = functools.cache(read_index)
        self._cells = functools.cache(self._fingerprints)
        self._records = functools.cache(self._read)

    def record(self, protocol: str, dataset: str, model: str) -> Record | None:
        """The record of a protocol on a cell; None when there is none, or one of something else.

        Read once: statistics ask for the same one many times.

        Raises
        ------
        CellCorruptError
            When the record is damaged.
        ProbelineError
            When the data set is not indexed.
        """
        return self._records(protocol, dataset, model)

    def read_each(
        self, protocol: str, dataset: str, read: Callable[[Record], Found | None]
    ) -> dict[str, Found]:
        """What is found in the models' records of a protocol on a data set, several at once.

        Parameters
        ----------
        protocol, dataset : str
        read : callable
            None where a record has nothing of what is looked for.

        Returns
        -------
        dict
            By model, in the study's order; without those that have no record, or nothing in it.
        """
        records = {m: self.record(protocol, dataset, m) for m in self._study.models}
        there = {model: record for model, record in records.items() if record is not None}
        with ThreadPoolExecutor(cpu_count()) as pool:  # Parquet is decoded without Python's lock
            found = dict(zip(there, pool.map(read, there.values()), strict=True))
        return {model: of for model, of in found.items() if of is not None}

    def index(self, dataset: str) -> Index:
        """A data set's index, read once."""
        return self._index(dataset)

    def _read(self, protocol: str, dataset: str, model: str) -> Record | None:
        if not is_asked(self._study, protocol, dataset, model):
            return None
        record = read_record(record_path(protocol, dataset, model))
        if record is None:
            return None
        try:
            key = key_on(
                self._study,
                protocol,
                self._index(dataset),
                model,
                lambda name: self._cells(name, model),
            )
        except (CellMissingError, CellStaleError):
            return None
        return record if fingerprint(record.key) == fingerprint(key) else None

    def _fingerprints(self, dataset: str, model: str) -> dict[str, str]:
        """Of the cells that the study asks for, and of the classes' names."""
        study, index = self._study, self._index(dataset)
        if cell_address(dataset, model, "val").store.exists():
            return fingerprints_of(index, open_all_cells(study, index, model))
        # A clone that pulled results without embeddings: the record of their origin tells.
        entry = study.models[model]
        card = recorded_card(dataset, model, entry)
        if card is None:
            raise CellMissingError(
                f"model {model} on data set {dataset}",
                "there are neither embeddings nor provenance",
            )
        of = {
            s: numbers_of(
                cell_key(study, index, s, entry, card), recorded_storage(dataset, model, s)
            )
            for s in index.split_names
        }
        return {**of, **index.beside_cells}
