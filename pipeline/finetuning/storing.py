"""Fine-tune what a study misses, and store each run as it ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from cache.errors import ProbelineError
from cache.records import is_current_record, write_record
from cache.removal import discard
from pipeline.datasets.index import Index
from pipeline.finetuning.assembling import put_together
from pipeline.finetuning.cells import (
    epochs_of,
    keys_of,
    run_path,
    runs_to_do,
    unfinished_path,
)
from pipeline.finetuning.run import finetune_cell
from pipeline.machine.devices import this_machine
from pipeline.machine.failures import all_in_one
from pipeline.machine.process_pool import Report, process_count, run_jobs
from pipeline.machine.progress import Progress
from pipeline.machine.shards import claimed, is_free, is_to_make
from pipeline.probes.scoring import outcome_table, score_rows
from pipeline.probes.task import groups_of
from pipeline.study.finetune import FINETUNE
from pipeline.study.schema import Study


@dataclass(frozen=True)
class Pending:
    """One run of one cell."""

    study: Study
    index: Index
    model: str
    run: str
    key: Mapping[str, Any]


def finetune_all(study: Study, cells: Sequence[tuple[Index, str]]) -> None:
    """Train what is missing of some cells; each run is stored as it ends, and then the records.

    On a CPU every training has one thread and a process of its own, so that its numbers do not
    depend on how many run at once; on GPUs they run one after the other. With
    ``DASK_SCHEDULER_ADDRESS`` set they go to that cluster.

    Parameters
    ----------
    study : Study
    cells : sequence of (Index, str)
        Data sets and models.

    Raises
    ------
    ProbelineError
        When some runs failed: all others were done, and are kept.
    """
    jobs = [
        Pending(study, index, model, run, keys_of(study, index, model)[run])
        for index, model in cells
        for run in runs_to_do(study, index, model)
    ]
    failed = _train_all(jobs)
    for index, model in cells:
        if not runs_to_do(study, index, model):
            put_together(study, index, model)
    if failed:
        raise all_in_one(FINETUNE.name, failed, len(jobs), "runs")


def finetune_one(job: Pending, report: Report) -> None:
    """Train one run from where it was left, and store it; but for what another shard is at."""
    threads = torch.get_num_threads()
    if this_machine().devices[0].type == "cpu":
        torch.set_num_threads(1)
    try:
        with claimed(_path(job)) as mine:
            if mine and is_to_make(_path(job), job.key):
                _finetune(job, report)
    finally:
        torch.set_num_threads(threads)


def _path(job: Pending) -> Path:
    return run_path(job.index.name, job.model, job.key)


def _train_all(jobs: Sequence[Pending]) -> list[ProbelineError]:
    on_cpu = this_machine().devices[0].type == "cpu"
    workers = process_count(len(jobs)) if on_cpu else 1
    epochs = sum(epochs_of(job.study.finetune.runs[job.run]) for job in jobs)
    progress = Progress(FINETUNE.name, epochs, "epochs")
    free = [job for job in jobs if is_free(_path(job))]
    return run_jobs(
        finetune_one,
        free,
        workers,
        progress,
        is_done=lambda job: is_current_record(_path(job), job.key),
    )


def _finetune(job: Pending, report: Report) -> None:
    where = f"{job.run} of {job.model} on {job.index.name}"
    kept = unfinished_path(job.key)
    found = finetune_cell(
        job.study,
        job.index.name,
        job.model,
        job.run,
        kept=kept,
        advance=lambda epochs, words: report(epochs, f"{where}: {words}"),
    )
    index = job.index
    rows = score_rows(
        found.outcome,
        index.labels("val"),
        len(index.classes),
        found.n_train,
        groups_of(index, "val"),
    )
    # The curves lie in the first row alone: they are long, and of the run, not of a metric.
    history = [
        asdict(epoch) | {"chosen": epoch.epoch == found.chosen_epoch} for epoch in found.history
    ]
    details = found.details | {"cost": found.cost}
    rows = [row | {"details": details} for row in rows]
    rows[0] = rows[0] | {"details": details | {"history": history}}
    write_record(
        _path(job),
        key=job.key,
        scores=rows,
        outcomes=outcome_table([found.outcome]),
    )
    discard(kept)
