"""A real scheduler and real workers: who gets jobs, who is refused and why, and what dies."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from cluster_jobs import fail, make, make_nothing, make_slowly
from projects import REPOSITORY

from cache.errors import ProbelineError
from pipeline.machine import cluster
from pipeline.machine.handshake import gpus
from pipeline.machine.process_pool import Cost, run_jobs
from pipeline.machine.progress import Progress

ENVIRONMENT = {
    "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(Path(__file__).parent)]),
    "DASK_DISTRIBUTED__WORKER__DAEMON": "False",
    "PROBELINE_MEMORY": "1GB",
}


class Counted(Progress):
    done = 0

    def advance(self, count: int = 1, words: str = "") -> None:
        self.done += count


class Cluster:
    """A scheduler and workers, each a process in a folder."""

    def __init__(self, place: Path) -> None:
        self.place, self.folder = place, place / "project"
        self.folder.mkdir()
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self._file = place / "scheduler.json"
        command = (
            "scheduler",
            "--scheduler-file",
            str(self._file),
            "--no-dashboard",
            "--port",
            "0",
        )
        self._scheduler = self._start(*command, folder=place)
        self.client().close()

    def _start(self, *command: str, folder: Path, **environment: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "dask", *command], cwd=folder,
            env={**os.environ, **ENVIRONMENT, **environment},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def client(self):
        from distributed import Client

        end = time.monotonic() + 60
        while not self._file.exists() and time.monotonic() < end:
            time.sleep(0.05)
        client = Client(scheduler_file=str(self._file))
        self.address = client.scheduler.address
        return client

    def start(self, name: str, folder: Path | None = None, **environment: str) -> None:
        """A worker; back when the scheduler knows it."""
        options = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--memory-limit", "0")
        command = ("worker", self.address, "--name", name, *options)
        environment["DASK_TEMPORARY_DIRECTORY"] = str(self.place)
        self.workers[name] = self._start(*command, folder=folder or self.folder, **environment)
        with self.client() as client:
            client.wait_for_workers(len(self.workers), timeout=60)

    def stop(self, name: str) -> None:
        worker = self.workers.pop(name)
        worker.kill()
        worker.wait(30)
        with self.client() as client:
            end = time.monotonic() + 30
            while len(client.nthreads()) > len(self.workers) and time.monotonic() < end:
                time.sleep(0.05)

    def close(self) -> None:
        for process in (*self.workers.values(), self._scheduler):
            process.kill()
            process.wait(30)


@pytest.fixture(scope="module")
def dask(tmp_path_factory):
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    yield made
    made.close()


@pytest.fixture
def progress(dask, monkeypatch):
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", dask.address)
    monkeypatch.chdir(dask.folder)
    monkeypatch.setattr(cluster, "SEEN_SECONDS", 0.5)
    monkeypatch.setattr(cluster, "LOOK_SECONDS", 0.1)
    for path in dask.folder.glob("*"):
        if path.is_file():
            path.unlink()
    return Counted("making", 4, "files")


@pytest.fixture
def two(dask):
    """Two workers of the project."""
    for name in ("first", "second"):
        if name not in dask.workers:
            dask.start(name)
    return dask


def paths(count: int = 4) -> list[Path]:
    return [Path(f"{n}.txt") for n in range(count)]


def are_there(path: Path) -> bool:
    return path.exists()


def test_two_workers_share_the_jobs_and_one_that_is_killed_loses_none(two, progress):
    failed = []
    jobs = threading.Thread(
        target=lambda: failed.append(run_jobs(make_slowly, paths(), 1, progress, is_done=are_there))
    )
    jobs.start()
    end = time.monotonic() + 60
    while len(list(Path().glob("*.begun"))) < 2 and time.monotonic() < end:
        time.sleep(0.02)
    at_work = {int(line) for p in Path().glob("*.begun") for line in p.read_text().split()}
    assert at_work == {two.workers[name].pid for name in ("first", "second")}
    two.stop("second")
    Path("go").touch()
    jobs.join(60)
    assert failed == [[]]
    assert progress.done == 4
    assert {path.read_text() for path in paths()} == {str(two.workers["first"].pid)}
    assert not list(Path(".probeline/cluster").iterdir())


def test_workers_elsewhere_or_with_other_versions_are_refused_by_name(two, progress, caplog):
    other = two.place / "a copy"
    shutil.copytree(two.folder, other, dirs_exist_ok=True)
    two.start("stranger", folder=other)
    former = two.place / "former"
    for floor in ("cache", "pipeline", "stages"):
        shutil.copytree(REPOSITORY / floor, former / floor)
    (former / "stages" / "more.py").write_text("")
    (former / "timm-0.0.1.dist-info").mkdir()
    metadata = "Metadata-Version: 2.1\nName: timm\nVersion: 0.0.1\n"
    (former / "timm-0.0.1.dist-info" / "METADATA").write_text(metadata)
    path = os.pathsep.join([str(former), ENVIRONMENT["PYTHONPATH"]])
    two.start("former", PYTHONPATH=path)
    with caplog.at_level(logging.WARNING, "pipeline.machine.cluster"):
        assert run_jobs(make, paths(12), 1, progress, is_done=are_there) == []
    said = caplog.text
    assert f"worker stranger on {os.uname().nodename}: works in {other}" in said
    assert "worker former on" in said
    assert "has other code of Probeline (restart it after a change)" in said
    assert "has other versions: timm 0.0.1 for " in said
    assert said.count("no jobs for") == 2
    mine = {str(two.workers[name].pid) for name in ("first", "second")}
    assert {path.read_text() for path in paths(12)} <= mine


def test_without_a_worker_that_may_take_jobs_it_ends_and_says_why(two, progress, monkeypatch):
    monkeypatch.setenv("PROBELINE_CLUSTER_SECONDS", "1")
    elsewhere = two.place / "another project"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    with pytest.raises(ProbelineError, match="no worker for this project for 1 s") as caught:
        run_jobs(make, paths(), 1, progress)
    for name in two.workers:
        assert f"worker {name} on " in caught.value.found
    assert f"cd {elsewhere} && dask worker {two.address}" in caught.value.remedy
    assert not list(elsewhere.glob("*.txt"))


@pytest.mark.skipif(gpus() > 0, reason="the workers here have a GPU")
def test_workers_without_the_gpu_that_is_asked_for_are_refused(two, progress, monkeypatch):
    monkeypatch.setenv("PROBELINE_CLUSTER_SECONDS", "1")
    monkeypatch.setenv("PROBELINE_DEVICE", "cuda")
    with pytest.raises(ProbelineError) as caught:
        run_jobs(make, paths(), 1, progress)
    asked = "has no GPU, which the client asks for (PROBELINE_DEVICE=cuda)"
    assert caught.value.found.count(asked) == len(two.workers)


def test_faults_and_results_that_are_not_here_are_of_their_jobs(two, progress):
    costs = [Cost(f"job {n}") for n in range(2)]
    failed = run_jobs(fail, paths(2), 1, progress, costs=costs)
    assert sorted(error.place for error in failed) == ["0.txt", "1.txt"]
    failed = run_jobs(make_nothing, paths(2), 1, progress, costs=costs, is_done=are_there)
    assert sorted(error.place for error in failed) == ["job 0", "job 1"]
    assert "its record is not here" in failed[0].problem
    assert str(two.folder) in failed[0].found
    assert progress.done == 0


def test_a_job_too_large_for_every_worker_is_refused_and_the_others_are_done(
    two, progress, monkeypatch
):
    monkeypatch.setenv("PROBELINE_CLUSTER_SECONDS", "1")
    costs = [Cost("large", 10**10), Cost("small", 10**8)]
    failed = run_jobs(make, paths(2), 1, progress, costs=costs)
    assert [error.place for error in failed] == ["large"]
    assert "more memory than any worker" in failed[0].problem
    assert "1.0 GB" in failed[0].expected
    assert not Path("0.txt").exists()
    assert Path("1.txt").exists()


def test_a_shard_is_not_sent_to_a_cluster(project, monkeypatch):
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", "tcp://127.0.0.1:1")
    project.run("linear", "--shard", "1/2").refused("--shard", "unset it, or leave out")
