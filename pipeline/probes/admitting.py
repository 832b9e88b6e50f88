"""Which cells a process's memory and a device's allow, held or in parts, and what each takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from cache.errors import ProbelineError
from pipeline.machine.backends import Choice
from pipeline.machine.memory import VARIABLE, in_units
from pipeline.machine.process_pool import Cost, job_memory
from pipeline.probes.needs import PROCESS, Need
from pipeline.probes.pending import Pending
from pipeline.probes.task import Task

_LOOK_UP = Need(PROCESS, PROCESS, 1.0)
"""Of a record of which everything is known."""


def allowed_tasks(
    protocol: str,
    pending: Sequence[Pending],
    need: Callable[[Task], Need],
    choice: Choice,
    failed: list[ProbelineError],
) -> tuple[list[Pending], list[Cost]]:
    """Tasks that the memory suffices for, streamed where they must be; others are refused."""
    allowed, costs = [], []
    budget = job_memory() if pending else 0
    for record, task in pending:
        asked = _LOOK_UP
        if task.variants != ():
            asked = need(task)
            task = replace(task, backend=choice.of(asked.work, asked.fits))
            asked = need(task)  # by that backend
        name = f"{protocol} of {task.model} on {task.dataset}"
        if asked.least() > budget:
            failed.append(_too_large(name, asked, budget))
            continue
        streamed = asked.held > budget
        size = asked.least() if streamed else asked.held
        task = replace(task, streamed=streamed)
        on_gpu = task.variants != () and choice.is_on_gpu(task.backend)
        if on_gpu:
            task = replace(task, instead=_instead(task, asked, choice))
        allowed.append((record, task))
        costs.append(Cost(name, size, asked.work, on_gpu))
    return allowed, costs


def _instead(task: Task, asked: Need, choice: Choice) -> Task | None:
    """In parts, which are read again and again; else on the CPU, unless a GPU was asked for."""
    on_cpu = replace(task, backend="numpy") if choice.asked == "auto" else None
    if task.streamed or asked.streamed is None:
        return on_cpu
    return replace(task, streamed=True, instead=on_cpu)


def _too_large(name: str, asked: Need, budget: int) -> ProbelineError:
    whole = "" if asked.streamed is not None else ", with all features in memory"
    return ProbelineError(
        name,
        "needs more memory than it may take",
        expected=f"at most {in_units(budget)} ({VARIABLE}, or what is free here)",
        found=f"about {in_units(asked.least())}{whole}",
        remedy=f"set {VARIABLE} to as much where the machine has it, run it on a larger one, or "
        "ask for less: fewer heads, or models of fewer features",
    )


def features_need(task: Task) -> Need:
    """Of a probe of which nothing is known: a few copies of the features."""
    cells = [*filter(None, (task.train_cell, task.val))]
    size = sum(c.manifest.rows * c.manifest.columns for c in cells)
    return Need(PROCESS + 16 * size, None, float(size))
