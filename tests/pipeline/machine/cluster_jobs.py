"""Jobs that workers of a cluster import: quickly, without what the tests themselves need."""

from __future__ import annotations

import os
import time
from pathlib import Path

from cache.errors import ProbelineError
from pipeline.machine.process_pool import Report


def make(path: Path, report: Report) -> None:
    path.write_text(str(os.getpid()))
    report(1, "")


def make_slowly(path: Path, report: Report) -> None:
    with path.with_suffix(".begun").open("a") as begun:
        begun.write(f"{os.getpid()}\n")
    while not Path("go").exists():
        time.sleep(0.02)
    make(path, report)


def make_nothing(path: Path, report: Report) -> None:
    report(1, "")


def fail(path: Path, report: Report) -> None:
    raise ProbelineError(str(path), "is odd", remedy="none")
