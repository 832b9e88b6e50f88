"""Several processes at once, some of them killed; then one goes on.

Four processes make, mend, read and import cells of the same study. Two whole `dvc repro` run in two
folders that share DVC's cache and a remote. Whatever the order, all bytes are those of a run that
was alone, nothing lies about, and whoever gave up said why in one explained error.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import kills
import sandbox
import whole_runs
from sandbox import Fault, run

HEADER = ("rounds of", "rounds", "kills", "gave up", "faults")
PROCESSES = 4
TOO_LONG = 600
"""Seconds, after which a process is taken to wait for ever."""

EXTRACT = ("extract", "pets")
REPAIR = ("cli", "cache", "verify", "--repair")
MIXED = (EXTRACT, REPAIR, ("neighbors",), sandbox.GIVEN, ("cli", "cache", "prune", "--yes"),
         ("protocol", "knn"), ("cli", "status"))  # fmt: skip
"""What the four do where a chunk is damaged."""


@dataclass
class Row:
    """What became of the rounds."""

    name: str
    rounds: int = 0
    kills: int = 0
    gave_up: int = 0
    faults: list[str] = field(default_factory=list)

    def cells(self) -> tuple[str, ...]:
        """Of the table."""
        numbers = (self.rounds, self.kills, self.gave_up, len(self.faults))
        return self.name, *map(str, numbers)


def campaign(base: Path, tries: int, only: tuple[str, ...] = (), seed: int = 0) -> Iterator[Row]:
    """A row for each kind of rounds."""
    kinds = {
        "`extract` by four processes": lambda row: extractions(base / "cells", row, tries, seed),
        "four processes, a damaged chunk": lambda row: mixed(base / "mixed", row, tries, seed),
        "two `dvc repro`, one cache": lambda row: repros(base / "repros", row, tries, seed),
    }
    for name, play in kinds.items():
        if not only or any(word in name for word in only):
            row = Row(name)
            play(row)
            yield row


def extractions(base: Path, row: Row, tries: int, seed: int) -> None:
    """All begin with nothing; two of them are killed."""
    os.environ["PROBELINE_WAIT_SECONDS"] = "600"
    work = base / "work"
    sandbox.make_study(work)
    for command in (sandbox.GIVEN, *sandbox.STAGES[:2]):
        assert run(work, command).status == 0
    _play(work, row, tries, random.Random(seed), [EXTRACT], (EXTRACT,))


def mixed(base: Path, row: Row, tries: int, seed: int) -> None:
    """All cells are there, a chunk of one is damaged; nobody waits for anybody."""
    os.environ.pop("PROBELINE_WAIT_SECONDS", None)
    work = base / "work"
    sandbox.make_study(work)
    for command in (sandbox.GIVEN, *sandbox.STAGES[:3]):
        assert run(work, command).status == 0
    kills.flip_a_chunk(work)
    end = (REPAIR, EXTRACT, ("neighbors",), ("protocol", "knn"))
    _play(work, row, tries, random.Random(seed), MIXED, end)


def _play(
    work: Path,
    row: Row,
    tries: int,
    rng: random.Random,
    commands: list[tuple[str, ...]] | tuple[tuple[str, ...], ...],
    end: tuple[tuple[str, ...], ...],
) -> None:
    """Rounds of `PROCESSES` commands at once; `end` follows, alone, and makes all the same."""
    before = work.with_name("before")
    shutil.copytree(work, before, symlinks=True)
    changes = {command: run_on_copy(before, work, command) for command in dict.fromkeys(commands)}
    shutil.rmtree(work)
    shutil.copytree(before, work, symlinks=True)
    for command in end:
        assert (ran := run(work, command)).status == 0, ran
    expected = kills.comparable(work)
    for _ in range(tries):
        row.rounds += 1
        shutil.rmtree(work)
        shutil.copytree(before, work, symlinks=True)
        children = []
        for number in range(PROCESSES):
            command = rng.choice(commands)
            fault = None
            if number % 2 == 0 and changes[command]:
                fault = Fault(rng.choice(("KILL", "TERM")), rng.randrange(1, changes[command] + 1))
            children.append((command, fault, *_started(work, command, fault)))
        for command, fault, child, pipe in children:
            with os.fdopen(pipe) as file:
                said = file.read()
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            row.kills += status in (-9, 143, -15)
            row.gave_up += status == 1
            allowed = (0, 1, *(kills.ENDS[fault.kind] if fault else ()))
            explained = status != 1 or said.count("error: ") == 1 or "damaged: " in said
            if status not in allowed or not explained or "Traceback" in said:
                row.faults.append(
                    f"round {row.rounds}, {command}, {fault}: {status}: {said[-900:]}"
                )
        for command in end:
            again = run(work, command)
            if again.status:
                row.faults.append(f"round {row.rounds}, then {command}: {again}")
        row.faults += [
            f"round {row.rounds}: {difference}"
            for difference in kills.differences(work, expected)
            if "/.given." not in difference  # what a killed import left, the next one takes over
        ]


def run_on_copy(before: Path, work: Path, command: tuple[str, ...]) -> int:
    """How many changes a command makes, alone."""
    shutil.rmtree(work)
    shutil.copytree(before, work, symlinks=True)
    return run(work, command).changes


def _started(work: Path, command: tuple[str, ...], fault: Fault | None) -> tuple[int, int]:
    """A process that runs a command, and a pipe with what it says in the end."""
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        return child, reader
    os.close(reader)
    ended = run(work, command, fault, before=lambda: signal.alarm(TOO_LONG) and None)
    with os.fdopen(writer, "w") as pipe:
        pipe.write(ended.out)
    if ended.status < 0:
        os.kill(os.getpid(), -ended.status)
    os._exit(ended.status)


def repros(base: Path, row: Row, tries: int, seed: int) -> None:
    """From nothing, at once; in most rounds one is killed, in some both, and runs again."""
    rng = random.Random(seed)
    template = whole_runs.template(base)
    expected = whole_runs.alone(base, template)
    for number in range(tries):
        row.rounds += 1
        struck, wrong = whole_runs.together(base, template, expected, rng, deep=number % 5 == 0)
        row.kills += struck
        row.faults += [f"round {row.rounds}: {text}" for text in wrong]
