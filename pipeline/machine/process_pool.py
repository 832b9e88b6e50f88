"""Independent jobs in a pool of processes on this machine, or on the workers of a Dask cluster.

Jobs start from the largest on; each by its own size: so many run at once as the memory holds, with
as many BLAS threads as its share of the processors, mostly one: on small problems two threads in
one fit are slower than one (measured: 7 times, on 2 cores). A job that fails stops no other.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from multiprocessing.queues import SimpleQueue
from typing import Any, TypeAlias, TypeVar

import threadpoolctl

from cache.errors import ProbelineError
from pipeline.machine.environment import cpu_count
from pipeline.machine.memory import VARIABLE, free_memory, in_units, memory_budget
from pipeline.machine.progress import Progress

APART = 1 << 28
"""Bytes from which a job does not run in this process, even where it is the only one: who is killed
for memory can't say so."""

J = TypeVar("J")

Report = Callable[[int, str], None]
"""Takes how much was done since (cells, epochs), and a few words on how it goes."""

_Results: TypeAlias = Generator[Callable[[], object], None, None]
"""For each job as it ends, a function that raises its error."""

_REPORT_SECONDS = 0.2


@dataclass(frozen=True)
class Cost:
    """What a job takes.

    Attributes
    ----------
    name : str
        Of what it computes, for messages.
    size : int
        Bytes of its process.
    work : float
        To be compared with other jobs'.
    """

    name: str = ""
    size: int = 0
    work: float = 0.0


@dataclass(frozen=True)
class _Job:
    """A job, and with how many threads it may compute."""

    job: Any
    cost: Cost
    threads: int


def process_count(jobs: int) -> int:
    """How many processes take so many jobs, at most."""
    return max(1, min(jobs, cpu_count()))


def job_memory() -> int:
    """Bytes that one job may take: of this machine, or of the cluster's largest worker."""
    if os.environ.get("DASK_SCHEDULER_ADDRESS"):
        from pipeline.machine.cluster import worker_memory

        return worker_memory()
    return memory_budget()


def run_jobs(
    function: Callable[[J, Report], None],
    jobs: Sequence[J],
    workers: int,
    progress: Progress,
    *,
    costs: Sequence[Cost] = (),
    cluster: bool = True,
    is_done: Callable[[J], bool] | None = None,
) -> list[ProbelineError]:
    """Call `function` once for each job, whatever becomes of the others.

    Parameters
    ----------
    function : callable
        Stores its own result; importable by other processes. It is given a job and a `Report`.
    jobs : sequence
    workers : int
        Processes at most (see `process_count`); with one, this process does small jobs itself.
    progress : Progress
        Counts what is reported.
    costs : sequence of Cost, optional
        Of each job.
    cluster : bool
        With ``DASK_SCHEDULER_ADDRESS`` set, the jobs go to that cluster's workers in the project's
        folder, see `pipeline.machine.cluster`.
    is_done : callable, optional
        Whether a job's result lies here; asked of what the cluster says it has done.

    Returns
    -------
    list of ProbelineError
        Of the jobs that failed, or whose process the system killed.
    """
    priced = list(zip(jobs, costs or [Cost()] * len(jobs), strict=True))
    priced.sort(key=lambda job: (-job[1].work, -job[1].size))
    failed = []
    started = _started(function, priced, workers, progress, cluster, is_done)
    with progress, closing(started) as results:
        for result in results:
            try:
                result()
            except ProbelineError as error:
                failed.append(error)
    return failed


def _started(
    function: Callable[[Any, Report], None],
    priced: Sequence[tuple[Any, Cost]],
    workers: int,
    progress: Progress,
    cluster: bool,
    is_done: Callable[[Any], bool] | None,
) -> _Results:
    if priced and cluster and os.environ.get("DASK_SCHEDULER_ADDRESS"):
        from pipeline.machine.cluster import run_on_cluster

        named = [(job, cost.name, cost.size) for job, cost in priced]
        return run_on_cluster(partial(_work, function), named, is_done, progress)
    if workers > 1 or any(cost.size > APART for _, cost in priced):
        return _in_processes(function, _shares(priced, workers), workers, progress)
    here = [_Job(job, cost, cpu_count()) for job, cost in priced]
    return (partial(_call, function, job, progress.advance) for job in here)


def _shares(priced: Sequence[tuple[Any, Cost]], workers: int) -> list[_Job]:
    """Each job's threads: its share of the processors where as many as fit run at once."""
    budget = memory_budget()
    at_once = [max(1, min(workers, budget // max(1, cost.size))) for _, cost in priced]
    return [
        _Job(job, cost, max(1, cpu_count() // n))
        for (job, cost), n in zip(priced, at_once, strict=True)
    ]


def _call(function: Callable[[J, Report], None], job: _Job, report: Report) -> None:
    try:
        with threadpoolctl.threadpool_limits(job.threads):
            function(job.job, report)
    except MemoryError as error:
        raise _out_of_memory("", job.cost, f"the system refused it memory ({error})") from None


def _in_processes(
    function: Callable[[Any, Report], None],
    jobs: Sequence[_Job],
    workers: int,
    progress: Progress,
) -> _Results:
    """All jobs; those that ran when a process was killed again, one by one, to find out whose."""
    waiting = list(jobs)
    while waiting:
        suspects = yield from _in_pool(function, waiting, workers, progress)
        for job in suspects:
            alone = [job]
            if (yield from _in_pool(function, alone, 1, progress)):
                yield partial(_killed, progress.name, job.cost)


def _killed(stage: str, cost: Cost) -> None:
    why = "the system killed the process that computed it, most likely for want of memory"
    raise _out_of_memory(stage, cost, why)


def _out_of_memory(stage: str, cost: Cost, why: str) -> ProbelineError:
    needs = f"; about {in_units(cost.size)} reckoned" if cost.size else ""
    return ProbelineError(
        cost.name or stage or "a job",
        why,
        found=f"{in_units(free_memory())} free now{needs}",
        remedy=f"free memory, or give less to what runs at once ({VARIABLE}=4GB dvc repro, or "
        "taskset -c 0 dvc repro); what was stored stays, the next run goes on from there",
    )


def _in_pool(
    function: Callable[[Any, Report], None],
    waiting: list[_Job],
    workers: int,
    progress: Progress,
) -> Generator[Callable[[], object], None, list[_Job]]:
    """Jobs off the list, until it is empty or a process dies; returns what ran when one died."""
    context = multiprocessing.get_context("spawn")
    reports = context.SimpleQueue()
    budget = 0
    with ProcessPoolExecutor(workers, context, _begin_process, (reports,)) as pool:
        # Only what runs at once is submitted: what the pool has queued would outlive Ctrl-C.
        running: dict[Future[None], _Job] = {}
        while waiting or running:
            # What is free while some run is not what was free for them.
            budget = budget if running else memory_budget()
            while (job := _next(waiting, list(running.values()), workers, budget)) is not None:
                try:
                    running[pool.submit(_in_process, function, job)] = job
                except BrokenProcessPool:  # between two looks
                    waiting.insert(0, job)
                    if not running:
                        return []
                    break
            finished, _ = wait(running, _REPORT_SECONDS, FIRST_COMPLETED)
            while not reports.empty():
                progress.advance(*reports.get())
            if any(isinstance(future.exception(), BrokenProcessPool) for future in finished):
                done = [f for f in running if f.done() and not _broke(f)]
                yield from (future.result for future in done)
                return [job for future, job in running.items() if future not in done]
            for future in finished:
                del running[future]
                yield future.result
    return []


def _broke(future: Future[None]) -> bool:
    return isinstance(future.exception(), BrokenProcessPool)


def _next(waiting: list[_Job], running: list[_Job], workers: int, budget: int) -> _Job | None:
    """The largest job that there is room for, taken off the list; any where none runs."""
    room = budget - sum(job.cost.size for job in running)
    threads = cpu_count() - sum(job.threads for job in running)
    if len(running) < workers:
        for place, job in enumerate(waiting):
            if not running or (job.cost.size <= room and job.threads <= threads):
                return waiting.pop(place)
    return None


_reports: SimpleQueue[tuple[int, str]]
"""Of a process of the pool: where it reports what it has done."""


def _begin_process(reports: SimpleQueue[tuple[int, str]]) -> None:
    """Where to report to; and an end of this process when its parent is killed."""
    global _reports
    _reports = reports
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _in_process(function: Callable[[Any, Report], None], job: _Job) -> None:
    _call(function, job, lambda count, words: _reports.put((count, words)))


def _work(function: Callable[[J, Report], None], job: J) -> int:
    """Do a job on a worker of the cluster; how much it reported, all in one."""
    counts: list[int] = []
    _call(function, _Job(job, Cost(), 1), lambda count, words: counts.append(count))
    return sum(counts)
