"""Four processes make the same cells at once, and some of them are killed; then one goes on.

Whatever the order, the cells are those of a run that was alone, nothing lies about, and what was
recorded of them is whole. (Two whole `dvc repro` at once wait for DVC's own lock.)
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import sandbox
from sandbox import Fault, files, run

HEADER = ("rounds of", "rounds", "kills", "faults")
PROCESSES = 4


@dataclass
class Row:
    """What became of the rounds."""

    name: str
    rounds: int = 0
    kills: int = 0
    faults: list[str] = field(default_factory=list)

    def cells(self) -> tuple[str, ...]:
        """Of the table."""
        return self.name, str(self.rounds), str(self.kills), str(len(self.faults))


def campaign(base: Path, tries: int, only: tuple[str, ...] = (), seed: int = 0) -> Iterator[Row]:
    """One row."""
    os.environ["PROBELINE_WAIT_SECONDS"] = "600"
    work, before = base / "work", base / "before"
    sandbox.make_study(work)
    for command in (sandbox.GIVEN, *sandbox.STAGES[:2]):
        assert run(work, command).status == 0
    shutil.copytree(work, before)
    stage = ("extract", "pets")
    whole = run(work, stage)
    expected = _cells(work)
    row, rng = Row("`extract` by four processes"), random.Random(seed)
    for _ in range(tries):
        shutil.rmtree(work)
        shutil.copytree(before, work)
        children = []
        for number in range(PROCESSES):
            kill = number % 2 == 0
            fault = (
                Fault(rng.choice(("KILL", "TERM")), rng.randrange(1, whole.changes))
                if kill
                else None
            )
            child = os.fork()
            if not child:
                ended = run(work, stage, fault)
                os._exit(0 if ended.status in (0, -9, -15, 143) else 1)
            children.append(child)
            row.kills += kill
        statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        again = run(work, stage)
        row.rounds += 1
        if any(statuses) or again.status:
            row.faults.append(f"round {row.rounds}: {statuses}, then {again}")
        found = _cells(work)
        row.faults += [
            f"round {row.rounds}: {name}"
            for name in sorted(found.keys() | expected.keys())
            if found.get(name) != expected.get(name)
        ]
    yield row


def _cells(work: Path) -> dict[str, bytes]:
    return {n: d for n, d in files(work).items() if not n.startswith("data/cards/")}
