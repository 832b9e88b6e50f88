"""The device that computes, chosen once, by the environment."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from cache.errors import ProbelineError
from pipeline.environment import batch_size, cpu_count, requested_device, worker_count


@dataclass(frozen=True)
class Machine:
    """How this machine computes; none of it enters a key.

    Attributes
    ----------
    device : torch.device
    batch_size : int
        Images per forward pass.
    workers : int
        Threads that decode images.
    name : str
        Of the device, for provenance.
    memory : int
        Bytes that models may take on the device.
    """

    device: torch.device
    batch_size: int
    workers: int
    name: str
    memory: int


def this_machine() -> Machine:
    """The machine as PROBELINE_DEVICE, PROBELINE_BATCH_SIZE and PROBELINE_WORKERS ask for it.

    Raises
    ------
    ProbelineError
        When a variable can't be followed.
    """
    device = _device()
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return Machine(
            device,
            batch_size(128),
            worker_count(cpu_count()),
            properties.name,
            properties.total_memory // 2,
        )
    return Machine(device, batch_size(32), worker_count(max(1, cpu_count() // 2)), "cpu", 4 << 30)


def _device() -> torch.device:
    asked = requested_device()
    if asked == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(asked)
    except RuntimeError:
        device = torch.device("meta")
    if device.type == "cpu" or (
        device.type == "cuda" and (device.index or 0) < torch.cuda.device_count()
    ):
        return device
    raise ProbelineError(
        "environment variable PROBELINE_DEVICE",
        "there is no such device on this machine",
        expected=f"auto, cpu, or one of {torch.cuda.device_count()} CUDA devices (cuda:0 …)",
        found=asked,
        remedy="unset it to let Probeline choose",
    )
