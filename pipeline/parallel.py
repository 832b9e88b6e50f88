"""Independent cells side by side: processes on this machine, or the workers of a Dask cluster.

Each process computes with as many BLAS threads as its share of the processors, mostly one: on
small problems two threads in one fit are slower than one (measured: 7 times, on 2 cores).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import dask
import psutil
import threadpoolctl
from dask.callbacks import Callback

from cache.errors import ProbelineError
from pipeline.environment import cpu_count
from pipeline.progress import Progress

COPIES = 9
"""Working copies of a cell's float32 features that a probe may hold at once."""


def run_all(
    function: Callable[..., None],
    arguments: Sequence[tuple[Any, ...]],
    *,
    name: str,
    cell_bytes: int,
) -> None:
    """Call `function` once for each tuple of arguments; the first error ends the run.

    Parameters
    ----------
    function : callable
        Stores its own result; importable by worker processes.
    arguments : sequence of tuple
    name : str
        For the progress bar.
    cell_bytes : int
        Size of the largest cell's features in float32; bounds how many run at once.

    Notes
    -----
    With ``DASK_SCHEDULER_ADDRESS`` set, the calls go to that cluster, whose workers must see the
    project's folder under the same path.
    """
    if not arguments:
        return
    workers = _workers(len(arguments), cell_bytes)
    threads = max(1, cpu_count() // workers)
    with Progress(name, len(arguments), "cells") as progress:
        if os.environ.get("DASK_SCHEDULER_ADDRESS"):
            _on_cluster(function, arguments, progress)
        elif workers == 1:
            for each in arguments:
                _call(function, threads, each)
                progress.advance()
        else:
            tasks = [dask.delayed(_call, pure=False)(function, threads, each) for each in arguments]
            with Callback(posttask=lambda *_: progress.advance()), deaths_explained(name):
                dask.compute(
                    *tasks, scheduler="processes", num_workers=workers, optimize_graph=False
                )


@contextlib.contextmanager
def deaths_explained(name: str) -> Iterator[None]:
    """Say in plain words that a process was killed."""
    try:
        yield
    except BrokenProcessPool:
        raise ProbelineError(
            name,
            "the system killed one of its processes, most likely for want of memory",
            found=f"{psutil.virtual_memory().available / 1e9:.1f} GB free now",
            remedy="free memory or run on fewer processors (taskset -c 0 dvc repro); what was "
            "stored stays, the next run goes on from there",
        ) from None


def _workers(calls: int, cell_bytes: int) -> int:
    fitting = int(psutil.virtual_memory().available // max(1, COPIES * cell_bytes))
    return max(1, min(calls, cpu_count(), fitting))


def _on_cluster(
    function: Callable[..., None], arguments: Sequence[tuple[Any, ...]], progress: Progress
) -> None:
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
        calls = [client.submit(_call, function, 1, each, pure=False) for each in arguments]
        for call in as_completed(calls):
            call.result()
            progress.advance()


def _call(function: Callable[..., None], threads: int, arguments: tuple[Any, ...]) -> None:
    with threadpoolctl.threadpool_limits(threads):
        function(*arguments)
