"""One fault at one stage or command, and what went wrong after it ran again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from faults import ENDS, Fault, as_ordinary_user, read_only, with_full_output, without_locks
from forks import Ran, ended, forked, run
from small_disk import SmallDisk
from small_study import files
from targets import Target

OF_THE_MACHINE = ("data/cards/", ".probeline/")
"""Named by times and absolute paths, or holding them: of no result. Left-overs there count."""

CONDITIONS = {
    "READ-ONLY": "may not be written",
    "NO LOCKS": "file system without locks",
    "FULL OUTPUT": "standard output: the disk is full",
}
"""What holds for a whole run, and what is said where the run can't do without."""


def strike(
    work: Path, target: Target, fault: Fault, after: Path, disk: SmallDisk | None = None
) -> list[str]:
    """What went wrong; nothing, where all is well."""
    wrong = []
    if disk is not None:
        disk.leave(fault.at)
        struck = run(work, target.command)
        disk.enlarge()
    elif fault.kind in CONDITIONS:
        struck = _under_condition(work, target.command, fault.kind)
    else:
        struck = run(work, target.command, fault)
    if struck.status not in (0, *ENDS.get(fault.kind, (1,))):
        wrong.append(f"status {struck.status}: {struck.out[-300:]}")
    if struck.status == 1:
        wrong += _said(struck.out, fault.kind)
    if "Traceback" in struck.out:
        wrong.append(f"a traceback: {struck.out[-900:]}")
    if struck.status == 0:  # then it must be as if nothing had been
        wrong += [f"it ended well, but {text}" for text in differences(work, comparable(after))]
    if target.reads and fault.kind == "READ-ONLY" and struck.status:
        wrong.append(f"it can't read what it may only read: {struck.out[-300:]}")
    again = run(work, target.command)
    if again.status:
        return [*wrong, f"the second run: status {again.status}: {again.out[-600:]}"]
    left = differences(work, comparable(after))
    if left and all(text.endswith(" is left") for text in left):
        clear(work)
        left = differences(work, comparable(after))
    return wrong + left


def clear(folder: Path) -> None:
    """As `probeline cache prune` begins: what was left when all was done, no second run clears."""

    def inside() -> int:
        from pipeline.planning.left_overs import clear_dead

        os.chdir(folder)
        clear_dead()
        return 0

    assert ended(forked(inside)) == 0, folder


def _said(out: str, kind: str) -> list[str]:
    """What is missing in the words of a run that gave up."""
    if out.count("error: ") != 1 or "to mend" not in out:
        return [f"not one explained error: {out[-300:]}"]
    words = CONDITIONS.get(kind, "")
    if words not in out and "may not do with it" not in out:
        return [f"does not say {words!r}: {out[-300:]}"]
    return []


_BEFORE: dict[str, Callable[[], object]] = {
    "READ-ONLY": as_ordinary_user, "NO LOCKS": without_locks, "FULL OUTPUT": with_full_output,
}  # fmt: skip


def _under_condition(work: Path, command: tuple[str, ...], kind: str) -> Ran:
    if kind != "READ-ONLY":
        return run(work, command, before=_BEFORE[kind])
    with read_only(work):
        return run(work, command, before=_BEFORE[kind])


def differences(work: Path, expected: dict[str, bytes]) -> list[str]:
    """What is not as it should be."""
    found = comparable(work)
    return [
        f"{name} is "
        + ("absent" if name not in found else "left" if name not in expected else "other")
        for name in sorted(found.keys() | expected.keys())
        if found.get(name) != expected.get(name)
    ]


def comparable(folder: Path) -> dict[str, bytes]:
    """What must be the same after every run."""
    return {
        name: data
        for name, data in files(folder).items()
        if not name.startswith(OF_THE_MACHINE) or ".partial" in name
    }


def copy(of: Path, to: Path) -> None:
    """Make one folder as another is."""
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(of, to, symlinks=True)
