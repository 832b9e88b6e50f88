"""Models known by name: their weights' addresses, key mappings and facts, read from zoo.yaml."""

from __future__ import annotations

import difflib
import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ruamel.yaml import YAML

from pipeline.models.feature_kinds import FEATURES, Feature

_FILE = Path(__file__).parent / "zoo.yaml"

Preprocessing = Literal["authors", "timm", "common"]

_FACTS = ("epochs", "clip_target", "note")
_OF_AUTHORS = ("source", "feature", "licence", "unconfirmed")
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
        What else is known: epochs (of pre-training), clip_target (whether CLIP made the
        target), columns (of one token's feature), parameters, gmacs (billions of multiply-adds at
        224 px), note; how the authors evaluate the model (authors_transform, authors_feature),
        where that was read (authors_source), what of it was not found there (authors_unconfirmed),
        and their licence (authors_licence).
    """

    name: str
    entry: Mapping[str, Any]
    facts: Mapping[str, Any] = field(default_factory=dict)


def zoo_names() -> list[str]:
    """All names, in the zoo's order."""
    return list(_zoo()["models"])


def zoo_model(name: str, preprocessing: Preprocessing | None = None) -> ZooModel:
    """The entry of that name.

    Parameters
    ----------
    name : str
    preprocessing : {"authors", "timm", "common"}, optional
        How images are made what the network sees: as its authors do, as timm records it, or as
        for all models of the paper. By default what the zoo says.

    Raises
    ------
    KeyError
        When there is none; its text names the nearest ones. Or no such preprocessing is known.
    """
    zoo = _zoo()
    if name not in zoo["models"]:
        near = difflib.get_close_matches(name, zoo["models"], n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "see `probeline models zoo`"
        raise KeyError(f"the zoo has no model {name}; {hint}")
    said = dict(zoo["models"][name])
    facts = {key: said.pop(key) for key in _FACTS if key in said}
    said.setdefault("trained_on", ["imagenet"])
    source = {key: said.pop(key) for key in _SOURCE if key in said}
    words = {
        "backbone": said.pop("word", None) or said["backbone"],
        "method": said.pop("method", said.get("supervision", "unknown")),
        "supervision": said.pop("supervision", "self_supervised"),
        "objective": said.pop("objective", "discriminative"),
    }
    words["family"] = said.pop("family", words["method"])
    uses: Preprocessing = preprocessing or said.get("uses", "timm" if "timm" in said else "common")
    said.pop("uses", None)
    authors = dict(zoo["evaluations"][said.pop("authors")]) if "authors" in said else {}
    facts |= {f"authors_{key}": authors.pop(key) for key in _OF_AUTHORS if key in authors}
    transform = _transform(name, uses, authors)
    if authors:
        shown = {**common_transform(), **authors}
        facts["authors_transform"] = ", ".join(f"{key} {value}" for key, value in shown.items())
    if "timm" in said:
        entry = {"architecture": said.pop("timm"), "weights": "pretrained", **transform}
    else:
        backbone = dict(zoo["backbones"][said.pop("backbone")])
        facts |= {key: backbone.pop(key) for key in ("columns", "parameters", "gmacs")}
        entry = {**transform, **backbone}
        if "layout" in said:
            entry["checkpoint"] = zoo["layouts"][said.pop("layout")]
    if said.pop("img_size", False) and "input_size" in transform:
        entry["arguments"] = {"img_size": transform["input_size"]}
    entry |= said | words | {"preprocessing": uses}
    if source:
        entry["source"] = source
    return ZooModel(name, entry, facts)


def common_transform() -> Mapping[str, Any]:
    """What `preprocessing: common` stands for: the images that all models of the paper get."""
    found: Mapping[str, Any] = _zoo()["transforms"]["common"]
    return found


def _transform(name: str, uses: Preprocessing, authors: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings that a preprocessing stands for; none for timm's, which timm itself applies."""
    if uses == "timm":
        return {}
    if uses == "authors" and not authors:
        raise KeyError(f"nobody looked up how the authors of {name} evaluate it; say `common`")
    return {**common_transform(), **authors} if uses == "authors" else common_transform()


def verified_model(name: str) -> Mapping[str, Any]:
    """What somebody found in a model's real file; empty where nobody has sent it."""
    found: Mapping[str, Any] = _zoo()["verified"].get(name, {})
    return found


def known_columns(architecture: str, feature: Feature) -> float:
    """Features per image of one of the zoo's backbones, without building it; NaN of others."""
    return _known("columns", architecture) * FEATURES[feature].tokens


def known_parameters(architecture: str) -> float:
    """Parameters of one of the zoo's backbones, without building it; NaN of others."""
    return _known("parameters", architecture)


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
