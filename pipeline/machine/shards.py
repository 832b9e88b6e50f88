"""One of several processes that do a stage together: which of them it is, and what it may do."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cache.errors import CellLockedError, ProbelineError
from cache.lock import Lock
from pipeline.machine.environment import variable_set

VARIABLE = "PROBELINE_SHARD"
"""Set by ``--shard`` for the stage's own processes."""

LOOK_SECONDS = 5.0
"""Between two looks at records that other shards make."""


@dataclass(frozen=True)
class Shard:
    """A process's place among those that work together.

    It says where the process begins; whatever others have not begun, it does too, so that one
    shard does all where the others never start.

    Attributes
    ----------
    number, of : int
        From 1 on.
    """

    number: int
    of: int

    @classmethod
    def parse(cls, text: str, place: str = "--shard") -> Shard:
        """What ``i/N`` says.

        Raises
        ------
        ProbelineError
            When it is no such thing, or i is not one of 1 to N.
        """
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text.strip(), re.ASCII)
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise ProbelineError(
                place,
                "names no shard",
                expected="i/N with i from 1 to N, e.g. 1/8, 2/8 … 8/8 for eight processes",
                found=repr(text),
                remedy="count from 1 (a Slurm array: --array=1-8)",
            )
        return cls(int(found[1]), int(found[2]))

    def order(self, parts: int) -> list[int]:
        """Parts in the order in which this process looks at them: from its share on, around."""
        start = (self.number - 1) * parts // self.of
        return [*range(start, parts), *range(start)]

    def announced(self) -> AbstractContextManager[None]:
        """Let this process and those that it starts know, by the environment."""
        return variable_set(VARIABLE, str(self))

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


def this_shard() -> Shard | None:
    """As ``--shard`` said it; None for a process that works alone."""
    text = os.environ.get(VARIABLE, "")
    return Shard.parse(text, f"environment variable {VARIABLE}") if text else None


def until_done(run: Callable[[], tuple[int, int]]) -> tuple[int, int]:
    """Run a stage of records: alone, once; as a shard, until the others have made theirs, too.

    Parameters
    ----------
    run : callable
        Makes what is missing, and gives the numbers of records found and missing.

    Returns
    -------
    cached, computed : int
        Of the first call.
    """
    _taken.clear()
    found = run()
    left = found[1] if this_shard() else 0
    while left:
        if not _taken:
            time.sleep(LOOK_SECONDS)
        _taken.clear()
        left = run()[1]
    return found


_taken: list[Path] = []
"""What was free in a run: if nothing was, others are at all that is left."""


def is_free(path: Path) -> bool:
    """Whether no other shard is making a record, or what `path` else stands for, now."""
    if this_shard() is None:
        return True
    try:
        Lock(_claim(path), str(path)).release()
    except CellLockedError:
        return False
    _taken.append(path)
    return True


@contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Whether this process may make a record; while it does, no other shard may.

    A killed process's claims are free again at once: the kernel lets go of its locks.

    Parameters
    ----------
    path : Path
        The record's, or whatever stands for several.
    """
    if this_shard() is None:
        yield True
        return
    try:
        claim = Lock(_claim(path), str(path))
    except CellLockedError:
        yield False
        return
    with claim:
        yield True
        claim.require_mine()


def is_to_make(path: Path, key: Mapping[str, Any]) -> bool:
    """Whether no other shard has made the record since this one looked."""
    from cache.records import is_current_record

    return this_shard() is None or not is_current_record(path, key)


def _claim(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock.partial")
