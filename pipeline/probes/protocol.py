"""Running a protocol over all cells of a study: only the records that are missing or stale."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from pipeline.machine.backends import Choice, choose_backend
from pipeline.machine.failures import all_in_one
from pipeline.machine.process_pool import Cost, Report, process_count, run_jobs
from pipeline.machine.progress import Progress
from pipeline.machine.shards import claimed, is_free, is_to_make
from pipeline.probes.admitting import allowed_tasks, features_need
from pipeline.probes.computing import score_cells
from pipeline.probes.needs import Need
from pipeline.probes.pending import Pending, Work, find_work
from pipeline.probes.task import Probe, Task
from pipeline.project.words import number_of
from pipeline.study.protocol import Say
from pipeline.study.protocol_list import backends_offered
from pipeline.study.schema import Study


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
    work = find_work(study, protocol)
    failed = work.failed
    known_to_fail = len(failed)
    allowed, costs = allowed_tasks(protocol, work.pending, need or features_need, choice, failed)
    if say is not None:
        _say_work(say, work, [task for _, task in allowed], choice)
    score = partial(_score_unclaimed, protocol, probe, by_model)
    at_hand = [each for each in allowed if _is_known(each)]
    looked_up = [b for b in ([each] for each in at_hand) if is_free(_claim(b, by_model))]
    # In this process: another takes a second to start, and a look-up some milliseconds.
    progress = Progress(protocol, len(at_hand), "cells")
    failed += run_jobs(score, looked_up, 1, progress, cluster=False)
    rest = [each for each in allowed if not _is_known(each)]
    batches = [b for b in _batches(rest, by_model=by_model) if is_free(_claim(b, by_model))]
    by_task = {id(task): cost for (_, task), cost in zip(allowed, costs, strict=True)}
    failed += run_jobs(
        score,
        batches,
        process_count(len(batches)),
        Progress(protocol, len(rest), "cells"),
        costs=[_together([by_task[id(task)] for _, task in batch]) for batch in batches],
        is_done=_are_there,
        gpus=choice.gpus if rest else (),
    )
    if failed:
        raise all_in_one(protocol, failed, len(work.pending) + known_to_fail, "cells")
    return work.total - work.computed, work.computed


def _say_work(say: Say, work: Work, tasks: list[Task], choice: Choice) -> None:
    """How much is known already, and what computes the rest."""
    if work.missing < work.variants:
        new, many = number_of(work.missing, "variant"), number_of(len(tasks), "cell")
        say(f"{new} of {work.variants:,} to compute, in {many}; others are kept")
    backends = [task.backend for task in tasks if task.variants != ()]
    if backends and len(choice.offered) > 1:
        say(choice.told(backends, "cells"))


def _batches(pending: list[Pending], *, by_model: bool) -> list[list[Pending]]:
    if not by_model:
        return [[each] for each in pending]
    batches: dict[str, list[Pending]] = {}
    for each in pending:
        batches.setdefault(each[-1].model, []).append(each)
    return list(batches.values())


def _claim(batch: list[Pending], by_model: bool) -> Path:
    """What shards claim: a record, or all of a model, for what is kept from one to the next."""
    path = batch[0][0].path
    return path.parents[1] / path.name if by_model else path


def _score_unclaimed(
    protocol: str, probe: Probe, by_model: bool, batch: list[Pending], report: Report
) -> None:
    """As `score_cells`, where no other shard is at it or has done it."""
    with claimed(_claim(batch, by_model)) as mine:
        left = [each for each in batch if mine and is_to_make(each[0].path, each[0].key)]
        if left:
            score_cells(protocol, probe, left, report)


def _is_known(each: Pending) -> bool:
    """Whether nothing of a record is to be computed."""
    return each[1].variants == ()


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


def _are_there(batch: list[Pending]) -> bool:
    return all(record.is_current() for record, _ in batch)
