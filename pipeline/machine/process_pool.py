"""Independent jobs in a pool of processes on this machine, or on the workers of a Dask cluster.

Jobs start from the largest on; each by its own size: so many run at once as the memory holds, with
as many BLAS threads as its share of the processors, mostly one: on small problems two threads in
one fit are slower than one (measured: 7 times, on 2 cores). A job that fails stops no other.

Each GPU has one process, which takes one job of those that compute on a GPU after the other.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from multiprocessing.queues import SimpleQueue
from typing import Any, TypeAlias, TypeVar

import threadpoolctl

from cache.errors import ProbelineError
from pipeline.machine.backends import computing_on
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
    on_gpu : bool
        Whether it computes on a GPU, where there are some.
    """

    name: str = ""
    size: int = 0
    work: float = 0.0
    on_gpu: bool = False


@dataclass(frozen=True)
class _Job:
    """A job, with how many threads it may compute, and where, unless its process has a device."""

    job: Any
    cost: Cost
    threads: int
    device: str = ""


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
    gpus: Sequence[str] = (),
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
    gpus : sequence of str
        Devices for the jobs that compute on a GPU: each has a process of its own, and all other
        processes compute on the CPU. Without them, every process looks for itself.

    Returns
    -------
    list of ProbelineError
        Of the jobs that failed, or whose process the system killed.
    """
    priced = list(zip(jobs, costs or [Cost()] * len(jobs), strict=True))
    priced.sort(key=lambda job: (-job[1].work, -job[1].size))
    failed = []
    started = _started(function, priced, workers, progress, cluster, is_done, gpus)
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
    gpus: Sequence[str],
) -> _Results:
    if priced and cluster and os.environ.get("DASK_SCHEDULER_ADDRESS"):
        from pipeline.machine.cluster import run_on_cluster

        named = [(job, cost.name, cost.size) for job, cost in priced]
        return run_on_cluster(partial(_work, function), named, is_done, progress)
    side_by_side = workers > 1 or (len(gpus) > 1 and len(priced) > 1)
    if side_by_side or any(cost.size > APART for _, cost in priced):
        return _in_processes(function, _shares(priced, workers, gpus), workers, progress, gpus)
    here = [
        _Job(job, cost, cpu_count(), (gpus[0] if cost.on_gpu else "cpu") if gpus else "")
        for job, cost in priced
    ]
    return (partial(_call, function, job, progress.advance) for job in here)


def _shares(
    priced: Sequence[tuple[Any, Cost]], workers: int, gpus: Sequence[str] = ()
) -> list[_Job]:
    """Each job's threads: its share of the processors where as many as fit run at once."""
    budget = memory_budget()
    jobs = []
    for job, cost in priced:
        fits = budget // max(1, cost.size)
        if gpus and cost.on_gpu:  # one share of the processors is left to those without a GPU
            shares, device = max(1, min(len(gpus), fits)) + 1, ""
        else:
            shares, device = max(1, min(workers, fits)), "cpu" if gpus else ""
        jobs.append(_Job(job, cost, max(1, cpu_count() // shares), device))
    return jobs


def _call(function: Callable[[J, Report], None], job: _Job, report: Report) -> None:
    try:
        with threadpoolctl.threadpool_limits(job.threads), computing_on(job.device):
            function(job.job, report)
    except MemoryError as error:
        raise _out_of_memory("", job.cost, f"the system refused it memory ({error})") from None


def _in_processes(
    function: Callable[[Any, Report], None],
    jobs: Sequence[_Job],
    workers: int,
    progress: Progress,
    gpus: Sequence[str],
) -> _Results:
    """All jobs; those that ran when a process was killed again, one by one, to find out whose."""
    waiting = list(jobs)
    while waiting:
        suspects = yield from _in_pool(function, waiting, workers, progress, gpus)
        for job in suspects:
            alone = [job]
            if (yield from _in_pool(function, alone, 1, progress, gpus[:1])):
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
    gpus: Sequence[str],
) -> Generator[Callable[[], object], None, list[_Job]]:
    """Jobs off the list, until it is empty or a process dies; returns what ran when one died."""
    context = multiprocessing.get_context("spawn")
    reports, devices = context.SimpleQueue(), context.SimpleQueue()
    for gpu in gpus:
        devices.put(gpu)
    budget = 0
    suspects: list[_Job] = []
    with ExitStack() as pools:

        def pool(size: int, of: SimpleQueue[str] | None) -> ProcessPoolExecutor:
            executor = ProcessPoolExecutor(size, context, _begin_process, (reports, of))
            return pools.enter_context(executor)

        on_cpu = pool(workers, None)
        on_gpu = pool(len(gpus), devices) if gpus else on_cpu

        def submit(job: _Job) -> Future[None]:
            return (on_gpu if job.cost.on_gpu else on_cpu).submit(_in_process, function, job)

        # Only what runs at once is submitted: what the pool has queued would outlive Ctrl-C.
        running: dict[Future[None], _Job] = {}
        while running or (waiting and not suspects):
            # What is free while some run is not what was free for them.
            budget = budget if running else memory_budget()
            if not suspects and not _fill(running, waiting, submit, workers, budget, len(gpus)):
                return []
            finished, _ = wait(running, _REPORT_SECONDS, FIRST_COMPLETED)
            while not reports.empty():
                progress.advance(*reports.get())
            for future in finished:
                job = running.pop(future)
                if isinstance(future.exception(), BrokenProcessPool):
                    suspects.append(job)  # one of them was killed, and all of that pool with it
                else:
                    yield future.result
    return suspects


def _fill(
    running: dict[Future[None], _Job],
    waiting: list[_Job],
    submit: Callable[[_Job], Future[None]],
    workers: int,
    budget: int,
    gpus: int,
) -> bool:
    """Submit what there is room for; False where a pool broke between two looks, and none runs."""
    while (job := _next(waiting, list(running.values()), workers, budget, gpus)) is not None:
        try:
            running[submit(job)] = job
        except BrokenProcessPool:
            waiting.insert(0, job)
            return bool(running)
    return True


def _next(
    waiting: list[_Job], running: list[_Job], workers: int, budget: int, gpus: int = 0
) -> _Job | None:
    """The largest job that there is room for, taken off the list; any where none runs."""
    room = budget - sum(job.cost.size for job in running)
    threads = cpu_count() - sum(job.threads for job in running)
    busy = sum(bool(gpus) and job.cost.on_gpu for job in running)
    for place, job in enumerate(waiting):
        is_free = busy < gpus if gpus and job.cost.on_gpu else len(running) - busy < workers
        if is_free and (not running or (job.cost.size <= room and job.threads <= threads)):
            return waiting.pop(place)
    return None


_reports: SimpleQueue[tuple[int, str]]
"""Of a process of the pool: where it reports what it has done."""


def _begin_process(reports: SimpleQueue[tuple[int, str]], devices: SimpleQueue[str] | None) -> None:
    """Where to report to, the device that is its own; and an end when its parent is killed."""
    global _reports
    _reports = reports
    if devices is not None:
        os.environ["PROBELINE_DEVICE"] = devices.get()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # What it has done, it has stored; to take a process apart takes up to a third of a second.
    atexit.register(os._exit, 0)


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
