"""The device that computes, chosen once, by the environment."""

from __future__ import annotations

import ctypes
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
        Images decoded together, and at most run together.
    pixels : int
        Pixels run together: large images go through in smaller batches, so that activations stay
        in the caches of a CPU and in the memory of a GPU.
    workers : int
        Threads that decode images.
    name : str
        Of the device, for provenance.
    memory : int
        Bytes that models may take on the device.
    """

    device: torch.device
    batch_size: int
    pixels: int
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
            batch_size(256),
            256 * 224**2,
            worker_count(cpu_count()),
            properties.name,
            properties.total_memory // 2,
        )
    _keep_freed_memory()
    return Machine(
        device, batch_size(64), 8 * 224**2, worker_count(max(1, cpu_count() // 2)), "cpu", 4 << 30
    )


def _keep_freed_memory() -> None:
    """Ask glibc not to return activations to the kernel after every layer.

    Measured on 2 cores, MobileNetV2 at batches of 8: up to a third of the time went into the
    kernel, which zeroed the same pages again and again.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        trim_threshold, mmap_threshold = -1, -3
        libc.mallopt(trim_threshold, 1 << 30)
        libc.mallopt(mmap_threshold, 32 << 20)  # the largest that glibc accepts


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
