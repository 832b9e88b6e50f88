"""Rounds of four stages or commands at once, in one folder."""

from __future__ import annotations

import os
import random
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

import strikes
from faults import ENDS, Fault
from forks import ended, forked, run
from rounds import Row
from small_study import GIVEN, STAGES, make_study
from targets import flip_a_chunk

PROCESSES = 4
TOO_LONG = 600
"""Seconds, after which a process is taken to wait for ever."""

EXTRACT = ("extract", "pets")
REPAIR = ("cli", "cache", "verify", "--repair")
MIXED = (EXTRACT, REPAIR, ("neighbors",), GIVEN, ("cli", "cache", "prune", "--yes"),
         ("protocol", "knn"), ("cli", "status"))  # fmt: skip
"""What the four do where a chunk is damaged."""


def extractions(base: Path, row: Row, tries: int, seed: int) -> None:
    """All begin with nothing; two of them are killed."""
    os.environ["PROBELINE_WAIT_SECONDS"] = "600"
    work = _after(base / "cells", STAGES[:2])
    _play(work, row, tries, random.Random(seed), [EXTRACT], (EXTRACT,))


def mixed(base: Path, row: Row, tries: int, seed: int) -> None:
    """All cells are there, a chunk of one is damaged; nobody waits for anybody."""
    os.environ.pop("PROBELINE_WAIT_SECONDS", None)
    work = _after(base / "mixed", STAGES[:3])
    flip_a_chunk(work)
    end = (REPAIR, EXTRACT, ("neighbors",), ("protocol", "knn"))
    _play(work, row, tries, random.Random(seed), MIXED, end)


def _after(folder: Path, stages: Sequence[tuple[str, ...]]) -> Path:
    """A study in which some stages ran."""
    make_study(folder / "work")
    for command in (GIVEN, *stages):
        assert run(folder / "work", command).status == 0
    return folder / "work"


def _play(
    work: Path,
    row: Row,
    tries: int,
    rng: random.Random,
    commands: Sequence[tuple[str, ...]],
    end: tuple[tuple[str, ...], ...],
) -> None:
    """Rounds of `PROCESSES` commands at once; `end` follows, alone, and makes all the same."""
    before = work.with_name("before")
    shutil.copytree(work, before, symlinks=True)
    changes = {}
    for command in commands:
        strikes.copy(before, work)
        changes[command] = run(work, command).changes
    strikes.copy(before, work)
    for command in end:
        assert (ran := run(work, command)).status == 0, ran
    expected = strikes.comparable(work)
    for _ in range(tries):
        strikes.copy(before, work)
        started = []
        for number in range(PROCESSES):
            command, fault = rng.choice(commands), None
            if number % 2 == 0 and changes[command]:
                fault = Fault(rng.choice(("KILL", "TERM")), rng.randrange(1, changes[command] + 1))
            started.append((command, fault, *_started(work, command, fault)))
        faults, statuses = [], []
        for command, fault, child, pipe in started:
            with os.fdopen(pipe) as file:
                said = file.read()
            statuses.append(ended(child))
            if not _allowed(statuses[-1], fault, said):
                faults.append(f"{command}, {fault}: {statuses[-1]}: {said[-900:]}")
        for command in end:
            again = run(work, command)
            if again.status:
                faults.append(f"then {command}: {again}")
        faults += [
            difference
            for difference in strikes.differences(work, expected)
            if "/.given." not in difference  # what a killed import left, the next one takes over
        ]
        row.played(sum(s in (-9, 143, -15) for s in statuses), statuses.count(1), faults)


def _allowed(status: int, fault: Fault | None, said: str) -> bool:
    """Whether it ended as it may: killed where it was struck, or with one explained error."""
    if status == 1 and said.count("error: ") != 1 and "damaged: " not in said:
        return False
    allowed = (0, 1, *(ENDS[fault.kind] if fault else ()))
    return status in allowed and "Traceback" not in said


def _started(work: Path, command: tuple[str, ...], fault: Fault | None) -> tuple[int, int]:
    """A process that runs a command, and a pipe with what it says in the end."""
    reader, writer = os.pipe()

    def inside() -> int:
        os.close(reader)
        ran = run(work, command, fault, before=lambda: signal.alarm(TOO_LONG) and None)
        with os.fdopen(writer, "w") as pipe:
            pipe.write(ran.out)
        if ran.status < 0:
            os.kill(os.getpid(), -ran.status)
        return ran.status

    child = forked(inside)
    os.close(writer)
    return child, reader
