"""Parameters by layer: learning rates that fall from the head down to the embedding."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from timm.models import group_parameters
from timm.optim import auto_group_layers, param_groups_layer_decay
from torch import nn

from pipeline.finetuning.recipes import Recipe

_REST = {"rest": [("", (99999,))]}
"""Matches every name; 99999 is timm's sign for a part of the layer before (a norm after blocks)."""


def layer_ids(backbone: Any) -> dict[str, int]:
    """The layer of every parameter: 0 the stem or the embeddings, then block by block.

    As timm's models group themselves, which for the embeddings and blocks of a ViT are the ids of
    BEiT's published recipe. What a model leaves out of its groups (a norm before the head) belongs
    to its last layer, as in arXiv 2407.12210; in BEiT's and MAE's recipes it has the head's rate.
    Without groups, twelve parameters in a row are a layer, as timm has it.

    Parameters
    ----------
    backbone : Module
        A timm model without classifier.
    """
    if not hasattr(backbone, "group_matcher"):
        return dict(auto_group_layers(backbone))
    matcher = backbone.group_matcher(coarse=False)
    if isinstance(matcher, dict):  # else a function, which knows every name
        matcher = matcher | _REST
    return dict(group_parameters(backbone, matcher, reverse=True))


class _Layered(nn.Module):
    """A backbone below its head, in the interface by which timm asks a network for its layers."""

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    def group_matcher(self, coarse: bool) -> Callable[[str], float]:
        ids = {f"backbone.{name}": layer for name, layer in layer_ids(self.backbone).items()}
        return lambda name: ids.get(name, math.inf)


def parameter_groups(backbone: nn.Module, head: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """What the optimiser is given: every trained parameter once, with its full learning rate.

    The layer below the head has the backbone's rate times the recipe's layer decay, the next its
    square, and so on. Vectors (biases, norms) and what the architecture names (tokens, position
    embeddings) have no weight decay.

    Parameters
    ----------
    backbone : Module
        A timm model without classifier.
    head : Module
        All of it has the head's rate.
    recipe : Recipe

    Returns
    -------
    list of dict
        ``params``, ``weight_decay`` and ``base``, the learning rate that the schedule multiplies.
    """
    exempt: set[str] = getattr(backbone, "no_weight_decay", set)()
    groups: list[dict[str, Any]] = param_groups_layer_decay(
        _Layered(backbone, head),
        recipe.weight_decay,
        no_weight_decay_list=[f"backbone.{name}" for name in exempt],
        layer_decay=recipe.layer_decay,
    )
    of_head = {id(parameter) for parameter in head.parameters()}
    for group in groups:
        in_head = id(group["params"][0]) in of_head
        rate = recipe.head_learning_rate if in_head else recipe.learning_rate
        group["base"] = group["lr"] = recipe.scaled(rate) * group.pop("lr_scale")
    return groups
