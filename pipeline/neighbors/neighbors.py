"""The nearest train images of every cell, searched once and stored for every way of voting.

One file per cell and space (metric x normalisation) holds the val images' neighbours in train and,
for selection and data checks, the train images' own, each image left out of its neighbours.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cache.cell import Cell
from cache.errors import CellMissingError, CellStaleError, ProbelineError
from cache.fingerprint import differences
from cache.records import is_current_record, read_record, repeated, write_record
from pipeline.datasets.index import read_index
from pipeline.embeddings.cells import open_cells
from pipeline.embeddings.unavailable import available
from pipeline.machine.backends import ON_GPU, choose_backend, device_name
from pipeline.machine.failures import all_in_one
from pipeline.machine.memory import free_memory, memory_budget
from pipeline.machine.process_pool import Cost, Report, process_count, run_jobs
from pipeline.machine.progress import Progress
from pipeline.machine.shards import claimed, is_free, is_to_make
from pipeline.neighbors.banks import Bank, CellBank
from pipeline.neighbors.leave_one_out import stratified
from pipeline.neighbors.library_search import nearest_by
from pipeline.neighbors.points import rounded
from pipeline.neighbors.search import Neighbors
from pipeline.project.paths import neighbors_path
from pipeline.study.neighbors import Neighbors as Settings
from pipeline.study.protocol import Say
from pipeline.study.protocol_list import backends_offered
from pipeline.study.schema import Study

FORMAT = 1
"""Part of every file's key: raised when the numbers, the draw or the layout change."""

FREE_SHARE = 0.5
"""Of the free memory, what all searches together may take; the rest is for tables and the system's
own cache of files."""

Space = tuple[str, str]
"""Metric and normalisation."""


@dataclass(frozen=True)
class Stored:
    """The neighbours of one split's images, as they are stored.

    Attributes
    ----------
    samples : ndarray of shape (n_queries,), int32
        Row of each query in its split.
    distances : ndarray of shape (n_queries, k), float64
        Nearest first, rounded to float32 (relative 6e-8; the search is exact to 1e-6); 0 for
        equal rows and for no others.
    indices : ndarray of shape (n_queries, k), int32
        Rows of the train split.
    seconds : float
        That the search took.
    backend : str
        What searched.
    device : str
        On what; files of an earlier version do not know a GPU's name.
    """

    samples: NDArray[np.int32]
    distances: NDArray[np.float64]
    indices: NDArray[np.int32]
    seconds: float
    backend: str
    device: str = "cpu"


def spaces(settings: Settings) -> list[Space]:
    """The spaces that a study names, in its order."""
    return [(metric, n) for metric in settings.metric for n in settings.normalization]


def compute_neighbors(study: Study, say: Say = lambda _: None) -> tuple[int, int]:
    """Search what the study misses; files of spaces that it no longer names stay.

    Parameters
    ----------
    study : Study
    say : callable
        Told what searches.

    Returns
    -------
    cached, computed : int
        Files found current, and files made.

    Raises
    ------
    ProbelineError
        When a cell is not what the study asks for, the memory does not suffice, or the backend
        can't do it: all such cells together, once the others are done. Files that are made stay.
    """
    choice = choose_backend("neighbors", backends_offered())
    pending = []
    total = 0
    for dataset, entry in study.datasets.items():
        if entry.test_only:  # there are no train images to be near to
            continue
        index = read_index(dataset)
        for model in available(study, dataset):
            train, val = open_cells(study, index, model)
            for space in spaces(study.neighbors):
                total += 1
                key = neighbors_key(study.neighbors, space, train, val)
                path = neighbors_path(dataset, model, *space)
                if not is_current_record(path, key):
                    pending.append((key, path, train, val))
    if pending:
        costs = [_cost(path, train, val) for _, path, train, val in pending]
        jobs = [(choice.of(cost.work), *job) for cost, job in zip(costs, pending, strict=True)]
        backends = [backend for backend, *_ in jobs]
        say(choice.told(backends, "searches"))
        # Features are streamed: no cell's size bounds how many searches run at once.
        workers = process_count(len(pending))
        share = int(FREE_SHARE * memory_budget()) // max(workers, len(choice.gpus))
        places = [p for p, job in enumerate(jobs) if is_free(job[2])]
        failed = run_jobs(
            partial(_search, share),
            [jobs[p] for p in places],
            workers,
            Progress("neighbors", len(pending), "cells"),
            costs=[replace(costs[p], on_gpu=choice.is_on_gpu(backends[p])) for p in places],
            is_done=lambda job: is_current_record(job[2], job[1]),
            gpus=choice.gpus,
        )
        if failed:
            raise all_in_one("neighbors", failed, len(pending), "searches")
    return total - len(pending), len(pending)


def _cost(path: Path, train: Cell, val: Cell) -> Cost:
    """Of a search; its memory is limited, whatever the cells are."""
    size = train.manifest.rows * train.manifest.columns
    return Cost(f"neighbors {path}", 0, float(size) * (val.manifest.rows + train.manifest.rows))


def neighbors_key(settings: Settings, space: Space, train: Cell, val: Cell) -> dict[str, Any]:
    """Everything that the stored neighbours of one cell in one space depend on."""
    metric, normalization = space
    return {
        "format": FORMAT,
        "metric": metric,
        "normalization": normalization,
        "keep": settings.n_neighbors,
        "train": train.manifest.numbers,
        "val": val.manifest.numbers,
    }


def read_neighbors(
    settings: Settings, dataset: str, model: str, space: Space, train: Cell, val: Cell
) -> dict[str, Stored]:
    """The stored neighbours of one cell, checked against the study: of ``val`` and of ``train``.

    Raises
    ------
    CellMissingError, CellStaleError, CellCorruptError
        When they are not what the study asks for.
    """
    path = neighbors_path(dataset, model, *space)
    record = read_record(path)
    remedy = "run `dvc repro` (or `python -m stages.neighbors`)"
    if record is None:
        raise CellMissingError(str(path), "the neighbours are missing", remedy=remedy)
    changed = differences(record.key, neighbors_key(settings, space, train, val))
    if changed:
        raise CellStaleError(
            str(path),
            "the stored neighbours answer another question",
            found="; ".join(changed),
            remedy=remedy,
        )
    table = record.outcomes()
    splits = table["split"].to_numpy()
    samples = table["sample"].to_numpy()
    distances, indices = (matrix_of(table[name]) for name in ("distances", "indices"))
    stored = {}
    for facts in record.scores:
        rows = np.flatnonzero(splits == facts["split"])
        part = slice(rows[0], rows[-1] + 1)
        k = facts["k"]
        stored[facts["split"]] = Stored(
            samples[part],
            distances[part, :k].astype(np.float64),
            indices[part, :k],
            facts["seconds"],
            facts["backend"],
            facts.get("device", "unknown" if facts["backend"] in ON_GPU else "cpu"),
        )
    return stored


def _search(share: int, job: tuple[str, dict[str, Any], Path, Cell, Cell], report: Report) -> None:
    backend, key, path, train, val = job
    with claimed(path) as mine:
        if mine and is_to_make(path, key):
            search_cell(backend, share, key, path, train, val)
            report(1, "")


def search_cell(
    backend: str, share: int, key: dict[str, Any], path: Path, train: Cell, val: Cell
) -> None:
    """Search one cell in one space and store its file.

    Parameters
    ----------
    backend : str
        See `pipeline.machine.backends.BACKENDS`.
    share : int
        Bytes of memory that the search may take.
    key : dict
        See `neighbors_key`.
    path : Path
    train, val : Cell

    Raises
    ------
    ProbelineError
        When the memory does not suffice, or the backend can't do it.
    """
    memory = min(share, int(FREE_SHARE * _free_memory(backend)))
    bank = CellBank(train)
    own = stratified(train.labels()).astype(np.int32)
    queries: dict[str, tuple[Bank, NDArray[np.int32] | None]] = {
        "val": (CellBank(val), None),
        "train": (_Some(bank, own), own),
    }
    found: dict[str, Neighbors] = {}
    facts: list[dict[str, Any]] = []
    for split, (asked, left_out) in queries.items():
        start = time.perf_counter()
        k = min(key["keep"], bank.rows - (left_out is not None))
        try:
            found[split] = nearest_by(
                backend,
                bank,
                asked,
                k,
                key["metric"],
                key["normalization"],
                own=left_out,
                memory=memory,
            )
        except ProbelineError as error:
            raise error.at(f"{error.place} of {split} images for {path}") from error
        seconds = round(time.perf_counter() - start, 4)
        on = {"backend": backend, "device": device_name(backend)}
        facts.append({"split": split, "k": k, **on, "seconds": seconds})
    samples = {"val": np.arange(val.manifest.rows, dtype=np.int32), "train": own}
    write_record(path, key=key, scores=facts, outcomes=_table(samples, found))


def _free_memory(backend: str) -> int:
    """Bytes that are free where the backend computes."""
    free = free_memory()
    if backend == "torch":
        from pipeline.neighbors import torch_scanning  # takes seconds to import

        free = min(free, torch_scanning.free_memory() or free)
    return free


@dataclass(frozen=True)
class _Some(Bank):
    """Some rows of a bank, ascending: a `Bank` itself."""

    bank: Bank
    numbers: NDArray[np.int32]

    @property
    def rows(self) -> int:
        return len(self.numbers)

    @property
    def columns(self) -> int:
        return self.bank.columns

    @property
    def chunk_bytes(self) -> int:
        return 2 * self.bank.chunk_bytes  # a chunk, and the rows taken from it

    def chunks(self) -> Iterator[tuple[slice, NDArray[np.floating]]]:
        for rows, values in self.bank.chunks():
            first, last = np.searchsorted(self.numbers, [rows.start, rows.stop])
            if first < last:
                yield slice(first, last), values[self.numbers[first:last] - rows.start]

    def take(self, rows: NDArray[np.integer]) -> NDArray[np.floating]:
        return self.bank.take(self.numbers[rows])

    def describe(self, row: int) -> str:
        return self.bank.describe(int(self.numbers[row]))


def _table(samples: dict[str, NDArray[np.int32]], found: dict[str, Neighbors]) -> pa.Table:
    """Both splits below each other; the shorter lists end in -1 and infinity."""
    width = max(each.indices.shape[1] for each in found.values())
    sizes = [len(samples[split]) for split in found]
    return pa.table(
        {
            "split": repeated(list(found), sizes),
            "sample": np.concatenate([samples[split] for split in found]),
            "indices": _lists([each.indices for each in found.values()], width, -1),
            "distances": _lists([rounded(f.distances) for f in found.values()], width, np.inf),
        }
    )


def _lists(parts: list[NDArray[Any]], width: int, filler: float) -> pa.FixedSizeListArray:
    padded = [
        np.pad(part, ((0, 0), (0, width - part.shape[1])), constant_values=filler) for part in parts
    ]
    values = pa.array(np.concatenate(padded).ravel())
    element = pa.field("element", values.type)  # as Parquet names it, so that schemas compare
    return pa.FixedSizeListArray.from_arrays(values, type=pa.list_(element, width))


def matrix_of(column: pa.ChunkedArray) -> NDArray[Any]:
    """Lists of one length, as rows."""
    lists = column.combine_chunks()
    matrix: NDArray[Any] = lists.flatten().to_numpy().reshape(len(column), -1)
    return matrix
