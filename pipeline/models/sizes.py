"""What a network is like, without its weights and without running it: parameters, work, transform.

The network is built on PyTorch's "meta" device, where tensors have shapes and no values, and one
image without pixels goes through it while products and convolutions are counted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from pipeline.models.networks import build_network, feature_count, resolve_transform
from pipeline.models.settings import Model

_DECISIVE = ("architecture", "arguments", "feature", "input_size", "crop_mode", "crop",
             "interpolation", "mean", "std")  # fmt: skip
"""What of an entry decides a network's size and transform; its weights do not."""

_seen: dict[str, NetworkSize] = {}


@dataclass(frozen=True)
class NetworkSize:
    """What is known of a network before its weights are here.

    Attributes
    ----------
    parameters : int
        Of the backbone, without its classifier.
    gmacs : float
        Billions of multiply-adds for one image at the network's input size.
    columns : int
        Features per image.
    transform : mapping
        See `pipeline.models.transforms.Transform.to_dict`.
    is_convolutional : bool
        Whether it convolves beyond a patch embedding.
    """

    parameters: int
    gmacs: float
    columns: int
    transform: Mapping[str, Any]
    is_convolutional: bool


def without_weights(entry: Model) -> Model:
    """What of an entry decides its network's speed and size, with random weights."""
    said = entry.model_dump(include={*_DECISIVE})
    return Model.model_validate({**said, "weights": "random(0)"})


def network_size(name: str, entry: Model) -> NetworkSize | None:
    """Look at a model's network; entries that differ in their weights alone are looked at once.

    Returns
    -------
    NetworkSize or None
        None for imported embeddings, and for a hub's network: what that is, the hub has to say.

    Raises
    ------
    ProbelineError
        When the architecture is unknown, or does not take its arguments or input size.
    """
    if entry.weights == "imported" or entry.is_of_hub:
        return None
    bare = without_weights(entry)
    key = json.dumps(bare.model_dump(), sort_keys=True)
    if key not in _seen:
        _seen[key] = _look(bare, f"params.yaml: models.{name}")
    return _seen[key]


def _look(entry: Model, place: str) -> NetworkSize:
    with torch.device("meta"):
        backbone = build_network(entry, place)
    backbone.eval().requires_grad_(False)
    transform = resolve_transform(backbone, entry, place)
    with FlopCounterMode(display=False) as counter:
        columns = feature_count(backbone, transform, entry.feature, place)
    convolutions = sum(isinstance(part, torch.nn.Conv2d) for part in backbone.modules())
    return NetworkSize(
        parameters=sum(p.numel() for p in backbone.parameters()),
        gmacs=counter.get_total_flops() / 2e9,  # it counts a multiply-add as two
        columns=columns,
        transform=transform.to_dict(),
        is_convolutional=convolutions > 1,
    )
