"""About how much memory the heavy stages take, before they start."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.machine.process_pool import COPIES
from pipeline.probes.protocol import copy_bytes

_LOADED = 6e8
"""Bytes of a process that has imported PyTorch."""

_CHUNK = 16 << 20
"""Bytes of a chunk of a cell; each model fills one at a time, and two wait for the disk."""


@dataclass(frozen=True)
class StageMemory:
    """What a stage takes.

    Attributes
    ----------
    stage : str
    size : float
        Bytes; NaN where the images or networks are not known yet.
    why : str
    """

    stage: str
    size: float
    why: str


def extraction_memory(parameters: Iterable[float], batch: int, allowed: int) -> StageMemory:
    """Of `extract`: networks that are loaded together, with their activations, and images.

    Parameters
    ----------
    parameters : iterable of float
        Of each network to run.
    batch : int
        Images decoded together.
    allowed : int
        Bytes that networks may take together (`pipeline.machine.devices.Machine.memory`).
    """
    sizes = [8 * count for count in parameters]  # float32, and as much again for activations
    together = min(math.fsum(sizes), max([allowed, *sizes])) if sizes else 0.0
    images = 3 * batch * 3 * 224 * 224  # as decoded and resized, two batches ahead
    chunks = (len(sizes) + 2) * _CHUNK
    return StageMemory(
        "extract", _LOADED + together + images + chunks, "networks loaded together, a chunk each"
    )


def probes_memory(cells: Sequence[tuple[float, float, float]]) -> StageMemory:
    """Of `linear` and the other probes: the largest cell, in one process.

    Parameters
    ----------
    cells : sequence of (float, float, float)
        Rows, features and classes of each.
    """
    if any(math.isnan(number) for cell in cells for number in cell):
        return StageMemory("linear, fewshot, transfer", math.nan, "images or features not known")
    sizes = (copy_bytes(int(rows), int(cols), int(classes)) for rows, cols, classes in cells)
    largest = max(sizes, default=0)
    return StageMemory(
        "linear, fewshot, transfer",
        float(COPIES * largest),
        f"up to {COPIES} copies of the largest cell, for each process",
    )
