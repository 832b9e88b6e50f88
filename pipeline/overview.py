"""How a study stands: which cells and records are there, which are missing or stale, and why."""

from __future__ import annotations

from dataclasses import dataclass

from cache.cell import CellAddress
from cache.errors import CellCorruptError, ProbelineError
from cache.records import is_current_record
from pipeline.cells import cell_status, needed_splits, open_cells
from pipeline.index import Index, read_index
from pipeline.paths import EMBEDDINGS, PROTOCOLS, cell_address, record_path
from pipeline.records import record_key
from pipeline.study import Section, Study


@dataclass(frozen=True)
class DatasetOverview:
    """How one data set stands.

    Attributes
    ----------
    name : str
    cached : int
        Models whose embeddings are current.
    records : dict of str to int
        By protocol: models whose record is current.
    todo : list of str
        What is not, a line each, with the reason.
    """

    name: str
    cached: int
    records: dict[str, int]
    todo: list[str]


@dataclass(frozen=True)
class Overview:
    """How a whole study stands."""

    protocols: tuple[str, ...]
    datasets: list[DatasetOverview]


def study_overview(study: Study) -> Overview:
    """Look at every cell and record of a study; imports no torch."""
    return Overview(PROTOCOLS, [_dataset_overview(study, name) for name in study.datasets])


def cells_on_disk() -> list[CellAddress]:
    """Every whole or damaged cell of the cache, sorted."""
    groups = sorted(EMBEDDINGS.glob("*/*.zarr/*/"))
    return [CellAddress(group.parent, group.name) for group in groups if group.is_dir()]


def roles_of_cells(study: Study) -> dict[CellAddress, str]:
    """For each cell that the study names: cached, missing, stale or damaged."""
    roles = {}
    for dataset in study.datasets:
        try:
            index = read_index(dataset)
        except ProbelineError as error:
            states = dict.fromkeys(study.models, error.problem)
        else:
            states = {m: cell_status(study, index, m).state for m in study.models}
        for model, state in states.items():
            for split in needed_splits(study, study.models[model]):
                roles[cell_address(dataset, model, split)] = state
    return roles


def _dataset_overview(study: Study, name: str) -> DatasetOverview:
    try:
        index = read_index(name)
    except ProbelineError as error:
        return DatasetOverview(name, 0, dict.fromkeys(PROTOCOLS, 0), [f"{name}: {error.problem}"])
    cached = 0
    records = dict.fromkeys(PROTOCOLS, 0)
    todo = []
    for model in study.models:
        status = cell_status(study, index, model)
        if status.state != "cached":
            detail = f" ({status.detail})" if status.detail else ""
            todo.append(f"{name}/{model}: embeddings {status.state}{detail}")
            continue
        cached += 1
        for protocol in PROTOCOLS:
            if _record_is_current(study, index, model, protocol):
                records[protocol] += 1
            else:
                todo.append(f"{name}/{model}: {protocol} not scored with these settings")
    return DatasetOverview(name, cached, records, todo)


def _record_is_current(study: Study, index: Index, model: str, protocol: str) -> bool:
    settings: Section = getattr(study, protocol)
    try:
        train, val = open_cells(study, index, model)
        path = record_path(protocol, index.name, model)
        return is_current_record(path, record_key(protocol, settings, train, val))
    except CellCorruptError:
        return False
