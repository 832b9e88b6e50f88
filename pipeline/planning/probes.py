"""What the probes of a study take, before they run: memory of the largest cell, and time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from pipeline.machine.environment import cpu_count
from pipeline.machine.memory import memory_budget
from pipeline.probes.needs import Need, Shape, fewshot_need, linear_need, transfer_need
from pipeline.study.fewshot import FEWSHOT
from pipeline.study.linear import LINEAR
from pipeline.study.schema import Study
from pipeline.study.transfer import TRANSFER

EFFICIENCY = 3.0
"""Times as long as its matrix products a probe takes, about: the rest passes over memory."""
TRIAL = 768
"""Side of the product by which the machine is timed: some hundredths of a second."""


@dataclass(frozen=True)
class ProbePlan:
    """Of one protocol.

    Attributes
    ----------
    protocol : str
    cells : int
        Whose records are not there yet.
    size : float
        Bytes of the largest one's process; NaN where images or features are not known yet.
    streamed : int
        Cells whose features are read in parts, as they do not fit into the memory.
    refused : tuple of str
        Cells that need more than there is.
    seconds : float
        On all processors, about; NaN likewise.
    """

    protocol: str
    cells: int
    size: float
    streamed: int
    refused: tuple[str, ...]
    seconds: float


Shapes = Mapping[tuple[str, str], Shape | None]
"""By data set and model; None where images or features are not known yet."""


def plan_probes(
    study: Study, shapes: Shapes, todo: Callable[[str], Iterable[tuple[str, str]]]
) -> list[ProbePlan]:
    """What linear, few-shot and transfer still take, on this machine.

    Parameters
    ----------
    study : Study
    shapes : mapping
        Of all cells.
    todo : callable
        From a protocol's name to the cells, (data set, model), that it has to score.
    """
    needs: dict[str, Callable[[tuple[str, str], Shape], Need | None]] = {
        LINEAR.name: lambda _, shape: linear_need(study, "numpy", shape),
        FEWSHOT.name: lambda _, shape: fewshot_need(study, shape),
        TRANSFER.name: partial(_transfer, study, shapes),
    }
    waiting = {name: list(todo(name)) for name in needs}
    budget = memory_budget()
    rate = products_a_second() if any(waiting.values()) else math.nan
    found = []
    for name, cells in waiting.items():
        if cells:
            asked = [
                (cell, None if (shape := shapes[cell]) is None else needs[name](cell, shape))
                for cell in cells
            ]
            found.append(_plan(name, asked, budget, rate))
    return found


def products_a_second() -> float:
    """Multiply-adds of one processor, by a trial of the kind of product that probes make."""
    left = np.random.default_rng(0).normal(size=(TRIAL, TRIAL)).astype(np.float32)
    left @ left
    start = time.perf_counter()
    left @ left
    return TRIAL**3 / max(time.perf_counter() - start, 1e-9)


def _transfer(study: Study, shapes: Shapes, cell: tuple[str, str], shape: Shape) -> Need | None:
    dataset, model = cell
    sources = [shapes[name, model] for name in study.transfer.sources if name != dataset]
    known = [source for source in sources if source is not None]
    return transfer_need(study, "numpy", shape, known) if len(known) == len(sources) else None


def _plan(
    name: str, asked: Sequence[tuple[tuple[str, str], Need | None]], budget: int, rate: float
) -> ProbePlan:
    known = [(cell, need) for cell, need in asked if need is not None]
    sizes = [need.held if need.held <= budget else need.least() for _, need in known]
    work = math.fsum(need.work for _, need in known)
    unknown = len(known) < len(asked)
    return ProbePlan(
        name,
        len(asked),
        math.nan if unknown else float(max(sizes)),
        sum(need.least() <= budget < need.held for _, need in known),
        tuple(f"{model} on {dataset}" for (dataset, model), n in known if n.least() > budget),
        math.nan if unknown else EFFICIENCY * work / rate / cpu_count(),
    )
