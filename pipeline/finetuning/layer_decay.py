"""Parameters by layer: learning rates that fall from the head down to the embedding."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from timm.models._manipulate import group_with_matcher
from timm.optim import auto_group_layers
from torch import nn

from pipeline.finetuning.recipes import Recipe

_UNMATCHED = "\0"
"""A name that no matcher of timm's knows."""


def layer_ids(backbone: Any) -> dict[str, int]:
    """The layer of every parameter: 0 the stem or the embeddings, then block by block.

    As timm's models group themselves, which for a ViT are the ids of BEiT's published recipe. What
    a model leaves out of its groups (a norm before the head) belongs to its last layer; without
    groups, twelve parameters in a row are a layer, as timm has it.

    Parameters
    ----------
    backbone : Module
        A timm model without classifier.
    """
    if not hasattr(backbone, "group_matcher"):
        return dict(auto_group_layers(backbone))
    names: Iterable[tuple[str, Any]] = [*backbone.named_parameters(), (_UNMATCHED, None)]
    ids: dict[str, int] = group_with_matcher(
        names, backbone.group_matcher(coarse=False), reverse=True
    )
    top = max(0, ids.pop(_UNMATCHED) - 1)
    return {name: min(layer, top) for name, layer in ids.items()}


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
    ids = layer_ids(backbone)
    top = max(ids.values(), default=0)
    exempt: set[str] = set(getattr(backbone, "no_weight_decay", set)())
    groups: dict[tuple[int, bool], dict[str, Any]] = {}

    def add(layer: int, decays: bool, base: float, parameter: nn.Parameter) -> None:
        empty = {
            "params": [],
            "weight_decay": recipe.weight_decay if decays else 0.0,
            "base": base,
            "lr": base,
        }
        groups.setdefault((layer, decays), empty)["params"].append(parameter)

    for name, parameter in backbone.named_parameters():
        if parameter.requires_grad:
            decays = parameter.ndim > 1 and name not in exempt
            scale = recipe.layer_decay ** (top + 1 - ids[name])
            add(ids[name], decays, recipe.scaled(recipe.learning_rate) * scale, parameter)
    for parameter in head.parameters():
        rate = recipe.scaled(recipe.head_learning_rate)
        add(top + 1, parameter.ndim > 1, rate, parameter)
    return list(groups.values())
