"""Tensors that a network can't take as its weights, and what they tell of the checkpoint."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import torch

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

_RGB = 3

Tensors = Mapping[str, torch.Tensor]


def no_weights(key: str, value: torch.Tensor) -> str:
    """What kind of tensor it is, if it is none that holds plain numbers; else ""."""
    if value.is_quantized:
        return f"{key} is quantised ({value.dtype})"
    if value.is_meta:
        return f"{key} has a shape and no numbers (device meta)"
    if value.layout != torch.strided:
        return f"{key} is sparse ({value.layout})"
    if value.is_complex():
        return f"{key} is complex ({value.dtype})"
    return ""


def not_floating(state: Tensors, own: Tensors) -> list[str]:
    """Keys whose weights are whole numbers, or another form of quantised ones, with their type."""
    return [
        f"{key} ({str(state[key].dtype).removeprefix('torch.')})"
        for key, ours in own.items()
        if key in state and ours.is_floating_point() and state[key].dtype not in _FLOATS
    ]


def not_finite(model: torch.nn.Module, keys: Mapping[str, object]) -> list[str]:
    """Keys of loaded weights that are not finite; buffers may be infinite, as masks are."""
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    return [
        key
        for key, value in model.state_dict().items()
        if key in keys
        and value.is_floating_point()
        and not (torch.isfinite(value) if key in parameters else ~torch.isnan(value)).all()
    ]


def of_other_channels(state: Tensors, own: Tensors) -> str:
    """Of a first layer for images of one or four channels: which, and of how many; else ""."""
    for key, ours in own.items():
        theirs = state.get(key)
        if theirs is None or ours.ndim != 4 or theirs.ndim != 4 or ours.shape[1] != _RGB:
            continue
        same = ours.shape[0] == theirs.shape[0] and ours.shape[2:] == theirs.shape[2:]
        if same and theirs.shape[1] != _RGB:
            count = theirs.shape[1]
            return f"{key} takes images of {count} channel{'s' * (count != 1)}, not RGB"
    return ""


def of_other_size(state: Tensors, own: Tensors, model: torch.nn.Module) -> int | None:
    """The image size that the checkpoint's position embedding is for, where that is certain."""
    embed = getattr(model, "patch_embed", None)
    grid, patch = getattr(embed, "grid_size", None), getattr(embed, "patch_size", None)
    ours, theirs = own.get("pos_embed"), state.get("pos_embed")
    if ours is None or theirs is None or grid is None or not isinstance(patch, tuple):
        return None
    if ours.ndim != 3 or theirs.ndim != 3 or ours.shape[2] != theirs.shape[2]:
        return None
    if patch[0] != patch[1]:
        return None
    tokens = theirs.shape[1] - (ours.shape[1] - grid[0] * grid[1])
    side = math.isqrt(max(tokens, 0))
    size = side * int(patch[0])
    return size if side > 0 and side * side == tokens and side != grid[0] else None


def channels_wanted(words: str) -> int | None:
    """How many channels a network's first layer takes, from PyTorch's words; None if other."""
    match = re.search(r"to have (\d+) channels, but got 3 channels", words)
    return int(match[1]) if match else None


def weights_within(checkpoint: Mapping[str, Any], depth: int = 3) -> dict[str, set[str]]:
    """Dictionaries of tensors inside a checkpoint: their entries, and the names that they hold.

    Of a file that keeps several copies (of a student and its teacher, or averaged weights beside
    the others) each is one.
    """
    found: dict[str, set[str]] = {}
    for key, value in checkpoint.items():
        if not isinstance(value, Mapping) or not depth:
            continue
        names = {str(name) for name, of in value.items() if isinstance(of, torch.Tensor)}
        if names:
            found[str(key)] = names
        deeper = weights_within(value, depth - 1)
        found |= {f"{key}.{entry}": of for entry, of in deeper.items()}
    return found
