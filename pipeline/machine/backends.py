"""Which library computes a stage, and on what: asked for by name, or chosen for each cell.

``PROBELINE_BACKEND`` is a backend for every stage that has a choice (``torch``), or one for some of
them (``linear:sklearn,neighbors:torch``), or both. What is not asked for is ``auto``: a GPU where
there is one and a cell is large enough to gain by it, else our own code on the CPU. Every record
says what computed it; no key does.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cache.errors import ProbelineError
from pipeline.machine.environment import requested_device, variable_set

VARIABLE = "PROBELINE_BACKEND"

BACKENDS = ("numpy", "torch", "sklearn", "cuml")
"""In the order of preference; ``numpy`` and ``torch`` run our own code."""

ON_GPU = ("torch", "cuml")
"""Backends that compute on a GPU where there is one; cuML does nowhere else."""

WORTH, WORTH_A_FIT = 1e11, 1e9
"""Multiply-adds of a cell, and of each of its fits, from which ``auto`` takes a GPU: seconds, and
hundredths, of one processor. Below, a GPU gains less than its start and its launches take.
Reckoned, not measured."""

CUML_ELEMENTS = 2**31 - 1
"""cuML counts the elements of a matrix in 32 bits."""


@dataclass(frozen=True)
class Choice:
    """What computes the cells of a stage.

    Attributes
    ----------
    stage : str
    asked : str
        A backend, or ``auto``.
    offered : tuple of str
        What the stage can compute with; the first is what ``auto`` takes on a CPU.
    """

    stage: str
    asked: str
    offered: tuple[str, ...] = BACKENDS[:1]

    @cached_property
    def gpus(self) -> tuple[str, ...]:
        """Devices that the stage may compute on; looking for them may import torch."""
        able = self.asked in ON_GPU or (self.asked == "auto" and "torch" in self.offered)
        return cuda_devices() if able else ()

    def of(self, work: float, fits: int = 1) -> str:
        """The backend of a cell that takes so many multiply-adds, in so many fits."""
        if self.asked != "auto":
            return self.asked
        gains = work >= WORTH and work / max(1, fits) >= WORTH_A_FIT
        return "torch" if gains and self.gpus else self.offered[0]

    def is_on_gpu(self, backend: str) -> bool:
        """Whether a cell of this backend computes on a GPU."""
        return bool(self.gpus) and backend in ON_GPU

    def told(self, backends: Sequence[str], what: str) -> str:
        """A stage's words on what computes so many cells, each by its backend."""
        parts = []
        for backend, count in Counter(backends).most_common():
            where = ", ".join(self.gpus) if self.is_on_gpu(backend) else "the CPU"
            parts.append(f"{count:,} by {backend} on {where}")
        return f"{what}: {'; '.join(parts)}"


def choose_backend(stage: str, offered: Mapping[str, tuple[str, ...]]) -> Choice:
    """What ``PROBELINE_BACKEND`` asks of a stage.

    Parameters
    ----------
    stage : str
    offered : mapping of str to tuple of str
        What each stage can compute with that has a choice; others take our own code.

    Raises
    ------
    ProbelineError
        When the variable names no backend, no stage, one that the stage does not have, or a
        library that can't compute here. Nothing is ever replaced silently.
    """
    asked = _asked(offered)
    name = asked.get(stage, asked.get("", "auto"))
    if stage not in offered:
        return Choice(stage, "auto")
    if name != "auto" and name not in offered[stage]:
        others = [other for other, names in offered.items() if name in names]
        raise ProbelineError(
            f"environment variable {VARIABLE}",
            f"{stage} does not compute with {name}",
            expected=", ".join(("auto", *offered[stage])),
            found=os.environ[VARIABLE],
            remedy=f"name the stages that do: {VARIABLE}="
            + ",".join(f"{other}:{name}" for other in others),
        )
    choice = Choice(stage, name, offered[stage])
    if name == "cuml":
        _require_cuml(choice)
    return choice


def require_cuml_size(place: str, *shape: int) -> None:
    """Refuse a matrix whose elements cuML can't count.

    Parameters
    ----------
    place : str
        Whose matrix it is, for the message.
    *shape : int
    """
    elements = 1
    for side in shape:
        elements *= side
    if elements > CUML_ELEMENTS:
        raise ProbelineError(
            place,
            "is too large for cuML, which counts a matrix's elements in 32 bits",
            expected=f"at most {CUML_ELEMENTS:,} elements",
            found=f"{' x '.join(f'{side:,}' for side in shape)} = {elements:,}",
            remedy=f"set {VARIABLE}=torch, which has no such limit",
        )


def cuda_devices() -> tuple[str, ...]:
    """The GPUs that `PROBELINE_DEVICE` allows here, as ``cuda:0``.

    Without a GPU's driver torch is not even imported: that takes seconds.
    """
    if requested_device() == "cpu" or ("torch" not in sys.modules and not _has_driver()):
        return ()
    from pipeline.machine.devices import chosen_devices

    return tuple(str(device) for device in chosen_devices() if device.type == "cuda")


def computing_on(device: str) -> AbstractContextManager[None]:
    """Compute on one device meanwhile, if one is named, whatever `PROBELINE_DEVICE` says."""
    return variable_set("PROBELINE_DEVICE", device) if device else nullcontext()


def device_name(backend: str) -> str:
    """Of what a backend computes on in this process, for records."""
    if backend not in ON_GPU:
        return "cpu"
    from pipeline.machine.devices import this_machine

    return this_machine().name


def _asked(offered: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Backends by stage; under "" that of all stages which are not named."""
    place, text = f"environment variable {VARIABLE}", os.environ.get(VARIABLE, "").strip()
    found: dict[str, str] = {}
    for part in text.split(",") if text else ():
        stage, _, name = (word.strip() for word in part.rpartition(":"))
        if name != "auto" and name not in BACKENDS:
            raise ProbelineError(
                place,
                "is not a backend",
                expected=f"auto, {', '.join(BACKENDS)}",
                found=repr(name),
                remedy="unset it to use each stage's own",
            )
        if stage in found:
            raise ProbelineError(
                place,
                f"names {stage or 'a backend of all stages'} twice",
                found=text,
                remedy=f"name each stage once: {VARIABLE}="
                + ",".join(f"{name}:auto" for name in list(offered)[:2]),
            )
        if stage and stage not in offered:
            raise ProbelineError(
                place,
                f"{stage} is no stage that has a choice of backends",
                expected=", ".join(offered),
                found=text,
                remedy="name one of these; kNN votes on what the stage neighbors has searched",
            )
        if stage and name != "auto" and name not in offered[stage]:
            raise ProbelineError(
                place,
                f"{stage} does not compute with {name}",
                expected=", ".join(("auto", *offered[stage])),
                found=text,
                remedy=f"leave {part.strip()} out to use the stage's own",
            )
        found[stage] = name
    return found


def _require_cuml(choice: Choice) -> None:
    """Refuse it early: it can be imported without a GPU, and fails when it is to compute."""
    found, remedy = "", "unset it, or set it to torch"
    if importlib.util.find_spec("cuml") is None:
        found = "cuML is not installed"
        remedy = "with a CUDA GPU: pip install -c constraints-gpu.txt -e '.[gpu]'; or unset it"
    elif not choice.gpus:
        found = f"no CUDA device (PROBELINE_DEVICE is {requested_device()})"
    if found:
        raise ProbelineError(
            f"environment variable {VARIABLE}",
            "cuML can't compute here",
            expected="cuML, and a CUDA device",
            found=found,
            remedy=remedy,
        )


def _has_driver() -> bool:
    """Whether this machine has a driver of NVIDIA's or AMD's GPUs."""
    if Path("/dev/kfd").exists():
        return True
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True
