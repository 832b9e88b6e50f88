"""Trainings side by side: processes of their own, which report each epoch to this one."""

from __future__ import annotations

import multiprocessing
import os
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from functools import partial
from multiprocessing.queues import Queue
from typing import Any, TypeAlias, TypeVar

from cache.errors import ProbelineError
from pipeline.parallel import deaths_explained
from pipeline.progress import Progress

J = TypeVar("J")

Report = Callable[[int, str], None]
"""Takes the number of epochs that were done since, and a few words on how it goes."""

_Reports: TypeAlias = "Queue[tuple[int, str]]"
_POLL_SECONDS = 0.2


def run_side_by_side(
    function: Callable[[J, Report], None],
    jobs: Sequence[J],
    workers: int,
    progress: Progress,
    *,
    name: str,
) -> list[ProbelineError]:
    """Call `function` for each job; one that fails does not keep the others from being done.

    Parameters
    ----------
    function : callable
        Stores its own result; importable by other processes. It is given a job and a `Report`.
    jobs : sequence
    workers : int
        Processes; with one, this process does it all.
    progress : Progress
        Counts epochs.
    name : str
        For messages.

    Returns
    -------
    list of ProbelineError
        Of the jobs that failed.

    Raises
    ------
    ProbelineError
        When the system killed a process.
    """
    if workers == 1:
        calls = [partial(function, job, progress.advance) for job in jobs]
        return [error for call in calls if (error := _error_of(call))]
    context = multiprocessing.get_context("spawn")
    reports = context.Queue()
    failed = []
    with (
        deaths_explained(name),
        ProcessPoolExecutor(workers, context, _begin_process, (reports,)) as pool,
    ):
        running: set[Future[None]] = {pool.submit(_in_process, function, job) for job in jobs}
        try:
            while running:
                _take_up(reports, progress)
                finished = {future for future in running if future.done()}
                running -= finished
                failed += [e for future in finished if (e := _error_of(future.result))]
            _take_up(reports, progress)
        finally:
            pool.shutdown(cancel_futures=True)
    return failed


def _error_of(call: Callable[[], None]) -> ProbelineError | None:
    try:
        call()
    except ProbelineError as error:
        return error
    return None


def _take_up(reports: _Reports, progress: Progress) -> None:
    """Take up what the processes have reported; waits a little for the first of it."""
    wait = _POLL_SECONDS
    while True:
        try:
            progress.advance(*reports.get(timeout=wait))
        except queue.Empty:
            return
        wait = 0.001


def _begin_process(reports: _Reports) -> None:
    """Where to report to; and an end of this process when its parent is killed."""
    global _reports
    _reports = reports
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _in_process(function: Callable[[Any, Report], None], job: Any) -> None:
    reports = _reports
    assert reports is not None
    function(job, lambda count, words: reports.put((count, words)))


_reports: _Reports | None = None
"""Of a process of its own: where it reports the epochs that it has done."""
