"""Strike every stage and command at chosen places, then run it again.

Killed, terminated, disks that are full or fail, files that may not be read, a project that may only
be read, a file system without locks. After the second run all bytes must be those of a run that
nothing befell, and nothing may lie about.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import small_study
from faults import FAULTS, OF_READING, Fault
from forks import Ran, run
from small_disk import small_disk
from small_study import files
from strikes import CONDITIONS, copy, strike
from targets import targets

SMALL_DISK = "FULL DISK"
"""A disk that holds only a part of what a run writes: a fault's place is the bytes it holds."""

TRIES = {
    "KILL": 2, "TERM": 1, "ENOSPC": 5, "EIO": 5, "EFBIG": 2, "UNREADABLE": 1, "READ EIO": 1,
    SMALL_DISK: 3, **dict.fromkeys(CONDITIONS, 1),
}  # fmt: skip
"""Places at each target, where `--tries 1` is asked for; of changes, one of each sort besides."""


@dataclass
class Row:
    """What was tried at one stage or command."""

    target: str
    changes: int
    tries: dict[str, int] = field(default_factory=lambda: dict.fromkeys(TRIES, 0))
    faults: list[str] = field(default_factory=list)

    def cells(self) -> tuple[str, ...]:
        """Of the table."""
        return (
            f"`{self.target}`", f"{self.changes:,}", *map(str, self.tries.values()),
            str(len(self.faults)),
        )  # fmt: skip


HEADER = ("stage or command", "changes", *TRIES, "faults")


def campaign(
    base: Path, per: int, only: tuple[str, ...] = (), kinds: tuple[str, ...] = ()
) -> Iterator[Row]:
    """One row for each stage and command, as it is done.

    Parameters
    ----------
    base : Path
        An empty folder.
    per : int
        That many times `TRIES` at each target.
    only : tuple of str
        Words of targets; all without.
    kinds : tuple of str
        Of `TRIES`; all without.
    """
    work, before, after = base / "work", base / "before", base / "after"
    small_study.make_study(work)
    asked_last = [t.name for t in targets() if not only or any(word in t.name for word in only)]
    with small_disk(base / "disk") as disk:
        for target in targets():
            target.prepare(work)
            copy(work, before)
            whole = run(work, target.command)
            assert whole.status == 0, (target.name, whole)
            copy(work, after)
            if target.name not in asked_last:
                continue
            row = Row(target.name, whole.changes)
            for fault in _faults(whole, per, _written(before, after)):
                if (kinds and fault.kind not in kinds) or (fault.kind == SMALL_DISK and not disk):
                    continue
                row.tries[fault.kind] += 1
                on = disk if fault.kind == SMALL_DISK else None
                place = work if on is None else on.folder / "work"
                copy(before, place)
                wrong = strike(place, target, fault, after, on)
                row.faults += [f"{target.name}, {fault}: {text}" for text in wrong]
            copy(after, work)
            yield row
            if target.name == asked_last[-1]:
                return


SMALL = {
    "cache import": ("KILL",), "cache export": ("UNREADABLE",), "status": ("READ-ONLY",),
    "neighbors, anew": ("EFBIG",), "cache verify --repair": ("TERM", "NO LOCKS"),
    "extract pets, damaged": ("ENOSPC",), "cache prune": ("READ-ONLY",),
}  # fmt: skip
"""What the tests try."""


def in_study(study: Path) -> Iterator[Row]:
    """`SMALL`, on a study that is made already, which is as it was afterwards."""
    base = study.parent
    made, before, after = base / "made", base / "before", base / "after"
    copy(study, made)
    for target in targets():
        if target.name not in SMALL:
            continue
        copy(made, study)
        target.prepare(study)
        copy(study, before)
        whole = run(study, target.command)
        assert whole.status == 0, (target.name, whole)
        copy(study, after)
        row = Row(target.name, whole.changes)
        for kind in SMALL[target.name]:
            of = whole.touched.reads if kind in OF_READING else whole.changes
            fault = Fault(kind, (of + 1) // 2)
            copy(before, study)
            row.faults += [
                f"{target.name}, {fault}: {text}" for text in strike(study, target, fault, after)
            ]
            row.tries[kind] += 1
        yield row
    copy(made, study)


def _faults(whole: Ran, per: int, written: int) -> Iterator[Fault]:
    """Each kind at places of its own, spread over a run."""
    for kind, some in TRIES.items():
        tries, shift = some * per, (FAULTS.index(kind) + 0.5) / len(FAULTS) if kind in FAULTS else 0
        if kind in CONDITIONS:
            yield Fault(kind, 0)
        elif kind == SMALL_DISK:
            for turn in range(tries if written else 0):
                yield Fault(kind, written * turn // tries)
        elif kind in OF_READING:
            for at in _spread(whole.touched.reads, tries, shift):
                yield Fault(kind, at)
        else:
            for at in places(whole.touched.changes, tries, shift):
                yield Fault(kind, at)


def places(changes: Sequence[str], tries: int, shift: float) -> list[int]:
    """Places of changes, from 1 on: spread, with the first, the last, and one of each sort.

    Parameters
    ----------
    changes : sequence of str
        What a run did, in order: "open", "fsync", "rename" …
    tries : int
        At least so many, where there are.
    shift : float
        From 0 to below 1; other places.
    """
    spread = sorted(_spread(len(changes), tries, shift))
    if tries < 3 or not changes:
        return spread
    chosen = {1, len(changes)}
    for sort in sorted(set(changes) - {changes[0], changes[-1]}):
        those = [at for at, name in enumerate(changes, 1) if name == sort]
        chosen.add(those[int(len(those) * shift)])
    between = [at for at in spread if at not in chosen]
    more = max(0, min(tries - len(chosen), len(between)))
    return sorted(chosen.union(between[(len(between) - more) // 2 :][:more]))


def _spread(many: int, tries: int, shift: float) -> set[int]:
    return {1 + int(many * (n + shift) / tries) for n in range(tries)} if many else set()


def _written(before: Path, after: Path) -> int:
    """Bytes of the files that a run wrote."""
    old, new = files(before), files(after)
    return sum(len(data) for name, data in new.items() if old.get(name) != data)
