"""Two whole `dvc repro` in two folders, at once, which share DVC's cache and a remote.

DVC is the real one. Only the start of an interpreter for each stage is saved: a stage is a fork of
the process in which DVC runs, which has imported everything.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import random
import shlex
import shutil
import signal
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import kills
import sandbox

TOO_LONG = 900
"""Seconds, after which a run is taken to wait for ever."""


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


def template(base: Path) -> Path:
    """A study that never ran, under DVC, with the code that its stages depend on."""
    from projects import REPOSITORY

    folder = base / "template"
    sandbox.make_study(folder, sandbox.SMALLEST)
    assert sandbox.run(folder, sandbox.GIVEN).status == 0
    for floor in ("cache", "pipeline", "stages"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / floor, folder / floor, ignore=ignored)
    shutil.copy(REPOSITORY / ".dvcignore", folder)
    shutil.copytree(REPOSITORY / "scores", folder / "scores")
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
        ended = finished(folder, start(folder, *shlex.split(words)))
        assert ended == 0, said(folder)
    return folder


def alone(base: Path, of: Path) -> dict[str, bytes]:
    """What a run makes that nothing befell."""
    folder = _fresh(base, of, "alone")
    assert finished(folder, start(folder, "repro")) == 0, said(folder)
    made = results(folder)
    shutil.rmtree(folder)
    return made


def together(
    base: Path, of: Path, expected: dict[str, bytes], rng: random.Random, *, deep: bool
) -> tuple[int, list[str]]:
    """One round; how many were killed, and what went wrong.

    Parameters
    ----------
    deep : bool
        Whether a third folder pulls from the remote, and must have nothing left to run.
    """
    for shared in ("cache", "remote"):
        shutil.rmtree(base / shared, ignore_errors=True)
    folders = [_fresh(base, of, name) for name in ("one", "other")]
    strikes: list[Strike | None] = [None, None]
    for number in rng.choice(((), (0,), (1,), (0, 1))):
        strikes[number] = Strike(rng.randrange(17), int(1.5 ** rng.uniform(0, 12)))
    started = [start(f, "repro", strike=s) for f, s in zip(folders, strikes, strict=True)]
    ends = [finished(f, child) for f, child in zip(folders, started, strict=True)]
    wrong = [
        f"{folder.name}, {strike}: {end}: {said(folder)}"
        for folder, strike, end in zip(folders, strikes, ends, strict=True)
        if end not in ((0, -9) if strike else (0,))
    ]
    struck = [folder for folder, end in zip(folders, ends, strict=True) if end]
    for command, where in (("repro", struck), ("push", folders)):
        started = [start(folder, command) for folder in where]
        for folder, child in zip(where, started, strict=True):
            if end := finished(folder, child):
                wrong.append(f"{folder.name}, then {command}: {end}: {said(folder)}")
    if deep and not wrong:
        wrong += _clone(base, of, folders[0], expected)
    for folder in folders:
        found = results(folder)
        wrong += [
            f"{folder.name}, {strikes}: {name} is other, absent or left"
            for name in sorted(found.keys() | expected.keys())
            if found.get(name) != expected.get(name)
        ]
    return ends.count(-9), wrong


def _clone(base: Path, of: Path, finished_one: Path, expected: dict[str, bytes]) -> list[str]:
    folder = _fresh(base, of, "clone")
    shutil.copy(finished_one / "dvc.lock", folder)
    shutil.rmtree(base / "cache")
    wrong = [
        f"clone, {command}: {end}: {said(folder)}"
        for command in ("pull", "repro")
        if (end := finished(folder, start(folder, command)))
    ]
    if "Running stage" in said(folder):
        wrong.append(f"a clone ran stages again: {said(folder)}")
    found = results(folder)
    return wrong + [f"clone: {n} differs" for n in expected if found.get(n) != expected[n]]


def results(folder: Path) -> dict[str, bytes]:
    """All that is compared: what stages made."""
    tops = ("data/", "results/", "report/", "scores/", "dvc.lock")
    return {n: data for n, data in kills.comparable(folder).items() if n.startswith(tops)}


def start(folder: Path, *words: str, strike: Strike | None = None) -> int:
    """A process that runs DVC in a folder; its number."""
    child = os.fork()
    if child:
        return child
    status = 70
    try:
        os.setsid()
        signal.alarm(TOO_LONG)
        handle = os.open(_said(folder), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        sys.stdout = open(1, "w", closefd=False, buffering=1)
        sys.stderr = open(2, "w", closefd=False, buffering=1)
        os.chdir(folder)
        status = _dvc(folder, words, strike)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def finished(folder: Path, child: int) -> int:
    """How it ended; negative: the signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def said(folder: Path) -> str:
    """The last words of the last run in a folder."""
    return _said(folder).read_text(errors="replace")[-1500:]


def _said(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.said")


def _fresh(base: Path, of: Path, name: str) -> Path:
    folder = base / name
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(of, folder, symlinks=True)
    return folder


def _dvc(folder: Path, words: tuple[str, ...], strike: Strike | None) -> int:
    from dvc.cli import main
    from dvc.stage import run as stage_run

    count = [0]

    class Forked:
        """A stage's process, as `subprocess.Popen` would start it."""

        def __init__(self, command: list[str], *, cwd: str, env: dict[str, str], **_: object):
            count[0] += 1
            of_stage = strike is not None and strike.stage == count[0]
            self.child = os.fork()
            if not self.child:
                _stage(shlex.split(command[-1]), cwd, env, strike.at if of_stage else 0)
            self.returncode: int | None = None

        def communicate(self) -> None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.child, 0)[1])

    stage_run.subprocess = SimpleNamespace(Popen=Forked, check_output=None)
    if strike is not None and strike.stage == 0:
        _kill_at(folder.parent, strike.at * 20)  # DVC makes some hundred
    return int(main(list(words)) or 0)


def _stage(words: list[str], cwd: str, env: dict[str, str], at: int) -> None:
    """Never returns."""
    status = 70
    try:
        os.closerange(3, 1024)
        os.environ.clear()
        os.environ.update(env)
        os.chdir(cwd)
        sandbox.stop_clocks()
        if at:
            _kill_at(Path(cwd), at)
        assert words[:2] == ["python", "-m"], words
        module = importlib.import_module(words[2])
        try:
            module.main.main(words[3:], standalone_mode=False)
            status = 0
        except SystemExit as end:
            status = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _kill_at(folder: Path, at: int) -> None:
    """SIGKILL for this process and its group, at a change of a file below a folder."""
    root, count = os.path.realpath(folder), [0]

    def hook(event: str, arguments: tuple) -> None:
        if event not in sandbox.CHANGES and not (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & 3
        ):
            return
        if isinstance(arguments[0], str | os.PathLike) and os.path.abspath(arguments[0]).startswith(
            root
        ):
            count[0] += 1
            if count[0] == at:
                os.killpg(0, signal.SIGKILL)

    sys.addaudithook(hook)
