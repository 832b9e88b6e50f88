"""Computing what records miss, on the device that was chosen, and storing each when it is done."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from typing import Any

import pyarrow as pa

from cache.errors import ProbelineError
from pipeline.machine.backends import ON_GPU, computing_on, device_name
from pipeline.machine.device_memory import first_that_fits
from pipeline.machine.failures import all_in_one
from pipeline.machine.process_pool import Report
from pipeline.probes.pending import Pending
from pipeline.probes.task import Probe, Scored, Task
from pipeline.study.variant import Variant


def score_cells(protocol: str, probe: Probe, batch: list[Pending], report: Report) -> None:
    """Run a probe on one cell after the other and store each record; one stops no other."""
    failed = []
    for record, task in batch:
        try:
            record.make(partial(_computed, protocol, probe, task), task.val.manifest.rows)
        except ProbelineError as error:
            failed.append(_at(error, f"{task.model} on {task.dataset}"))
            continue
        report(1, "")
    if failed:
        raise all_in_one(protocol, failed, len(batch), "cells")


def _computed(
    protocol: str, probe: Probe, task: Task, variants: tuple[Variant, ...]
) -> tuple[list[dict[str, Any]], pa.Table]:
    """What a probe finds, as its task asks, or as the device's memory allows; rows say on what."""
    what = f"{protocol} of {task.model} on {task.dataset}"
    ways = [task]
    while ways[-1].instead is not None:
        ways.append(ways[-1].instead)

    def attempt(way: Task) -> Scored:
        # So do heads that torch trains: no process but a GPU's own computes there.
        with computing_on("" if way.backend in ON_GPU else "cpu"):
            scored = probe(replace(way, variants=variants))
            for row in scored.rows:
                row["details"].setdefault("device", device_name(row["backend"]))
        return scored

    def moved(number: int) -> None:
        where = "in parts" if ways[number].backend == task.backend else "on the CPU"
        print(f"{what}: the device's memory does not hold it; computed {where}", file=sys.stderr)

    scored = first_that_fits([partial(attempt, way) for way in ways], what, moved)
    return scored.rows, scored.outcomes


def _at(error: ProbelineError, cell: str) -> ProbelineError:
    """The same error, which says of which cell it is where its place does not."""
    if "/" in error.place or cell in error.place:
        return error
    return error.at(f"{cell}: {error.place}")
