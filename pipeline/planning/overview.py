"""How a study stands: which cells and records are there, which are missing or stale, and why."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from cache.cell import Cell, CellAddress
from cache.errors import ProbelineError
from cache.records import is_current_record
from pipeline.datasets.index import Index, read_index
from pipeline.embeddings.cells import cell_status, fingerprints_of, needed_splits
from pipeline.embeddings.unavailable import unavailable
from pipeline.project.paths import EMBEDDINGS, cell_address, record_path
from pipeline.project.words import number_of
from pipeline.study.records import Fingerprints, is_asked, key_on, protocols_of
from pipeline.study.schema import Study


@dataclass(frozen=True)
class ToDo:
    """Something that is not up to date.

    Attributes
    ----------
    place : str
        ``DATASET`` or ``DATASET/MODEL``.
    what : str
    why : str
        What is special here, or "".
    """

    place: str
    what: str
    why: str = ""

    @property
    def kind(self) -> str:
        """The same words for all that are not up to date in the same way."""
        return self.what.replace(f" {self.place}", "")

    def __str__(self) -> str:
        return f"{self.place}: {self.what}" + (f" ({self.why})" if self.why else "")


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
    asked : dict of str to int
        By protocol: models of which the study asks for a record; 0: it is not run here.
    todo : list of ToDo
        What is not.
    without_weights : set of str
        Models that have no cells because their weights could not be fetched.
    stored : Counter of str
        Whole cells by how their rows are stored.
    """

    name: str
    cached: int
    records: dict[str, int]
    asked: dict[str, int]
    todo: list[ToDo]
    without_weights: set[str] = field(default_factory=set)
    stored: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Overview:
    """How a whole study stands."""

    protocols: tuple[str, ...]
    datasets: list[DatasetOverview]


def study_overview(study: Study) -> Overview:
    """Look at every cell and record of a study; imports no torch."""
    index_of = functools.cache(read_index)
    datasets = [_dataset_overview(study, name, index_of) for name in study.datasets]
    return Overview(protocols_of(study), datasets)


def to_score(study: Study, protocol: str) -> list[tuple[str, str]]:
    """Cells, (data set, model), whose record a study asks for and does not have."""
    if protocol not in protocols_of(study):
        return []
    index_of = functools.cache(read_index)
    found = []
    for dataset in study.datasets:
        for model in study.models:
            if not is_asked(study, protocol, dataset, model):
                continue
            cells = functools.partial(_cells, index_of, model)
            fingerprints = functools.partial(_fingerprints, index_of, cells)
            try:
                scored = _is_scored(study, protocol, index_of(dataset), model, fingerprints)
            except ProbelineError:  # it is not indexed yet
                scored = False
            if not scored:
                found.append((dataset, model))
    return found


def data_lines(study: Study) -> list[str]:
    """What is left out of the data sets that are indexed, and what is white in them."""
    lines = []
    for name in study.datasets:
        try:
            index = read_index(name)
        except ProbelineError:  # said of the data set already
            continue
        if index.skipped:
            images = number_of(
                len(index.skipped), "image can't be read and is", "images can't be read and are"
            )
            lines.append(f"{name}: {images} left out")
        lines += [f"{name}: {line}" for line in index.left_out + index.notes]
    return lines


def cells_on_disk() -> list[CellAddress]:
    """Every whole or damaged cell of the cache, sorted.

    Raises
    ------
    ProbelineError
        When a folder there has a name that no data set or model can have.
    """
    groups = sorted(EMBEDDINGS.glob("*/*.zarr/*/"))
    return [
        cell_address(group.parents[1].name, group.parent.stem, group.name)
        for group in groups
        if group.is_dir()
    ]


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
            test_only = study.datasets[dataset].test_only
            for split in needed_splits(study, study.models[model], test_only=test_only):
                roles[cell_address(dataset, model, split)] = state
    return roles


def _dataset_overview(study: Study, name: str, index_of: Callable[[str], Index]) -> DatasetOverview:
    none = dict.fromkeys(protocols_of(study), 0)
    asked = {p: sum(is_asked(study, p, name, m) for m in study.models) for p in none}
    try:
        index = index_of(name)
    except ProbelineError as error:
        return DatasetOverview(name, 0, none, asked, [ToDo(name, error.problem)])
    cached = 0
    records = dict(none)
    todo: list[ToDo] = []
    stored = Counter[str]()
    without_weights: set[str] = set()
    for model in study.models:
        status = cell_status(study, index, model)
        if status.state != "cached":
            why = unavailable(name, model) or status.detail
            todo.append(ToDo(f"{name}/{model}", f"embeddings {status.state}", why))
            without_weights |= {model} if unavailable(name, model) else set()
            continue
        cached += 1
        # Opened once for all protocols: with hundreds of cells, reading manifests is what costs.
        cells = functools.cache(functools.partial(_cells, index_of, model))
        found = functools.cache(functools.partial(_fingerprints, index_of, cells))
        stored.update(str(cell.manifest.storage) for cell in cells(name).values())
        for protocol in records:
            if not is_asked(study, protocol, name, model):
                continue
            if _is_scored(study, protocol, index, model, found):
                records[protocol] += 1
            else:
                there = record_path(protocol, name, model).exists()
                settings = " with these settings (or its record is damaged)" if there else ""
                todo.append(ToDo(f"{name}/{model}", f"{protocol} not scored{settings}"))
    return DatasetOverview(name, cached, records, asked, todo, without_weights, stored)


def _cells(index_of: Callable[[str], Index], model: str, dataset: str) -> dict[str, Cell]:
    splits = index_of(dataset).split_names
    return {split: Cell.open(cell_address(dataset, model, split)) for split in splits}


def _fingerprints(
    index_of: Callable[[str], Index], cells: Callable[[str], dict[str, Cell]], dataset: str
) -> dict[str, str]:
    return fingerprints_of(index_of(dataset), cells(dataset))


def _is_scored(
    study: Study, protocol: str, index: Index, model: str, fingerprints: Fingerprints
) -> bool:
    try:
        key = key_on(study, protocol, index, model, fingerprints)
    except ProbelineError:  # a data set that a transferred probe is trained on is not there
        return False
    return is_current_record(record_path(protocol, index.name, model), key)
