"""Whole `dvc repro` in folders that share DVC's cache and a remote.

DVC is the real one. Only the start of an interpreter for each stage is saved: a stage is a fork of
the process in which DVC runs, which has imported everything.
"""

from __future__ import annotations

import importlib
import mmap
import os
import shlex
import shutil
import signal
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import forks
import small_study
import strikes
from faults import READ, watch
from forks import ended, forked
from ruamel.yaml import YAML

TOO_LONG = 900
"""Seconds, after which a run is taken to wait for ever."""

HANDFUL = ("study", "index", "extract", "neighbors", "knn", "collect")
"""Stages of each kind: settings, an index, cells, one record a model, one table. With their own
files and no code as deps, a run takes a sixth of the time that all stages take."""

REMEMBERED = "data/former/"
"""By stages that run; where DVC takes a stage's results from its cache, nothing is."""


@dataclass(frozen=True)
class Strike:
    """SIGKILL for DVC and its stage together.

    Attributes
    ----------
    stage : int
        Which of the stages that run, from 1 on; 0: while DVC itself changes a file.
    at : int
        At which change of a file.
    """

    stage: int
    at: int


def template(base: Path, name: str, stages: Iterable[str] = ()) -> Path:
    """A study that never ran, under DVC, with the code that its stages depend on.

    Parameters
    ----------
    base : Path
        Where DVC's cache, the remote and the folders are.
    name : str
        The folder's.
    stages : iterable of str
        Which ones dvc.yaml holds; all, without.
    """
    from projects import REPOSITORY

    folder = base / name
    small_study.make_study(folder, small_study.SMALLEST)
    assert forks.run(folder, small_study.GIVEN).status == 0
    for floor in ("stages",) if stages else ("cache", "pipeline", "stages"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / floor, folder / floor, ignore=ignored)
    shutil.copy(REPOSITORY / ".dvcignore", folder)
    shutil.copytree(REPOSITORY / "scores", folder / "scores")
    if stages:
        _keep(folder / "dvc.yaml", set(stages))
    os.environ |= {
        "HOME": str(base), "DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(base / "site"),
    }  # fmt: skip
    for module in ("cli.parser", "repo.reproduce", "repo.push", "repo.pull", "stage.run",
                   "repo.init", "stage.cache", "cachemgr", "data_cloud"):  # fmt: skip
        importlib.import_module(f"dvc.{module}")
    for words in (
        "init --no-scm --quiet", "config --quiet core.check_update false",
        f"cache dir --quiet {shlex.quote(str(base / 'cache'))}",
        f"remote add --quiet -d store {shlex.quote(str(base / 'remote'))}",
    ):  # fmt: skip
        assert ended(start(folder, *shlex.split(words))) == 0, said(folder)
    return folder


def _keep(path: Path, stages: set[str]) -> None:
    """Leave some stages in a dvc.yaml, whose deps are what those make, and their own files."""
    yaml = YAML()
    pipeline = yaml.load(path.read_text())
    gone = [pipeline["stages"].pop(name) for name in set(pipeline["stages"]) - stages]
    outs = [out for stage in gone for out in stage["outs"]]
    made = [out if isinstance(out, str) else next(iter(out)) for out in outs]
    for stage in pipeline["stages"].values():
        deps = (stage.get("do") or stage)["deps"]
        deps[:] = [d for d in deps if d not in made and not d.startswith(("pipeline", "cache"))]
    with path.open("w") as file:
        yaml.dump(pipeline, file)


def fresh(base: Path, of: Path, name: str) -> Path:
    """A copy of a folder."""
    folder = base / name
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(of, folder, symlinks=True)
    return folder


def results(folder: Path) -> dict[str, bytes]:
    """All that is compared: what stages made."""
    tops = ("data/", "results/", "report/", "scores/", "dvc.lock")
    return {
        name: data
        for name, data in strikes.comparable(folder).items()
        if name.startswith(tops) and not name.startswith(REMEMBERED)
    }


class Changes:
    """How often DVC (place 0) and each of its stages changed a file, counted by all of them."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, 4 * 64)

    def add(self, place: int) -> None:
        """One more."""
        struct.pack_into("i", self._shared, 4 * place, self[place] + 1)

    def __getitem__(self, place: int) -> int:
        return int(struct.unpack_from("i", self._shared, 4 * place)[0])

    def counted(self) -> list[int]:
        """DVC's, and those of the stages that ran."""
        counts = [self[place] for place in range(64)]
        return counts[: max(n for n, count in enumerate(counts) if count) + 1]


def start(
    folder: Path, *words: str, strike: Strike | None = None, changes: Changes | None = None
) -> int:
    """A process that runs DVC in a folder; its number."""

    def inside() -> int:
        os.setsid()
        signal.alarm(TOO_LONG)
        os.chdir(folder)
        return _dvc(folder, words, strike, changes or Changes())

    handle = os.open(_said(folder), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        return forked(inside, handle)
    finally:
        os.close(handle)


def said(folder: Path) -> str:
    """The last words of the last run in a folder."""
    return _said(folder).read_text(errors="replace")[-1500:]


def _said(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.said")


def _dvc(folder: Path, words: tuple[str, ...], strike: Strike | None, changes: Changes) -> int:
    from dvc.cli import main
    from dvc.stage import run as stage_run

    count = [0]

    class Forked:
        """A stage's process, as `subprocess.Popen` would start it."""

        def __init__(self, command: list[str], *, cwd: str, env: dict[str, str], **_: object):
            count[0] += 1
            place, run = count[0], shlex.split(command[-1])

            def inside() -> int:
                os.closerange(3, 1024)
                os.environ.clear()
                os.environ.update(env)
                os.chdir(cwd)
                _watched(Path(cwd), place, strike, changes)
                assert run[:2] == ["python", "-m"], run
                return forks.status_of((run[2].removeprefix("stages."), *run[3:]))

            self.child = forked(inside)
            self.returncode: int | None = None

        def communicate(self) -> None:
            self.returncode = ended(self.child)

    stage_run.subprocess = SimpleNamespace(Popen=Forked, check_output=None)
    _watched(folder.parent, 0, strike, changes)
    return int(main(list(words)) or 0)


def _watched(folder: Path, place: int, strike: Strike | None, changes: Changes) -> None:
    """Count this process's changes below a folder; struck, its whole group is killed."""
    process = os.getpid()

    def noted(operation: str, path: str) -> None:
        if operation == READ or os.getpid() != process:
            return
        changes.add(place)
        if strike == Strike(place, changes[place]):
            os.killpg(0, signal.SIGKILL)

    watch(folder, noted)
