"""The devices that compute, chosen once, by the environment."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
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
    devices = chosen_devices()
    allow_tf32(allowed=False)
    _keep_freed_memory()
    if devices[0].type == "cuda":
        _refuse_forced_tf32()
        properties = [torch.cuda.get_device_properties(device) for device in devices]
        return Machine(
            devices,
            batch_size(256),
            256 * 224**2,
            worker_count(cpu_count()),
            ", ".join(sorted({p.name for p in properties})),
            len(devices) * min(p.total_memory for p in properties) // 2,
        )
    return Machine(
        devices,
        batch_size(IMAGES_AT_ONCE),
        PIXELS_AT_ONCE,
        worker_count(max(1, cpu_count() // 2)),
        "cpu",
        4 << 30,
    )


def allow_tf32(*, allowed: bool) -> None:
    """Whether float32 convolutions and products may round their factors to ten bits on a GPU.

    PyTorch allows it in convolutions by default: rows of a ResNet-50 are then off by 5e-4.
    """
    torch.backends.cudnn.allow_tf32 = allowed
    torch.backends.cuda.matmul.allow_tf32 = allowed


@contextmanager
def float32_by(*, tf32: bool) -> Iterator[None]:
    """Compute float32 by TF32, or as float32, whatever was set before; set again afterwards."""
    former = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    allow_tf32(allowed=tf32)
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = former


def require_tf32(device: torch.device) -> None:
    """Refuse TF32 where there is none: its rows would be float32's under another name."""
    has = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    if not has:
        raise ProbelineError(
            "params.yaml: extraction.precision",
            "this machine has no TF32",
            expected="an NVIDIA GPU of compute capability 8.0 or more (A100, RTX 30 …)",
            found=str(device),
            remedy="write precision: float32",
        )


_FORCING = ("NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE")


def _refuse_forced_tf32() -> None:
    for name in _FORCING:
        if os.environ.get(name, "").strip() == "1":
            raise ProbelineError(
                f"environment variable {name}",
                "makes TF32 of all float32, and no key would say so",
                remedy="unset it; extraction.precision: tf32 asks for TF32",
            )


def _keep_freed_memory() -> None:
    """Ask glibc not to return activations to the kernel after every layer.

    Measured on 2 cores, MobileNetV2 at batches of 8: up to a third of the time went into the
    kernel, which zeroed the same pages again and again. Beside a GPU it is batches of pixels that
    come and go: 38 MB each, beyond what glibc keeps by itself.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        trim_threshold, mmap_threshold = -1, -3
        libc.mallopt(trim_threshold, 1 << 30)
        libc.mallopt(mmap_threshold, 32 << 20)  # the largest that glibc accepts


def chosen_devices() -> tuple[torch.device, ...]:
    """All that `PROBELINE_DEVICE` allows: GPUs, or the CPU.

    Raises
    ------
    ProbelineError
        When there is no such device.
    """
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
