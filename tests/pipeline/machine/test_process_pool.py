"""Jobs in processes: every one is done once, what it reports is counted, errors are explained."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import threadpoolctl
from projects import REPOSITORY

from cache.errors import ProbelineError
from pipeline.machine import process_pool
from pipeline.machine.process_pool import Cost, Report, process_count, run_jobs
from pipeline.machine.progress import Progress


def make(folder: Path, report: Report) -> None:
    folder.mkdir()
    report(1, folder.name)
    report(2, "")


def fail_at_odd(folder: Path, report: Report) -> None:
    if int(folder.name) % 2:
        raise ProbelineError(folder.name, "is odd", remedy="none")
    make(folder, report)


def die_at_two(folder: Path, report: Report) -> None:
    if folder.name == "2":
        signal.raise_signal(signal.SIGKILL)
    make(folder, report)


def starve(job: int, report: Report) -> None:
    np.empty(1 << 60, np.uint8)


def stumble(job: int, report: Report) -> None:
    raise ZeroDivisionError


def count_threads(path: Path, report: Report) -> None:
    path.write_text(str(max(pool["num_threads"] for pool in threadpoolctl.threadpool_info())))


def linger(path: Path, report: Report) -> None:
    path.write_text(str(os.getpid()))
    time.sleep(60)


class Counted(Progress):
    done = 0

    def advance(self, count: int = 1, words: str = "") -> None:
        self.done += count


@pytest.fixture
def progress(monkeypatch) -> Counted:
    monkeypatch.delenv("DASK_SCHEDULER_ADDRESS", raising=False)
    monkeypatch.setattr(process_pool, "cpu_count", lambda: 2)
    return Counted("making", 15, "folders")


@pytest.fixture
def folders(tmp_path) -> list[Path]:
    return [tmp_path / str(n) for n in range(5)]


@pytest.mark.parametrize("workers", [1, 2])
def test_every_job_is_done_and_every_report_counted(folders, progress, workers):
    assert run_jobs(make, folders, workers, progress) == []
    assert all(folder.is_dir() for folder in folders)
    assert progress.done == 15


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_keeps_its_place(folders, progress, workers):
    failed = run_jobs(fail_at_odd, folders, workers, progress)
    assert {(error.place, error.problem, error.remedy) for error in failed} == {
        (place, "is odd", "none") for place in "13"
    }


@pytest.mark.parametrize("workers", [1, 2])
def test_one_that_fails_may_leave_the_others(folders, progress, workers):
    failed = run_jobs(fail_at_odd, folders, workers, progress)
    assert sorted(error.place for error in failed) == ["1", "3"]
    assert [folder.is_dir() for folder in folders] == [True, False] * 2 + [True]
    assert progress.done == 9


@pytest.mark.parametrize("workers", [1, 2])
def test_a_fault_of_the_program_ends_the_run_as_it_is(progress, workers):
    with pytest.raises(ZeroDivisionError):
        run_jobs(stumble, [1, 2, 3], workers, progress)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_process_that_is_killed_is_named_and_the_others_are_done(
    folders, progress, workers, monkeypatch
):
    monkeypatch.setattr(process_pool, "memory_budget", lambda: 1 << 40)
    costs = [Cost(f"cell {folder.name}", 1 << 30) for folder in folders]
    failed = run_jobs(die_at_two, folders, workers, progress, costs=costs)
    assert [(error.place, "memory" in error.problem) for error in failed] == [("cell 2", True)]
    assert "1.1 GB reckoned" in failed[0].found
    assert [folder.is_dir() for folder in folders] == [True, True, False, True, True]


@pytest.mark.parametrize("workers", [1, 2])
def test_memory_that_the_system_refuses_is_explained(progress, workers):
    failed = run_jobs(starve, [1, 2], workers, progress, costs=[Cost("one"), Cost("two")])
    assert sorted(error.place for error in failed) == ["one", "two"]
    assert all("refused it memory" in error.problem for error in failed)


@pytest.mark.parametrize("workers", [1, 2])
def test_no_jobs_are_no_work(progress, workers, monkeypatch):
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", "tcp://127.0.0.1:1")
    assert run_jobs(make, [], workers, progress) == []


@pytest.mark.parametrize(("workers", "expected"), [(1, 2), (2, 1)])
def test_processes_share_the_processors(folders, progress, workers, expected):
    run_jobs(count_threads, folders, workers, progress)
    assert {int(path.read_text()) for path in folders} == {expected}


def test_as_many_processes_as_jobs_and_processors(monkeypatch):
    monkeypatch.setattr(process_pool, "cpu_count", lambda: 8)
    assert [process_count(jobs) for jobs in (0, 1, 3, 100)] == [1, 1, 3, 8]


GB = 10**9


@pytest.mark.parametrize(
    ("sizes", "started", "threads"),
    [
        ([1, 1, 1, 1], [0, 1, 2, 3], [1, 1, 1, 1]),  # side by side
        ([9, 1, 1], [0], [4]),  # the largest takes the machine
        ([4, 4, 4], [0, 1], [2, 2]),
        ([6, 5, 1], [0], [4]),
        ([3, 3, 3, 1], [0, 1, 2, 3], [1, 1, 1, 1]),
    ],
)
def test_workers_and_threads_follow_each_jobs_own_size(sizes, started, threads, monkeypatch):
    """Of four processors and 10 GB: what runs at once, from the largest on."""
    monkeypatch.setattr(process_pool, "cpu_count", lambda: 4)
    monkeypatch.setattr(process_pool, "memory_budget", lambda: 10 * GB)
    priced = [(place, Cost(str(place), size * GB, size)) for place, size in enumerate(sizes)]
    waiting, running = process_pool._shares(priced, 4), []
    while (job := process_pool._next(waiting, running, 4, 10 * GB)) is not None:
        running.append(job)
    assert [job.job for job in running] == started
    assert [job.threads for job in running] == threads


def test_the_largest_job_starts_first(folders, progress):
    made = []
    costs = [Cost(work=work) for work in (1, 5, 3, 2, 4)]
    run_jobs(lambda folder, report: made.append(folder.name), folders, 1, progress, costs=costs)
    assert "".join(made) == "14230"


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT])
def test_no_process_outlives_the_run(tmp_path, sign):
    """Neither after `kill -9` of the first process nor after Ctrl-C, which reaches all."""
    names = [str(tmp_path / f"{n}.txt") for n in range(3)]
    code = "import test_process_pool as t, sys; t.linger_in_two(sys.argv[1:])"
    env = os.environ | {
        "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'tests'}:{Path(__file__).parent}"
    }
    env.pop("DASK_SCHEDULER_ADDRESS", None)
    first = subprocess.Popen(
        [sys.executable, "-c", code, *names],
        env=env,
        start_new_session=True,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 60
    while sum(map(os.path.exists, names)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.2)
    if sign == signal.SIGINT:
        os.killpg(first.pid, sign)
    else:
        first.send_signal(sign)
    first.communicate(timeout=120)
    assert first.returncode in (-sign, 128 + sign)
    started = [int(Path(name).read_text()) for name in names if Path(name).exists()]
    assert len(started) == 2
    deadline = time.monotonic() + 10
    while any(is_alive(pid) for pid in started) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(is_alive(pid) for pid in started)


def linger_in_two(names: list[str]) -> None:
    process_pool.cpu_count = lambda: 2
    run_jobs(linger, [Path(name) for name in names], 2, Progress("lingering", 3, "jobs"))


def is_alive(pid: int) -> bool:
    """Whether the process is there, and no zombie that its new parent has not taken away yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def note_device(folder: Path, report: Report) -> None:
    folder.mkdir()
    (folder / "where").write_text(f"{os.environ.get('PROBELINE_DEVICE', '')} {os.getpid()}")
    report(3, "")


def test_each_gpu_has_one_process_and_all_others_the_cpu(folders, progress, monkeypatch):
    monkeypatch.delenv("PROBELINE_DEVICE", raising=False)
    costs = [Cost(on_gpu=number < 4) for number in range(5)]
    assert run_jobs(note_device, folders, 1, progress, costs=costs, gpus=["cuda:0", "cuda:1"]) == []
    found = [(folder / "where").read_text().split() for folder in folders]
    on_gpu, (on_cpu,) = found[:4], found[4:]
    assert {device for device, _ in on_gpu} <= {"cuda:0", "cuda:1"}
    assert len({tuple(each) for each in on_gpu}) == len({process for _, process in on_gpu})
    assert on_cpu[0] == "cpu"
    assert progress.done == 15
    assert "PROBELINE_DEVICE" not in os.environ


@pytest.mark.parametrize(("on_gpu", "expected"), [(True, "cuda:0"), (False, "cpu")])
def test_this_process_computes_where_a_job_belongs(
    folders, progress, monkeypatch, on_gpu, expected
):
    monkeypatch.setenv("PROBELINE_DEVICE", "cuda")
    run_jobs(note_device, folders[:1], 1, progress, costs=[Cost(on_gpu=on_gpu)], gpus=["cuda:0"])
    assert (folders[0] / "where").read_text().split()[0] == expected
    assert os.environ["PROBELINE_DEVICE"] == "cuda"


@pytest.mark.parametrize(
    ("gpus", "jobs", "started"),
    [
        (1, [True, True, False], [0, 2]),  # the second waits for its device
        (2, [True, True, True], [0, 1]),
        (8, [True] * 3, [0, 1, 2]),  # more devices than workers
        (0, [True] * 3, [0, 1]),  # no device: as any other
    ],
)
def test_a_device_takes_one_job_at_a_time(gpus, jobs, started, monkeypatch):
    monkeypatch.setattr(process_pool, "cpu_count", lambda: 16)
    monkeypatch.setattr(process_pool, "memory_budget", lambda: 10 * GB)
    priced = [(place, Cost(str(place), 1, 1.0, on_gpu)) for place, on_gpu in enumerate(jobs)]
    names = [f"cuda:{number}" for number in range(gpus)]
    waiting, running = process_pool._shares(priced, 2, names), []
    while (job := process_pool._next(waiting, running, 2, 10 * GB, gpus)) is not None:
        running.append(job)
    assert [job.job for job in running] == started
