"""What a checkpoint file holds, mapped exactly onto an architecture."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from pipeline.models.checkpoint_files import CheckpointError, python_objects
from pipeline.models.inert_pickle import Inert
from pipeline.models.settings import Checkpoint
from pipeline.models.state_faults import (
    no_weights,
    not_finite,
    not_floating,
    of_other_channels,
    of_other_size,
    weights_within,
)
from pipeline.project.words import yaml_list, yaml_text

StateDict = dict[str, torch.Tensor]


def state_dict_of(checkpoint: Mapping[str, Any], rules: Checkpoint, place: str) -> StateDict:
    """Apply a model's rules: enter, strip the prefix, drop, renumber, rename.

    Parameters
    ----------
    checkpoint : mapping
        What the file holds.
    rules : Checkpoint
        `entry` names the nested dictionary (dots between levels). A dot alone is the top, which is
        also taken where nothing is named and no dictionary within has the same names. Keys without
        `strip_prefix` must be declared in `drop` (prefixes of the file's own keys, after
        stripping).

    Raises
    ------
    CheckpointError
        When the entry is not there, or no tensor is left.
    """
    node = _enter(checkpoint, rules.entry, place)
    state: StateDict = {}
    origin: dict[str, str] = {}
    for key, value in node.items():
        if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
            value = torch.from_numpy(value.astype(value.dtype.newbyteorder("=")))
        name = str(key).removeprefix(rules.strip_prefix)
        if any(name.startswith(prefix) for prefix in rules.drop):
            continue
        if isinstance(value, Inert) and "." in name:  # named as only a network's tensors are
            raise python_objects(place, f"{value.origin}, at {key}")
        if not isinstance(value, torch.Tensor):
            continue  # epochs, arguments and the like
        if what := no_weights(str(key), value):
            raise CheckpointError(
                place,
                "the checkpoint's weights are no plain numbers",
                expected="dense tensors of floating-point numbers",
                found=what,
                remedy="save the network before it is quantised, or as plain float32 tensors",
            )
        name = _renumbered(name, rules.renumber, place)
        for old, new in rules.rename.items():
            name = name.replace(old, new)
        if name in state:  # e.g. a momentum encoder renamed onto the base encoder
            raise CheckpointError(
                place,
                "two keys of the checkpoint get the same name",
                found=f"{origin[name]} and {key} both become {name}",
                remedy="declare the one that is not the backbone's in `checkpoint.drop`",
            )
        state[name], origin[name] = value, str(key)
    state = _shared(state, rules.share, place)
    if not state:
        raise _nothing_left(checkpoint, node, place)
    _refuse_two_layouts(checkpoint, rules.entry, set(origin.values()), place)
    return state


def _nothing_left(
    checkpoint: Mapping[str, Any], node: Mapping[str, Any], place: str
) -> CheckpointError:
    within = weights_within(checkpoint)
    inside = [f"{entry} ({len(names)})" for entry, names in within.items()]
    likely = [entry for entry in within if entry.rpartition(".")[2] in _ENTRIES] or list(within)
    say = f"`checkpoint: {{entry: {yaml_text(likely[0])}}}`" if len(likely) == 1 else ""
    tensors = f"; dictionaries with tensors: {_some(inside)}" if inside else ""
    return CheckpointError(
        place,
        "no tensor is left of the checkpoint",
        found=f"keys {_some(node)}{tensors}",
        remedy=f"say where the weights are: {say}"
        if say
        else "name the nested dictionary with `checkpoint.entry` (often state_dict or model), and "
        "check `drop`",
    )


_ENTRIES = ("state_dict", "model", "model_state_dict", "network", "net", "weights")
"""What programs call the dictionary of a network's weights beside an optimizer's and the like."""


def _refuse_two_layouts(
    checkpoint: Mapping[str, Any], entry: str, taken: set[str], place: str
) -> None:
    """What `entry` names is taken; where it names nothing, only one set of weights may be meant."""
    within = {} if entry else weights_within(checkpoint)
    others = [name for name, names in within.items() if taken <= names]
    if others:
        raise CheckpointError(
            place,
            "the checkpoint fits two layouts: it holds the same weights' names more than once",
            expected="one set of weights, or the name of the one that is meant",
            found=f"at the top, and under {_some(others)}",
            remedy="say which with `checkpoint.entry` (`entry: .` is the top)",
        )


def _enter(checkpoint: Mapping[str, Any], entry: str, place: str) -> Mapping[str, Any]:
    node: Any = checkpoint
    for part in filter(None, entry.split(".")):
        if isinstance(node, Inert):
            break
        if not isinstance(node, Mapping) or part not in node:
            raise CheckpointError(
                f"{place}: entry",
                "the checkpoint has no such entry",
                expected=entry,
                found=f"keys {_some(node) if isinstance(node, Mapping) else type(node).__name__}",
                remedy="correct `checkpoint.entry`",
            )
        node = node[part]
    if isinstance(node, Inert):
        raise python_objects(f"{place}: entry", f"{node.origin}, at {entry}")
    if not isinstance(node, Mapping):
        raise CheckpointError(
            f"{place}: entry",
            "this entry of the checkpoint is no dictionary of tensors",
            expected="a dictionary",
            found=f"{entry}, a {type(node).__name__}",
            remedy="correct `checkpoint.entry` (often state_dict or model)",
        )
    return node


def _shared(state: StateDict, share: Mapping[str, str], place: str) -> StateDict:
    """Give each block its copy of what the checkpoint keeps once for all blocks."""
    for prefix, pattern in share.items():
        once = {key: state.pop(key) for key in list(state) if key.startswith(prefix)}
        before = pattern.split("*")[0]
        blocks = {key[len(before) :].split(".")[0] for key in state if key.startswith(before)}
        if not once or not blocks:
            raise CheckpointError(
                f"{place}: share",
                "there is nothing to share",
                expected=f"keys that start with {prefix}, and blocks {pattern}",
                found=_some(state),
                remedy="correct `checkpoint.share`",
            )
        for key, value in once.items():
            for block in blocks:
                state[pattern.replace("*", block) + key.removeprefix(prefix)] = value
    return state


def _renumbered(name: str, stages: Mapping[str, list[int]], place: str) -> str:
    """``blocks.7.x`` as ``blocks.3.1.x``: block 7 of all is number 1 of stage 3, by lengths."""
    for prefix, lengths in stages.items():
        number, _, rest = name.removeprefix(prefix).partition(".")
        if not name.startswith(prefix) or not number.isdecimal():
            continue
        block = int(number)
        for stage, length in enumerate(lengths):
            if block < length:
                return f"{prefix}{stage}.{block}.{rest}"
            block -= length
        raise CheckpointError(
            f"{place}: renumber",
            "the checkpoint has more blocks than the stages have",
            expected=f"{sum(lengths)} blocks {prefix}*, in {len(lengths)} stages",
            found=name,
            remedy="correct the lengths in `checkpoint.renumber`",
        )
    return name


def in_order(state: StateDict, model: torch.nn.Module, place: str) -> StateDict:
    """The tensors under the model's own names, first to first, each of the same shape.

    For files whose names are another code base's, in the same order. Counts of batches are passed
    over on both sides where the file has none.

    Raises
    ------
    CheckpointError
        Names the first two that do not go together.
    """
    own = model.state_dict()
    if not any(value.ndim == 0 for value in state.values()):  # a BatchNorm's count is a number
        own = {key: value for key, value in own.items() if value.ndim}
    pairs = list(itertools.zip_longest(own.items(), state.items(), fillvalue=("nothing", None)))
    for (ours, mine), (theirs, value) in pairs:
        if mine is None or value is None or mine.shape != value.shape:
            shapes = [None if t is None else tuple(t.shape) for t in (mine, value)]
            raise CheckpointError(
                f"{place}: by_order",
                "the checkpoint's tensors are not the architecture's in the same order",
                expected=f"{ours} {shapes[0] or ''}".strip(),
                found=f"{theirs} {shapes[1] or ''}, with {len(state)} tensors for {len(own)}",
                remedy="declare those that are not the backbone's in `checkpoint.drop`, or map the "
                "names with .rename and .renumber instead of by_order",
            )
    return dict(zip(own, state.values(), strict=True))


def load_exactly(
    model: torch.nn.Module,
    state: StateDict,
    *,
    missing: list[str],
    head: tuple[str, ...],
    place: str,
) -> None:
    """Load `state` into `model`, accounting for every key on both sides.

    Parameters
    ----------
    model : Module
        Without its classifier head.
    state : dict of Tensor
    missing : list of str
        Prefixes of the model's keys that the checkpoint may lack.
    head : tuple of str
        Names of the architecture's classifier modules, which features do not need: their keys
        in the checkpoint are not surplus.

    Raises
    ------
    CheckpointError
        Lists missing keys, surplus keys and keys of another shape.
    """
    own = model.state_dict()
    state = {k: v for k, v in state.items() if k in own or not k.startswith(head)}
    optional = tuple(missing)
    # Old BatchNorms did not count batches; the count does not enter evaluation.
    absent = (
        [
            k
            for k in own
            if k not in state
            and not k.startswith(optional)
            and not k.endswith("num_batches_tracked")
        ]
        if optional
        else [k for k in own if k not in state and not k.endswith("num_batches_tracked")]
    )
    surplus = [k for k in state if k not in own]
    reshaped = [
        f"{k} {tuple(state[k].shape)} instead of {tuple(own[k].shape)}"
        for k in own
        if k in state and state[k].shape != own[k].shape
    ]
    if absent or surplus or reshaped:
        found = [
            f"{len(keys)} {what}: {_some(keys)}"
            for what, keys in (
                ("missing", absent),
                ("surplus", surplus),
                ("of another shape", reshaped),
            )
            if keys
        ]
        raise CheckpointError(
            place,
            "the checkpoint does not fit the architecture",
            expected=f"the {len(own)} keys of the architecture, each in its shape",
            found="; ".join(found),
            remedy=_remedy(model, state, own, absent, surplus),
        )
    if wrong := not_floating(state, own):
        raise CheckpointError(
            place,
            "the checkpoint's weights are no floating-point numbers: it is quantised",
            expected="float16, bfloat16, float32 or float64",
            found=_some(wrong),
            remedy="save the network before it is quantised",
        )
    model.load_state_dict(state, strict=False)
    if wrong := not_finite(model, state):
        raise CheckpointError(
            place,
            "the checkpoint's weights are not finite, as after a training that diverged",
            expected="finite numbers that float32 can hold",
            found=f"NaN or infinity in {_some(wrong)}",
            remedy="take an earlier checkpoint of that training",
        )


def _remedy(
    model: torch.nn.Module, state: StateDict, own: StateDict, absent: list[str], surplus: list[str]
) -> str:
    """What to do about keys that do not fit: what is certain, or else what may be meant."""
    if channels := of_other_channels(state, own):
        return f"{channels}: take a checkpoint for RGB images, which all images become here"
    if size := of_other_size(state, own, model):
        return (
            f"pos_embed is of images of {size} x {size} pixels: set `input_size: {size}` and "
            f"`arguments: {{img_size: {size}}}`"
        )
    if rules := _common_prefix(state, absent, surplus):
        return f"all of them are there behind a prefix: `checkpoint: {{{rules}}}`"
    near = difflib.get_close_matches(absent[0], surplus, n=1) if absent and surplus else []
    hint = f" (is {near[0]} the checkpoint's name of {absent[0]}?)" if near else ""
    return (
        "correct `architecture` or `arguments`; or declare the difference with "
        f"checkpoint.strip_prefix, .rename, .drop or .missing{hint}"
    )


def _common_prefix(state: StateDict, absent: list[str], surplus: list[str]) -> str:
    """The rules that take the one prefix away which all absent keys have in the file; else ""."""
    ends = [key.removesuffix(absent[0]) for key in surplus if absent and key.endswith(absent[0])]
    for prefix in filter(None, ends):
        if all(prefix + key in state for key in absent):
            others = dict.fromkeys(
                key.partition(".")[0] + "." * ("." in key)
                for key in surplus
                if not key.startswith(prefix)
            )
            drop = f", drop: {yaml_list(others)}" if others else ""
            return f"strip_prefix: {yaml_text(prefix)}{drop}"
    return ""


def _some(keys: Any) -> str:
    names = [str(k) for k in keys]
    return ", ".join(names[:8]) + (f" … ({len(names)} in all)" if len(names) > 8 else "")
