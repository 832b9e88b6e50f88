"""Finding damaged cells and computing again only what is damaged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cache.cell import CellAddress
from cache.files import write_durably
from cache.repair import disown, mend_root, reopen, restore_description
from cache.verify import Fault, altered, verify
from pipeline.datasets.index import Index, read_index
from pipeline.embeddings.cells import needed_splits
from pipeline.project.paths import cell_address, provenance_path
from pipeline.study.schema import Study


@dataclass(frozen=True)
class Mended:
    """What a repair did.

    Attributes
    ----------
    chunks : int
        Computed again.
    cells : int
        Mended.
    refused : list of str
        Cells that could not be mended, a line each, with what to do.
    """

    chunks: int
    cells: int
    refused: list[str]


def mend(study: Study, damaged: Iterable[CellAddress]) -> Mended:
    """Compute the damaged chunks of cells again, and check the result.

    Parameters
    ----------
    study : Study
        Must still name the cells: only then is it known how to compute them.
    damaged : iterable of CellAddress

    Raises
    ------
    ProbelineError
        As extraction does, e.g. when the images are not there.
    """
    damaged = list(damaged)
    for address in damaged:
        _disowned_faults(address)
        restore_description(address)  # from the root's copy, so before the root is written anew
    for store in {address.store for address in damaged}:
        mend_root(store)
    todo: dict[str, set[str]] = {}
    refused = []
    chunks = 0
    addresses = []
    for address in damaged:
        dataset, model = address.store.parent.name, address.store.stem
        if dataset not in study.datasets or model not in study.models:
            refused.append(f"{address}: the study does not name it; delete it or restore it")
            continue
        if not _disowned_faults(address):
            addresses.append(address)  # only a description was damaged, and is restored
            continue
        missing = reopen(address)
        if missing is None:
            refused.append(f"{address}: its description is lost; delete it and run `dvc repro`")
            continue
        chunks += missing
        addresses.append(address)
        todo.setdefault(dataset, set()).add(model)
    for dataset, models in todo.items():
        from pipeline.embeddings.missing import (
            extract_models,  # torch: only when there is something to do
        )

        # What the cells cost stays what it was: the repair is not their price.
        records = {
            path: path.read_bytes()
            for model in models
            if (path := provenance_path(dataset, model)).exists()
        }
        extract_models(study, read_index(dataset), sorted(models))
        for path, record in records.items():
            write_durably(path, record)
    for address in addresses:
        refused += [f"{fault}" for fault in verify(address, deep=True)]
    return Mended(chunks, len(addresses), refused)


def set_aside(study: Study, index: Index, model: str) -> None:
    """Make cells that were written to into unfinished ones, which lack only what is damaged."""
    test_only = "train" not in index.split_names
    for split in needed_splits(study, study.models[model], test_only=test_only):
        address = cell_address(index.name, model, split)
        if altered(address):
            _disowned_faults(address)
            reopen(address)


def _disowned_faults(address: CellAddress) -> list[Fault]:
    """What is wrong with a cell, after telling DVC's cache, if the cell is linked with it."""
    faults = verify(address, deep=True)
    for fault in faults:
        disown(fault.path)
    return faults
