"""Writes checkpoints as published_checkpoints.yaml describes them."""

from __future__ import annotations

import argparse
import re
import sys
import types
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ruamel.yaml import YAML

State = dict[str, torch.Tensor]


def descriptions() -> dict[str, dict[str, Any]]:
    """By model."""
    listed = YAML(typ="safe").load(Path(__file__).parent / "published_checkpoints.yaml")
    return {name: said for said in listed for name in said["models"]}


def write(name: str, state: State, path: Path) -> None:
    """A file of these weights, whose names are timm's, as the model's authors lay theirs out."""
    said = descriptions()[name]
    named = {said.get("prefix", "") + k: v for k, v in _NAMES[said.get("names", "timm")](state)}
    if twin := said.get("twin"):  # another network, with other numbers
        named |= {twin + k: torch.randn_like(v.float()).to(v.dtype) for k, v in state.items()}
    for key, shape in said.get("inside", {}).items():
        named[key] = torch.tensor(7) if shape == "int64" else torch.randn(*shape)
    if said.get("arrays"):
        named = {key: value.numpy() for key, value in named.items()}
    inner: Any = OrderedDict(named) if said.get("ordered") else named
    whole: dict[str, Any] = {}
    with _installed():
        for place, kind in said.get("beside", {}).items():
            _put(whole, place, _KINDS[kind]())
        whole = _put(whole, said["path"], inner) if "path" in said else inner
        torch.save(whole, path, _use_new_zipfile_serialization=not said.get("legacy", False))


def _put(whole: dict[str, Any], place: str, value: Any) -> dict[str, Any]:
    *outer, last = place.split(".")
    node = whole
    for part in outer:
        node = node.setdefault(part, {})
    node[last] = value
    return whole


def _openmmlab(state: State) -> Iterator[tuple[str, torch.Tensor]]:
    """mmcls' vision transformer: backbones/vision_transformer.py."""
    for key, value in state.items():
        for old, new in (
            (r"^blocks\.", "layers."),
            (r"\.mlp\.fc1\.", ".ffn.layers.0.0."),
            (r"\.mlp\.fc2\.", ".ffn.layers.1."),
            (r"\.norm([12])\.", r".ln\1."),
            (r"^norm\.", "ln1."),
            (r"^patch_embed\.proj\.", "patch_embed.projection."),
        ):
            key = re.sub(old, new, key)
        yield key, value


def _sequential(state: State) -> Iterator[tuple[str, torch.Tensor]]:
    """Names that are not torchvision's; only the order is known of the real ones."""
    for number, (key, value) in enumerate(state.items()):
        yield f"part{number // 6}.{key.rpartition('.')[2]}_{number}", value


_NAMES = {"timm": dict.items, "openmmlab": _openmmlab, "sequential": _sequential}

_LIBRARIES = {
    "mmengine.logging.history_buffer": "HistoryBuffer",  # mmengine/logging/history_buffer.py
    "classy_vision.meters.accuracy_meter": "AccuracyMeter",
    "vissl.utils.hydra_config": "AttrDict",
}
"""Classes of libraries that are not installed here, and whose objects lie in these files."""


@contextmanager
def _installed() -> Iterator[None]:
    """As long as a file is written; whoever reads it has none of them."""
    before = set(sys.modules)
    for module, name in _LIBRARIES.items():
        parts = module.split(".")
        for i in range(1, len(parts) + 1):
            sys.modules.setdefault(".".join(parts[:i]), types.ModuleType(".".join(parts[:i])))
        base = dict if name == "AttrDict" else object
        setattr(sys.modules[module], name, type(name, (base,), {"__module__": module}))
    try:
        yield
    finally:
        for module in set(sys.modules) - before:
            if module.split(".")[0] in ("mmengine", "classy_vision", "vissl"):
                del sys.modules[module]


def _object(name: str, **attributes: Any) -> Any:
    (module,) = (m for m, n in _LIBRARIES.items() if n == name)
    made = getattr(sys.modules[module], name)()
    vars(made).update(attributes)
    return made


def _message_hub() -> Mapping[str, Any]:
    """mmengine/logging/message_hub.py, `state_dict`."""
    history = {
        "max_length": 1_000_000,
        "_log_history": np.array([0.5, 0.25]),
        "_count_history": np.array([1, 1]),
    }
    return {
        "log_scalars": OrderedDict({"train/loss": _object("HistoryBuffer", **history)}),
        "runtime_info": OrderedDict(iter=3, max_iters=np.int64(9), cfg="model = dict()"),
        "resumed_keys": OrderedDict({"train/loss": True}),
    }


_KINDS: dict[str, Any] = {
    "number": lambda: 104,
    "text": lambda: "resnet50",
    "flag": lambda: True,
    "numbers": lambda: {"scale": 65536.0, "list": [1, 2.5]},
    "tensors": lambda: {"0.clf.weight": torch.randn(3, 3)},
    "array scalar": lambda: np.float64(46.8),
    "namespace": lambda: argparse.Namespace(lr=1.5e-4, output_dir=Path("out"), betas=(0.9, 0.95)),
    "optimizer": lambda: {
        "state": {0: {"step": 9, "exp_avg": torch.randn(2)}},
        "param_groups": [{"lr": 0.1, "params": [0]}],
    },
    "meta": lambda: {
        "epoch": 200,
        "cfg": "model = dict()",
        "time": "20220825",
        "dataset_meta": {"classes": ("a", "b")},
    },
    "message hub": _message_hub,
    "object": lambda: _object("AttrDict", trunk=1),
    "objects": lambda: [_object("AccuracyMeter", _topk=[1, 5], _total=torch.zeros(2))],
}
