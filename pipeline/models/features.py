"""Computes the features of `feature_kinds.FEATURES`: the layer and the pooling of each."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch

from cache.errors import ProbelineError


def compute_features(
    backbone: Any, images: torch.Tensor, kinds: Collection[str]
) -> dict[str, torch.Tensor]:
    """Every feature asked for, from one forward pass.

    Parameters
    ----------
    backbone : Module
        A timm model without classifier.
    images : Tensor of shape (n_images, 3, size, size)
    kinds : collection of str

    Returns
    -------
    dict of str to Tensor of shape (n_images, n_features)

    Raises
    ------
    ProbelineError
        When the backbone has no such feature.
    """
    class_tokens: list[torch.Tensor] = []
    if "last4_cls" in kinds:
        _require_class_token(backbone, "last4_cls")
        final, blocks = backbone.forward_intermediates(
            images, indices=4, norm=True, return_prefix_tokens=True, output_fmt="NLC"
        )
        class_tokens = [prefix[:, 0] for _, prefix in blocks]
    else:
        final = backbone.forward_features(images)
    return {kind: _one(backbone, final, class_tokens, kind).flatten(1) for kind in kinds}


def _one(
    backbone: Any, final: torch.Tensor, class_tokens: list[torch.Tensor], kind: str
) -> torch.Tensor:
    if kind == "pooled":
        pooled: torch.Tensor = backbone.forward_head(final, pre_logits=True)
        return pooled
    if kind == "last4_cls":
        return torch.cat(class_tokens, dim=1)
    if kind == "mean_patch":
        return _mean_patch(backbone, final)
    _require_class_token(backbone, kind)
    if kind == "cls":
        return final[:, 0]
    return torch.cat([final[:, 0], _mean_patch(backbone, final)], dim=1)


def _mean_patch(backbone: Any, final: torch.Tensor) -> torch.Tensor:
    if final.ndim == 3:
        return final[:, getattr(backbone, "num_prefix_tokens", 0) :].mean(dim=1)
    if final.ndim == 4:
        channels_last = getattr(backbone, "output_fmt", "NCHW") == "NHWC"
        return final.mean(dim=(1, 2) if channels_last else (2, 3))
    raise _absent(backbone, "mean_patch", "neither patch tokens nor a feature map")


def _require_class_token(backbone: Any, kind: str) -> None:
    if getattr(backbone, "cls_token", None) is None:
        raise _absent(backbone, kind, "no class token")


def _absent(backbone: Any, kind: str, found: str) -> ProbelineError:
    return ProbelineError(
        f"feature {kind}",
        f"the architecture has no feature `{kind}`",
        found=f"{type(backbone).__name__} has {found}",
        remedy="choose `feature: pooled`, or mean_patch where there are patches",
    )
