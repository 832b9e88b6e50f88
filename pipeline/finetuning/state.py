"""The state of an unfinished training: written whole or not at all, and only ever its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cache.errors import ProbelineError
from cache.fingerprint import differences
from pipeline.machine.training_state import load_state

Tensors = dict[str, torch.Tensor]


def read_state(path: Path, key: Mapping[str, Any]) -> dict[str, Any] | None:
    """The state at `path`; None where there is none.

    Raises
    ------
    ProbelineError
        When it is damaged, or of a training that was set up in another way.
    """
    state = load_state(path)
    if state is None:
        return None
    changed = differences(state.get("key") or {}, key)
    if changed:
        raise ProbelineError(
            str(path),
            "the unfinished training was set up in another way, so it can't be continued",
            found="; ".join(changed[:5]),
            remedy="restore those settings, or delete this file to start anew",
        )
    return state


def tensors_of(module: nn.Module) -> Tensors:
    """Copies, on the CPU, of all that training changes: trained parameters and buffers."""
    return {name: tensor.detach().cpu().clone() for name, tensor in _changing(module)}


def put_tensors(module: nn.Module, tensors: Tensors) -> None:
    """Put back what `tensors_of` took from a module built in the same way."""
    with torch.no_grad():
        for name, tensor in _changing(module):
            tensor.copy_(tensors[name])


def _changing(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    yield from ((name, p) for name, p in module.named_parameters() if p.requires_grad)
    yield from module.named_buffers()
