"""The memory that a stage may take: what ``PROBELINE_MEMORY`` says, or what is free here."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import psutil

from cache.errors import ProbelineError

VARIABLE = "PROBELINE_MEMORY"

_SIZE = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*([kmgt]?)(i?)b?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}

_CONTROL = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
_NO_LIMIT = 1 << 60


def memory_budget() -> int:
    """Bytes that the processes of a stage may take together.

    ``PROBELINE_MEMORY`` (8GB, 500 MB, 2GiB), else what the machine has free, or the container or
    job (control group) that this process runs in.

    Raises
    ------
    ProbelineError
        When the variable names no size.
    """
    asked = os.environ.get(VARIABLE, "").strip()
    return _parsed(asked) if asked else free_memory()


def free_memory() -> int:
    """Bytes that are free, by the machine and by every control group around this process."""
    return max(0, min(psutil.virtual_memory().available, *_free_in_groups(), _NO_LIMIT))


def in_units(size: float) -> str:
    """As people write it: 1.3 GB, 250 MB."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{max(1, round(size / 1e6)):,} MB"


def _parsed(text: str) -> int:
    found = _SIZE.fullmatch(text)
    unit = "" if found is None else found[2].lower()
    is_bare = found is not None and text[-1].isdigit()  # 8: of what?
    size = (
        0 if found is None else int(float(found[1]) * (1024 if found[3] else 1000) ** _POWERS[unit])
    )
    if found is None or is_bare or size <= 0:
        raise ProbelineError(
            f"environment variable {VARIABLE}",
            "is not an amount of memory",
            expected="a positive number and a unit, e.g. 8GB, 500MB, 1.5GiB",
            found=repr(text),
            remedy=f"unset it to use what is free here ({in_units(free_memory())} now)",
        )
    return size


def _free_in_groups() -> Iterator[int]:
    """What each control group of Linux leaves, of version 2 and of version 1."""
    try:
        lines = _OWN.read_text().splitlines()
    except OSError:  # another system
        return
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0" and not controllers:
            yield from _free_above(_CONTROL, path, "memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            yield from _free_above(
                _CONTROL / "memory",
                path,
                "memory.limit_in_bytes",
                "memory.usage_in_bytes",
                "total_inactive_file",
            )


def _free_above(root: Path, path: str, limit: str, used: str, unused: str) -> Iterator[int]:
    """Of a group and of all that it lies in; pages that hold files only give way."""
    folder = root / path.lstrip("/")
    for group in (folder, *folder.parents):
        if root not in (group, *group.parents):
            return
        try:
            most = int((group / limit).read_text())
            taken = int((group / used).read_text())
            stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):  # "max", or a group of another kind
            continue
        if most < _NO_LIMIT:
            yield most - taken + int(stat.get(unused, 0))
