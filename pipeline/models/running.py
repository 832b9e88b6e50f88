"""How a network runs on pixels: what extraction does, and a taken classifier after it."""

from __future__ import annotations

import hashlib
from collections.abc import Collection

import torch
from torch import nn

from pipeline.models.features import compute_features

_AUTOCAST = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def is_convolutional(backbone: nn.Module) -> bool:
    """Whether the network convolves beyond the patch embedding of a transformer."""
    return sum(isinstance(module, nn.Conv2d) for module in backbone.modules()) > 1


def laid_out(backbone: nn.Module) -> nn.Module:
    """The network in the memory format in which it runs fastest.

    Convolutions run up to twice as fast on channels-last memory.
    """
    if not is_convolutional(backbone):
        return backbone
    return backbone.to(memory_format=torch.channels_last)


def of_channels(values: Collection[float], device: torch.device) -> torch.Tensor:
    """A transform's mean or std for pixels of 0 to 255: Tensor of shape (1, 3, 1, 1)."""
    return torch.tensor(values, device=device).view(1, 3, 1, 1) * 255


def features_of_pixels(
    backbone: nn.Module,
    batch: torch.Tensor,
    mean: torch.Tensor,
    std: torch.Tensor,
    precision: str,
    kinds: Collection[str],
) -> dict[str, torch.Tensor]:
    """Every kind of feature, each of shape (n_images, n_features).

    Parameters
    ----------
    backbone : Module
    batch : Tensor of shape (n_images, size, size, 3), uint8
    mean, std : Tensor of shape (1, 3, 1, 1)
        See `of_channels`.
    precision : {"float32", "tf32", "bfloat16", "float16"}
        Of the computation; whether float32 is TF32, `pipeline.machine.devices.float32_by` says.
    kinds : collection of str
        See `pipeline.models.features`.
    """
    # (n, h, w, 3) seen as (n, 3, h, w) is channels-last memory already.
    images = (batch.permute(0, 3, 1, 2).float() - mean) / std
    if precision not in _AUTOCAST:
        return compute_features(backbone, images, kinds)
    with torch.autocast(batch.device.type, dtype=_AUTOCAST[precision]):
        return compute_features(backbone, images, kinds)


def digest_weights(module: nn.Module) -> str:
    """SHA-256 over names, types, shapes and bytes of all parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
