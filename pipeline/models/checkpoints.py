"""Checkpoint files: read safely, mapped exactly. Nothing in them is ever executed."""

from __future__ import annotations

import difflib
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cache.errors import ProbelineError
from pipeline.models.settings import Checkpoint

StateDict = dict[str, torch.Tensor]

_RECONSTRUCT, _SCALAR = np.zeros(1).__reduce__()[0], np.float64(1).__reduce__()[0]
_ARRAYS: list[Any] = [
    *(np.ndarray, np.dtype, _RECONSTRUCT, _SCALAR),
    (_RECONSTRUCT, "numpy.core.multiarray._reconstruct"),  # as NumPy 1 called them
    (_SCALAR, "numpy.core.multiarray.scalar"),
    *(type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i4", "i8", "u1", "?")),
]
"""What old checkpoints hold beside tensors: NumPy's arrays of numbers, which run no code."""


class CheckpointError(ProbelineError, ValueError):
    """A checkpoint that can't be read, or does not fit its architecture."""


def read_checkpoint(path: Path, place: str) -> Mapping[str, Any]:
    """Read a .safetensors file, or a pickle file without executing anything in it.

    Raises
    ------
    CheckpointError
        When the file is absent, cut short, or holds more than tensors and plain containers.
    """
    if not path.is_file():
        raise CheckpointError(
            place,
            "there is no such checkpoint",
            found=str(path.absolute()),
            remedy="correct `weights`, or put the file there",
        )
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            tensors: StateDict = load_file(path)
            return tensors
        except (SafetensorError, ValueError, OSError) as error:
            raise _damaged(path, place, error) from None
    try:
        with torch.serialization.safe_globals(_ARRAYS):
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if forbidden := re.search(r"GLOBAL (\S+)", str(error)):
            raise CheckpointError(
                place,
                "holds Python objects that could run code when loaded; it was refused",
                expected="tensors, numbers, text, lists and dictionaries",
                found=forbidden[1],
                remedy="convert it, where you trust its origin, to .safetensors",
            ) from None
        # PyTorch's own words recommend to load the file unsafely.
        raise _damaged(path, place, ValueError("its bytes are no pickle")) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError) as error:
        raise _damaged(path, place, error) from None
    if not isinstance(loaded, Mapping):
        raise CheckpointError(
            place,
            "is not a checkpoint",
            expected="a dictionary of tensors",
            found=type(loaded).__name__,
            remedy="save the model's state_dict",
        )
    return loaded


def state_dict_of(checkpoint: Mapping[str, Any], rules: Checkpoint, place: str) -> StateDict:
    """Apply a model's rules: enter, strip the prefix, drop, rename.

    Parameters
    ----------
    checkpoint : mapping
        What the file holds.
    rules : Checkpoint
        `entry` names the nested dictionary (dots between levels); keys without `strip_prefix`
        must be declared in `drop` (prefixes of the file's own keys, after stripping).

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
            value = torch.from_numpy(value)
        if not isinstance(value, torch.Tensor):
            continue  # epochs, arguments and the like
        name = str(key).removeprefix(rules.strip_prefix)
        if any(name.startswith(prefix) for prefix in rules.drop):
            continue
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
        raise CheckpointError(
            place,
            "no tensor is left of the checkpoint",
            found=f"keys {_some(node)}",
            remedy="name the nested dictionary with `checkpoint.entry` "
            "(often state_dict or model), and check `drop`",
        )
    return state


def _enter(checkpoint: Mapping[str, Any], entry: str, place: str) -> Mapping[str, Any]:
    node: Any = checkpoint
    for part in filter(None, entry.split(".")):
        if not isinstance(node, Mapping) or part not in node:
            raise CheckpointError(
                f"{place}: entry",
                "the checkpoint has no such entry",
                expected=entry,
                found=f"keys {_some(node) if isinstance(node, Mapping) else type(node).__name__}",
                remedy="correct `checkpoint.entry`",
            )
        node = node[part]
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
        near = difflib.get_close_matches(absent[0], surplus, n=1) if absent and surplus else []
        hint = f" (is {near[0]} the checkpoint's name of {absent[0]}?)" if near else ""
        raise CheckpointError(
            place,
            "the checkpoint does not fit the architecture",
            expected=f"the {len(own)} keys of the architecture, each in its shape",
            found="; ".join(found),
            remedy="correct `architecture` or `arguments`; or declare the difference with "
            f"checkpoint.strip_prefix, .rename, .drop or .missing{hint}",
        )
    model.load_state_dict(state, strict=False)


def _damaged(path: Path, place: str, error: Exception) -> CheckpointError:
    return CheckpointError(
        place,
        "the checkpoint is damaged or no checkpoint",
        found=f"{path} ({path.stat().st_size} bytes): {_first_sentence(error)}",
        remedy="copy or download the file again",
    )


def _first_sentence(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:300] or type(error).__name__


def _some(keys: Any) -> str:
    names = [str(k) for k in keys]
    return ", ".join(names[:8]) + (f" … ({len(names)} in all)" if len(names) > 8 else "")
