"""About how much memory the heavy stages take, before they start."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.probes.needs import PROCESS, WITH_TORCH

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
        "extract",
        PROCESS + WITH_TORCH + together + images + chunks,
        "networks loaded together, a chunk each",
    )
