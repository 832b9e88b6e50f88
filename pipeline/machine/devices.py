"""The devices that compute, chosen once, by the environment."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import torch

from cache.errors import ProbelineError
from pipeline.machine.environment import batch_size, cpu_count, requested_device, worker_count

PIXELS_AT_ONCE = 8 * 224**2
"""Pixels that a CPU runs together: activations of larger batches leave its caches."""

IMAGES_AT_ONCE = 64
"""Images that a CPU decodes together."""


@dataclass(frozen=True)
class Machine:
    """How this machine computes; none of it enters a key.

    Attributes
    ----------
    devices : tuple of torch.device
        All that compute, each with networks of its own.
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
        Bytes that models may take on the devices together.
    """

    devices: tuple[torch.device, ...]
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
    devices = _devices()
    if devices[0].type == "cuda":
        properties = [torch.cuda.get_device_properties(device) for device in devices]
        return Machine(
            devices,
            batch_size(256),
            256 * 224**2,
            worker_count(cpu_count()),
            ", ".join(sorted({p.name for p in properties})),
            len(devices) * min(p.total_memory for p in properties) // 2,
        )
    _keep_freed_memory()
    return Machine(
        devices,
        batch_size(IMAGES_AT_ONCE),
        PIXELS_AT_ONCE,
        worker_count(max(1, cpu_count() // 2)),
        "cpu",
        4 << 30,
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


def _devices() -> tuple[torch.device, ...]:
    asked = requested_device()
    cuda = tuple(torch.device("cuda", number) for number in range(torch.cuda.device_count()))
    if asked in ("auto", "cuda") and cuda:
        return cuda
    if asked in ("auto", "cpu"):
        return (torch.device("cpu"),)
    chosen = tuple(device for device in cuda if str(device) == asked)
    if chosen:
        return chosen
    raise ProbelineError(
        "environment variable PROBELINE_DEVICE",
        "there is no such device on this machine",
        expected=f"auto, cpu, cuda (all), or one of {len(cuda)} CUDA devices (cuda:0 …)",
        found=asked,
        remedy="unset it to let Probeline choose",
    )
