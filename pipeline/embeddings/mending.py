"""Finding damaged cells and computing again only what is damaged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cache.cell import CellAddress
from cache.repair import disown, is_being_mended, mend_root, reopen, restore_description
from cache.verify import Fault, altered, verify
from pipeline.datasets.index import Index, read_index
from pipeline.embeddings.cells import needed_splits
from pipeline.embeddings.provenance import kept_path
from pipeline.project.paths import EMBEDDINGS, cell_address, provenance_path
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
    for store in {address.store for address in damaged if address.store.is_dir()}:
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
        if is_being_mended(address):  # by a run that was stopped: it lies there unfinished
            missing: int | None = 0
        elif not _disowned_faults(address):
            addresses.append(address)  # only a description was damaged, and is restored
            continue
        else:
            missing = reopen(address, _what_it_cost(address))
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

        extract_models(study, read_index(dataset), sorted(models))
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
            reopen(address, _what_it_cost(address))


def mending_begun() -> list[CellAddress]:
    """Cells that a repair took from their place, and was stopped before it put them back."""
    found = sorted(EMBEDDINGS.glob("*/*.partial/"))
    return [a for a in map(CellAddress.of_partial, found) if is_being_mended(a)]


def _what_it_cost(address: CellAddress) -> dict[str, bytes]:
    """The record of a cell, to be kept beside it: a repair is not its price."""
    path = provenance_path(address.store.parent.name, address.store.stem)
    return {kept_path(address).name: path.read_bytes()} if path.exists() else {}


def _disowned_faults(address: CellAddress) -> list[Fault]:
    """What is wrong with a cell, after telling DVC's cache, if the cell is linked with it."""
    faults = verify(address, deep=True)
    for fault in faults:
        disown(fault.path)
    return faults
