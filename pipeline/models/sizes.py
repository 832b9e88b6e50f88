"""What a network is like, without its weights and without running it: parameters, work, transform.

The network is built on PyTorch's "meta" device, where tensors have shapes and no values, and one
image without pixels goes through it while products and convolutions are counted.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from cache.errors import CellCorruptError, ProbelineError
from cache.files import write_if_allowed
from cache.fingerprint import fingerprint
from cache.seals import read_sealed_json, sealed_json
from pipeline.models.cards import loading_part
from pipeline.models.networks import (
    LoadedModel,
    build_network,
    feature_count,
    resolve_transform,
)
from pipeline.models.running import is_convolutional
from pipeline.models.settings import Model
from pipeline.models.transforms import Transform
from pipeline.project.paths import CARDS

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
    gmacs, columns = _counted(backbone, transform, entry.feature, place)
    return NetworkSize(
        parameters=sum(p.numel() for p in backbone.parameters()),
        gmacs=gmacs,
        columns=columns,
        transform=transform.to_dict(),
        is_convolutional=is_convolutional(backbone),
    )


def gmacs_of(model: LoadedModel, place: str) -> float | None:
    """Billions of multiply-adds for one image; None where they can't be counted without pixels.

    The network is looked at without its weights, so that a device's own kernels change nothing.
    """
    network = model.backbone
    # Tensors that a copy is told of are not copied: a large network costs no second one.
    empty: dict[int, Any] = {
        id(old): torch.nn.Parameter(torch.empty_like(old, device="meta"), requires_grad=False)
        for old in network.parameters()
    } | {id(old): torch.empty_like(old, device="meta") for old in network.buffers()}
    try:
        return _counted(copy.deepcopy(network, empty), model.transform, model.feature, place)[0]
    except (ProbelineError, NotImplementedError):  # foreign code may look at pixels
        return None


def remembered_gmacs(name: str, entry: Model) -> float | None:
    """Of a cell that was made before they were recorded: counted once on this machine.

    Returns
    -------
    float or None
        None where it takes a hub to say what the network is, or the network is none today.
    """
    bare = {key: value for key, value in loading_part(entry).items() if key in _DECISIVE}
    path = CARDS / "sizes" / f"{fingerprint(bare)[:32]}.json"
    try:
        known = read_sealed_json(path)["gmacs"]
        return None if known is None else float(known)
    except (OSError, CellCorruptError, ValueError, KeyError, TypeError, OverflowError):
        pass
    try:
        size = network_size(name, entry)
    except ProbelineError:
        size = None
    found = None if size is None else size.gmacs
    write_if_allowed(path, sealed_json({"gmacs": found}))
    return found


def _counted(
    backbone: torch.nn.Module, transform: Transform, feature: str, place: str
) -> tuple[float, int]:
    """Billions of multiply-adds for one image, and features."""
    with FlopCounterMode(display=False) as counter:
        columns = feature_count(backbone, transform, feature, place)
    return counter.get_total_flops() / 2e9, columns  # it counts a multiply-add as two
