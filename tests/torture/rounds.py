"""Several processes on one study, again and again; some of them are killed.

Then everything must be as if one had been alone: the same bytes, nothing left, provenance whole. A
process that is not killed ends well, or says in one explained error why it gave up.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

HEADER = ("rounds of", "rounds", "killed", "gave up, and said why", "faults")


@dataclass
class Row:
    """What became of the rounds."""

    name: str
    rounds: int = 0
    killed: int = 0
    gave_up: int = 0
    faults: list[str] = field(default_factory=list)

    def cells(self) -> tuple[str, ...]:
        """Of the table."""
        numbers = (self.rounds, self.killed, self.gave_up, len(self.faults))
        return self.name, *map(str, numbers)

    def played(self, killed: int, gave_up: int, faults: list[str]) -> None:
        """Count a round, and say so: a campaign takes hours, and may have to end early."""
        self.rounds += 1
        self.killed += killed
        self.gave_up += gave_up
        self.faults += [f"round {self.rounds}, {fault}" for fault in faults]
        print("".join(f"{fault}\n" for fault in faults), end="", file=sys.stderr)
        print(time.strftime("%H:%M:%S"), " | ".join(self.cells()), file=sys.stderr, flush=True)


def campaign(base: Path, tries: int, only: tuple[str, ...] = (), seed: int = 0) -> Iterator[Row]:
    """A row for each kind of rounds."""
    import cell_rounds
    import repro_rounds

    kinds = {
        "`extract` by four processes": lambda row: cell_rounds.extractions(base, row, tries, seed),
        "four processes, a damaged chunk": lambda row: cell_rounds.mixed(base, row, tries, seed),
        "two `dvc repro`, one cache": lambda row: repro_rounds.pairs(base, row, tries, seed),
    }
    for name, play in kinds.items():
        if not only or any(word in name for word in only):
            row = Row(name)
            play(row)
            yield row
