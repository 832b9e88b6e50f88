"""What is kept of settings that the study no longer has: how much it is, in words."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from pipeline.project.paths import FORMER
from pipeline.project.words import number_of


def former_results() -> list[Path]:
    """The files of all former records and tables, sorted."""
    return sorted([*FORMER.glob("*/*/*.parquet"), *FORMER.glob("*/*.nc")])


def size_in_mb(paths: Sequence[Path]) -> float:
    """Of files, some of which may be removed meanwhile."""
    size = 0
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            size += path.stat().st_size
    return size / 1e6


def describe(found: Sequence[Path]) -> str:
    """In one line; "" of nothing."""
    if not found:
        return ""
    many = number_of(len(found), "file")
    return (
        f"{many} of results of former settings, {size_in_mb(found):,.1f} MB in {FORMER}/: what is "
        "asked for again comes from there; `probeline cache prune` deletes them"
    )
