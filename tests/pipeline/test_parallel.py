"""Cells side by side: every call is made once, and an error of a worker arrives explained."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from cache.errors import ProbelineError
from pipeline import parallel
from pipeline.environment import expand_path


@pytest.mark.parametrize("cores", [1, 2])
def test_every_call_is_made_and_errors_arrive_with_their_place(tmp_path, monkeypatch, cores):
    monkeypatch.delenv("DASK_SCHEDULER_ADDRESS", raising=False)
    monkeypatch.setattr(parallel, "cpu_count", lambda: cores)
    folders = [(tmp_path / str(n),) for n in range(5)]
    parallel.run_all(Path.mkdir, folders, name="make", cell_bytes=1)
    assert all(folder.is_dir() for (folder,) in folders)
    with pytest.raises(ProbelineError) as caught:
        parallel.run_all(expand_path, [("$NO_SUCH_ONE", "here")] * 2, name="fail", cell_bytes=1)
    assert caught.value.place == "here"
    assert "NO_SUCH_ONE" in caught.value.remedy


def test_a_worker_that_is_killed_is_explained(monkeypatch):
    monkeypatch.delenv("DASK_SCHEDULER_ADDRESS", raising=False)
    monkeypatch.setattr(parallel, "cpu_count", lambda: 2)
    with pytest.raises(ProbelineError, match="memory"):
        parallel.run_all(signal.raise_signal, [(signal.SIGKILL,)] * 2, name="x", cell_bytes=1)


def test_no_calls_are_no_work():
    parallel.run_all(Path.mkdir, [], name="nothing", cell_bytes=1)


def test_large_cells_run_one_at_a_time(monkeypatch):
    monkeypatch.setattr(parallel, "cpu_count", lambda: 8)
    assert parallel._workers(100, 1) == 8
    assert parallel._workers(3, 1) == 3
    assert parallel._workers(100, 1 << 50) == 1
