"""Running a protocol over all cells of a study: only the records that are missing or stale."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cache.cell import Cell
from cache.errors import NonFiniteError, ProbelineError
from pipeline.datasets.index import Index, read_index
from pipeline.embeddings.cells import open_all_cells
from pipeline.embeddings.unavailable import unavailable
from pipeline.heads.normalization import Features
from pipeline.machine.backends import (
    ON_GPU,
    Choice,
    choose_backend,
    computing_on,
    device_name,
)
from pipeline.machine.device_memory import first_that_fits
from pipeline.machine.failures import all_in_one
from pipeline.machine.memory import VARIABLE, in_units
from pipeline.machine.process_pool import Cost, Report, job_memory, process_count, run_jobs
from pipeline.machine.progress import Progress
from pipeline.machine.shards import claimed, is_free, is_to_make
from pipeline.probes.cell_record import CellRecord
from pipeline.probes.needs import PROCESS, Need, Shape
from pipeline.probes.scoring import Outcome, outcome_table, score_rows
from pipeline.study.protocol import Protocol, Say
from pipeline.study.protocol_list import backends_offered, protocol_named
from pipeline.study.records import is_asked, record_key
from pipeline.study.schema import Study
from pipeline.study.variant import Variant
from pipeline.study.words import number_of


@dataclass(frozen=True)
class Source:
    """A data set that a transferred probe is trained on.

    Attributes
    ----------
    train : Cell
        Of the same model.
    classes : tuple of str
        Class names; a label is a position in it.
    train_groups : ndarray of shape (n_train,) of str, or None
        The group of each train image, as in `Task`.
    """

    train: Cell
    classes: tuple[str, ...]
    train_groups: NDArray[np.str_] | None = None


@dataclass(frozen=True)
class Task:
    """One model's embeddings of one data set, to be judged.

    Attributes
    ----------
    dataset, model : str
    train_cell : Cell or None
        None for test images that are scored by transfer alone.
    val : Cell
    classes : tuple of str
        Class names; a label is a position in it.
    groups : ndarray of shape (n_val,) of str, or None
        The group (site, camera, patient) of each val image, where the data set has groups; "" for
        an image without one.
    train_groups : ndarray of shape (n_train,) of str, or None
        Likewise of each train image.
    sources : mapping of str to Source
        By data set; for transfer only.
    streamed : bool
        Whether features are to be read in parts each time, as there is no room for all.
    backend : str
        What computes it; see `pipeline.machine.backends`.
    instead : Task or None
        How it is computed where the device's memory does not hold it.
    variants : tuple of Variant, or None
        What is to be computed; None: all that the study asks for.
    """

    dataset: str
    model: str
    train_cell: Cell | None
    val: Cell
    classes: tuple[str, ...]
    groups: NDArray[np.str_] | None = None
    train_groups: NDArray[np.str_] | None = None
    sources: Mapping[str, Source] = field(default_factory=dict)
    streamed: bool = False
    backend: str = "numpy"
    instead: Task | None = None
    variants: tuple[Variant, ...] | None = None

    def wanted(self, study: Study, protocol: Protocol) -> list[Variant]:
        """The variants that are to be computed, in the study's order."""
        return list(protocol.variants(study) if self.variants is None else self.variants)

    @property
    def train(self) -> Cell:
        """The train cell of a task that has one: all but some of the transfer protocol do."""
        assert self.train_cell is not None
        return self.train_cell


@dataclass(frozen=True)
class Scored:
    """What a protocol found on a task.

    Attributes
    ----------
    rows : list of dict
        One for each variant and metric; see `pipeline.probes.scoring.score_rows`.
    outcomes : pyarrow.Table
        Of every test image, see `pipeline.probes.scoring.outcome_table`; without rows where the
        protocol judges no images.
    """

    rows: list[dict[str, Any]]
    outcomes: pa.Table


Probe = Callable[[Task], Scored]


_Pending = tuple[CellRecord, Task]
"""A record that is to be made, and from what; the task's variants are those that are missing."""

_LOOK_UP = Need(PROCESS, PROCESS, 1.0)
"""Of a record of which everything is known."""


def run_protocol(
    study: Study,
    protocol: str,
    probe: Probe,
    need: Callable[[Task], Need] | None = None,
    *,
    by_model: bool = False,
    say: Say | None = None,
) -> tuple[int, int]:
    """Score every cell of the study.

    What a record of other settings holds of variants that are still asked for is taken over: only
    the others are computed.

    Parameters
    ----------
    study : Study
    protocol : str
    probe : callable
    need : callable, optional
        What a task takes, by which tasks are scheduled, streamed, and refused; as much as its
        features, by default.
    by_model : bool
        One process takes all data sets of a model, in order: for a probe that keeps something
        from one to the next. Else every cell may go to another process.
    say : callable, optional
        Told how many variants were known, and what computes the others, if there is a choice.

    Returns
    -------
    cached, computed : int
        Records of which everything was known, and of which something was computed.

    Raises
    ------
    ProbelineError
        When a cell is not what the study asks for, can't be scored, or needs more memory than
        there is: all such cells together, once the others are done. Records that are made stay.
    """
    choice = choose_backend(protocol, backends_offered())
    pending: list[_Pending] = []
    failed: list[ProbelineError] = []
    total = variants = new = computed = 0
    asked = tuple(protocol_named(protocol).variants(study))
    indexes = {dataset: read_index(dataset) for dataset in study.datasets}
    for model in study.models:
        cells = cache(lambda dataset, model=model: open_all_cells(study, indexes[dataset], model))

        def fingerprints(dataset: str, cells: Any = cells) -> dict[str, str]:
            of = {split: cell.manifest.numbers for split, cell in cells(dataset).items()}
            return {**of, **indexes[dataset].beside_cells}

        for dataset, index in indexes.items():
            if not is_asked(study, protocol, dataset, model):
                continue
            if any(unavailable(of, model) for of in (dataset, *_sources(study, protocol, dataset))):
                continue
            total += 1
            try:
                key = record_key(study, protocol, dataset, fingerprints)
                record = CellRecord(protocol, dataset, model, key, asked)
                if not record.is_current():
                    task = _task(index, model, cells, indexes, key.get("sources", ()))
                    known = record.look_up()
                    variants, new = variants + len(known.order), new + len(known.missing)
                    computed += bool(known.missing)
                    pending.append((record, replace(task, variants=known.missing)))
            except ProbelineError as error:
                failed.append(error)
    refused = len(failed)
    allowed, costs = _allowed(protocol, pending, need or _features_need, choice, failed)
    if say is not None:
        _say_work(say, new, variants, [task for _, task in allowed], choice)
    batches = [b for b in _batches(allowed, by_model=by_model) if is_free(_claim(b, by_model))]
    by_task = {id(task): cost for (_, task), cost in zip(allowed, costs, strict=True)}
    failed += run_jobs(
        partial(_score_unclaimed, protocol, probe, by_model),
        batches,
        process_count(len(batches)),
        Progress(protocol, len(allowed), "cells"),
        costs=[_together([by_task[id(task)] for _, task in batch]) for batch in batches],
        is_done=_are_there,
        gpus=choice.gpus if allowed else (),
    )
    if failed:
        raise all_in_one(protocol, failed, len(pending) + refused, "cells")
    return total - computed, computed


def _say_work(say: Say, new: int, variants: int, tasks: list[Task], choice: Choice) -> None:
    """How much is known already, and what computes the rest."""
    if new < variants:
        many = number_of(len(tasks), "cell")
        say(f"{number_of(new, 'variant')} of {variants:,} to compute, in {many}; others are kept")
    backends = [task.backend for task in tasks if task.variants != ()]
    if backends and len(choice.offered) > 1:
        say(choice.told(backends, "cells"))


def _task(
    index: Index,
    model: str,
    cells: Callable[[str], Mapping[str, Cell]],
    indexes: Mapping[str, Index],
    sources: Iterable[str],
) -> Task:
    of_splits = cells(index.name)
    return Task(
        index.name,
        model,
        of_splits.get("train"),
        of_splits["val"],
        index.classes,
        groups_of(index, "val"),
        groups_of(index, "train"),
        {
            name: Source(
                cells(name)["train"], indexes[name].classes, groups_of(indexes[name], "train")
            )
            for name in sources
        },
    )


def _allowed(
    protocol: str,
    pending: Sequence[_Pending],
    need: Callable[[Task], Need],
    choice: Choice,
    failed: list[ProbelineError],
) -> tuple[list[_Pending], list[Cost]]:
    """Tasks that the memory suffices for, streamed where they must be; others are refused."""
    allowed, costs = [], []
    budget = job_memory() if pending else 0
    for record, task in pending:
        asked = _LOOK_UP
        if task.variants != ():
            asked = need(task)
            task = replace(task, backend=choice.of(asked.work, asked.fits))
            asked = need(task)  # by that backend
        name = f"{protocol} of {task.model} on {task.dataset}"
        if asked.least() > budget:
            failed.append(_too_large(name, asked, budget))
            continue
        streamed = asked.held > budget
        size = asked.least() if streamed else asked.held
        task = replace(task, streamed=streamed)
        on_gpu = task.variants != () and choice.is_on_gpu(task.backend)
        if on_gpu:
            task = replace(task, instead=_instead(task, asked, choice))
        allowed.append((record, task))
        costs.append(Cost(name, size, asked.work, on_gpu))
    return allowed, costs


def _instead(task: Task, asked: Need, choice: Choice) -> Task | None:
    """In parts, which are read again and again; else on the CPU, unless a GPU was asked for."""
    on_cpu = replace(task, backend="numpy") if choice.asked == "auto" else None
    if task.streamed or asked.streamed is None:
        return on_cpu
    return replace(task, streamed=True, instead=on_cpu)


def _too_large(name: str, asked: Need, budget: int) -> ProbelineError:
    whole = "" if asked.streamed is not None else ", with all features in memory"
    return ProbelineError(
        name,
        "needs more memory than it may take",
        expected=f"at most {in_units(budget)} ({VARIABLE}, or what is free here)",
        found=f"about {in_units(asked.least())}{whole}",
        remedy=f"set {VARIABLE} to as much where the machine has it, run it on a larger one, or "
        "ask for less: fewer heads, or models of fewer features",
    )


def _together(costs: Sequence[Cost]) -> Cost:
    """Of what one process does one after the other."""
    largest = max(costs, key=lambda cost: cost.size)
    more = f" and {len(costs) - 1} more" if len(costs) > 1 else ""
    return Cost(
        largest.name + more,
        largest.size,
        sum(cost.work for cost in costs),
        any(cost.on_gpu for cost in costs),
    )


def _sources(study: Study, protocol: str, dataset: str) -> list[str]:
    """Other data sets whose cells a record is made of."""
    sources = protocol_named(protocol).sources
    return [] if sources is None else sources(study, dataset)


def judged(task: Task, outcomes: Sequence[Outcome]) -> Scored:
    """Outcomes on the task's val split, with their metrics."""
    labels = task.val.labels()
    rows = [
        row
        for outcome in outcomes
        for row in score_rows(
            outcome, labels, len(task.classes), task.train.manifest.rows, task.groups
        )
    ]
    return Scored(rows, outcome_table(outcomes))


def groups_of(index: Index, split: str) -> NDArray[np.str_] | None:
    """The group of each image of a split, "" for none; None where no image has one."""
    groups = index.split(split)["group"].fillna("").to_numpy(np.str_)
    return groups if groups.astype(bool).any() else None


def read_features(cell: Cell) -> Features:
    """All rows of a cell, in float32.

    Raises
    ------
    NonFiniteError
        When one is NaN or infinite; names it.
    """
    features = cell.read().astype(np.float32)
    if not np.isfinite(features).all():
        row = int(np.argmax(~np.isfinite(features).all(axis=1)))
        raise NonFiniteError(
            str(cell.address),
            "a cached feature is not a finite number",
            found=f"row {row} ({cell.ids()[row]})",
            remedy="run `probeline cache verify --deep`, delete the cell that it names, "
            "and run `dvc repro`",
        )
    return features


def _batches(pending: list[_Pending], *, by_model: bool) -> list[list[_Pending]]:
    if not by_model:
        return [[each] for each in pending]
    batches: dict[str, list[_Pending]] = {}
    for each in pending:
        batches.setdefault(each[-1].model, []).append(each)
    return list(batches.values())


def _claim(batch: list[_Pending], by_model: bool) -> Path:
    """What shards claim: a record, or all of a model, for what is kept from one to the next."""
    path = batch[0][0].path
    return path.parents[1] / path.name if by_model else path


def _score_unclaimed(
    protocol: str, probe: Probe, by_model: bool, batch: list[_Pending], report: Report
) -> None:
    """As `_score_cells`, where no other shard is at it or has done it."""
    with claimed(_claim(batch, by_model)) as mine:
        left = [each for each in batch if mine and is_to_make(each[0].path, each[0].key)]
        if left:
            _score_cells(protocol, probe, left, report)


def _score_cells(protocol: str, probe: Probe, batch: list[_Pending], report: Report) -> None:
    """Run a probe on one cell after the other and store each record; one stops no other."""
    failed = []
    for record, task in batch:
        try:
            record.make(partial(_computed, protocol, probe, task), task.val.manifest.rows)
        except ProbelineError as error:
            failed.append(_at(error, f"{task.model} on {task.dataset}"))
            continue
        report(1, "")
    if failed:
        raise all_in_one(protocol, failed, len(batch), "cells")


def _are_there(batch: list[_Pending]) -> bool:
    return all(record.is_current() for record, _ in batch)


def _computed(
    protocol: str, probe: Probe, task: Task, variants: tuple[Variant, ...]
) -> tuple[list[dict[str, Any]], pa.Table]:
    """What a probe finds, as its task asks, or as the device's memory allows; rows say on what."""
    what = f"{protocol} of {task.model} on {task.dataset}"
    ways = [task]
    while ways[-1].instead is not None:
        ways.append(ways[-1].instead)

    def attempt(way: Task) -> Scored:
        # So do heads that torch trains: no process but a GPU's own computes there.
        with computing_on("" if way.backend in ON_GPU else "cpu"):
            scored = probe(replace(way, variants=variants))
            for row in scored.rows:
                row["details"].setdefault("device", device_name(row["backend"]))
        return scored

    def moved(number: int) -> None:
        where = "in parts" if ways[number].backend == task.backend else "on the CPU"
        print(f"{what}: the device's memory does not hold it; computed {where}", file=sys.stderr)

    scored = first_that_fits([partial(attempt, way) for way in ways], what, moved)
    return scored.rows, scored.outcomes


def _at(error: ProbelineError, cell: str) -> ProbelineError:
    """The same error, which says of which cell it is where its place does not."""
    if "/" in error.place or cell in error.place:
        return error
    return type(error)(
        f"{cell}: {error.place}",
        error.problem,
        expected=error.expected,
        found=error.found,
        remedy=error.remedy,
    )


def _features_need(task: Task) -> Need:
    """Of a probe of which nothing is known: a few copies of the features."""
    cells = [*filter(None, (task.train_cell, task.val))]
    size = sum(c.manifest.rows * c.manifest.columns for c in cells)
    return Need(PROCESS + 16 * size, None, float(size))


def shape_of(task: Task) -> Shape:
    """Of a task's cells."""
    train = 0 if task.train_cell is None else task.train_cell.manifest.rows
    val = task.val.manifest
    return Shape(train, val.rows, val.columns, len(task.classes))
