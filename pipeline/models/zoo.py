"""Models known by name: their weights' addresses, key mappings and facts, read from zoo.yaml."""

from __future__ import annotations

import difflib
import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipeline.models.feature_kinds import FEATURES, Feature

_FILE = Path(__file__).parent / "zoo.yaml"

_FACTS = ("epochs", "data", "clip_target", "note")
_SOURCE = ("mirrors", "sha256", "file", "by_hand")


@dataclass(frozen=True)
class ZooModel:
    """An entry of the zoo.

    Attributes
    ----------
    name : str
    entry : mapping
        As it would stand in params.yaml without the zoo.
    facts : mapping
        What else is known: epochs, data (of pre-training), clip_target (whether CLIP made the
        target), columns (of one token's feature), parameters, gmacs (billions of multiply-adds at
        224 px), note.
    """

    name: str
    entry: Mapping[str, Any]
    facts: Mapping[str, Any] = field(default_factory=dict)


def zoo_names() -> list[str]:
    """All names, in the zoo's order."""
    return list(_zoo()["models"])


def zoo_model(name: str) -> ZooModel:
    """The entry of that name.

    Raises
    ------
    KeyError
        When there is none; its text names the nearest ones.
    """
    zoo = _zoo()
    if name not in zoo["models"]:
        near = difflib.get_close_matches(name, zoo["models"], n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "see `probeline models zoo`"
        raise KeyError(f"the zoo has no model {name}; {hint}")
    said = dict(zoo["models"][name])
    facts = {key: said.pop(key) for key in _FACTS if key in said}
    facts.setdefault("data", "ImageNet-1k" if said.get("weights") != "random(0)" else "none")
    source = {key: said.pop(key) for key in _SOURCE if key in said}
    words = {
        "backbone": said.pop("word", None) or said["backbone"],
        "method": said.pop("method", said.get("supervision", "unknown")),
        "supervision": said.pop("supervision", "self_supervised"),
        "kind": said.pop("kind", "discriminative"),
    }
    words["family"] = said.pop("family", words["method"])
    if "timm" in said:
        entry = {"architecture": said.pop("timm"), "weights": "pretrained"}
    else:
        backbone = dict(zoo["backbones"][said.pop("backbone")])
        facts |= {key: backbone.pop(key) for key in ("columns", "parameters", "gmacs")}
        entry = {**zoo["transforms"]["imagenet"], **backbone}
        if "layout" in said:
            entry["checkpoint"] = zoo["layouts"][said.pop("layout")]
    entry |= said | words
    if source:
        entry["source"] = source
    return ZooModel(name, entry, facts)


def known_columns(architecture: str, feature: Feature) -> float:
    """Features per image of one of the zoo's backbones, without building it; NaN of others."""
    return _known("columns", architecture) * FEATURES[feature].tokens


def known_parameters(architecture: str) -> float:
    """Parameters of one of the zoo's backbones, without building it; NaN of others."""
    return _known("parameters", architecture)


def known_gmacs(architecture: str) -> float:
    """Billions of multiply-adds at 224 px of one of the zoo's backbones; NaN of others."""
    return _known("gmacs", architecture)


def _known(fact: str, architecture: str) -> float:
    backbones = _zoo()["backbones"]
    known = {backbone["architecture"]: backbone[fact] for backbone in backbones.values()}
    for model in _zoo()["models"].values():
        if "architecture" in model:
            known[model["architecture"]] = backbones[model["backbone"]][fact]
    return float(known.get(architecture, math.nan))


@functools.cache
def _zoo() -> dict[str, Any]:
    zoo: dict[str, Any] = YAML(typ="safe").load(_FILE)
    return zoo
