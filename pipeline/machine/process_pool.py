"""Independent jobs in a pool of processes on this machine, or on the workers of a Dask cluster.

Each process computes with as many BLAS threads as its share of the processors, mostly one: on
small problems two threads in one fit are slower than one (measured: 7 times, on 2 cores).
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from functools import partial
from itertools import islice
from multiprocessing.queues import SimpleQueue
from typing import Any, TypeAlias, TypeVar

import psutil
import threadpoolctl

from cache.errors import ProbelineError
from pipeline.machine.environment import cpu_count
from pipeline.machine.progress import Progress

COPIES = 9
"""Working copies of a cell's float32 features that a probe may hold at once."""

J = TypeVar("J")

Report = Callable[[int, str], None]
"""Takes how much was done since (cells, epochs), and a few words on how it goes."""

_Results: TypeAlias = Generator[Callable[[], object], None, None]
"""For each job as it ends, a function that raises its error."""

_REPORT_SECONDS = 0.2


def process_count(jobs: int, cell_bytes: int = 0) -> int:
    """How many processes take so many jobs.

    Parameters
    ----------
    jobs : int
    cell_bytes : int
        Size of the largest cell's features in float32; as many run at once as memory holds.
    """
    if jobs <= 1:
        return 1
    fitting = int(psutil.virtual_memory().available // max(1, COPIES * cell_bytes))
    return max(1, min(jobs, cpu_count(), fitting))


def run_jobs(
    function: Callable[[J, Report], None],
    jobs: Sequence[J],
    workers: int,
    progress: Progress,
    *,
    keep_going: bool = False,
    cluster: bool = True,
) -> list[ProbelineError]:
    """Call `function` once for each job.

    Parameters
    ----------
    function : callable
        Stores its own result; importable by other processes. It is given a job and a `Report`.
    jobs : sequence
    workers : int
        Processes (see `process_count`); with one, this process does it all.
    progress : Progress
        Counts what is reported.
    keep_going : bool
        A job that fails does not keep the others from being done. Else the first error ends the
        run.
    cluster : bool
        With ``DASK_SCHEDULER_ADDRESS`` set, the jobs go to that cluster, whose workers must see
        the project's folder under the same path.

    Returns
    -------
    list of ProbelineError
        Of the jobs that failed.

    Raises
    ------
    ProbelineError
        The first job's that failed, or when the system killed a process.
    """
    failed = []
    with progress, closing(_started(function, jobs, workers, progress, cluster)) as results:
        try:
            for result in results:
                try:
                    result()
                except ProbelineError as error:
                    if not keep_going:
                        raise
                    failed.append(error)
        except BrokenProcessPool:
            raise ProbelineError(
                progress.name,
                "the system killed one of its processes, most likely for want of memory",
                found=f"{psutil.virtual_memory().available / 1e9:.1f} GB free now",
                remedy="free memory or run on fewer processors (taskset -c 0 dvc repro); what was "
                "stored stays, the next run goes on from there",
            ) from None
    return failed


def _started(
    function: Callable[[J, Report], None],
    jobs: Sequence[J],
    workers: int,
    progress: Progress,
    cluster: bool,
) -> _Results:
    if jobs and cluster and os.environ.get("DASK_SCHEDULER_ADDRESS"):
        return _on_cluster(function, jobs, progress)
    if workers > 1:
        return _in_processes(function, jobs, workers, progress)
    return (partial(_call, function, cpu_count(), job, progress.advance) for job in jobs)


def _call(function: Callable[[J, Report], None], threads: int, job: J, report: Report) -> None:
    with threadpoolctl.threadpool_limits(threads):
        function(job, report)


def _in_processes(
    function: Callable[[J, Report], None],
    jobs: Sequence[J],
    workers: int,
    progress: Progress,
) -> _Results:
    threads = max(1, cpu_count() // workers)
    context = multiprocessing.get_context("spawn")
    reports = context.SimpleQueue()
    with ProcessPoolExecutor(workers, context, _begin_process, (reports,)) as pool:
        # Only what runs at once is submitted: what the pool has queued would outlive Ctrl-C.
        calls = (pool.submit(_in_process, function, threads, job) for job in jobs)
        running = set(islice(calls, workers))
        while running:
            finished, running = wait(running, _REPORT_SECONDS, FIRST_COMPLETED)
            while not reports.empty():
                progress.advance(*reports.get())
            yield from (future.result for future in finished)
            running |= set(islice(calls, len(finished)))


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


def _in_process(function: Callable[[Any, Report], None], threads: int, job: Any) -> None:
    _call(function, threads, job, lambda count, words: _reports.put((count, words)))


def _on_cluster(
    function: Callable[[J, Report], None], jobs: Sequence[J], progress: Progress
) -> _Results:
    from distributed import Client, as_completed

    address = os.environ["DASK_SCHEDULER_ADDRESS"]
    try:
        client = Client(address)
    except (OSError, ValueError, ImportError) as error:
        raise ProbelineError(
            "environment variable DASK_SCHEDULER_ADDRESS",
            "no Dask scheduler answers there",
            expected="e.g. tcp://host:8786",
            found=f"{address} ({error})",
            remedy="start the scheduler, or unset the variable to use this machine",
        ) from None
    with client:
        calls = [client.submit(_on_worker, function, job, pure=False) for job in jobs]
        for call in as_completed(calls):
            yield partial(_take, call, progress)


def _take(call: Any, progress: Progress) -> None:
    progress.advance(call.result())


def _on_worker(function: Callable[[J, Report], None], job: J) -> int:
    """Do a job on a worker of the cluster; how much it reported, all in one."""
    counts: list[int] = []
    _call(function, 1, job, lambda count, words: counts.append(count))
    return sum(counts)
