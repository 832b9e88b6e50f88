"""Checkpoint files, read safely: nothing in them is ever executed."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from cache.errors import ProbelineError
from pipeline.machine.environment import variable_set
from pipeline.models import inert_pickle
from pipeline.models.checkpoint_faults import is_safetensors, shard_of_several, why_unreadable
from pipeline.models.inert_pickle import inert_within


class CheckpointError(ProbelineError, ValueError):
    """A checkpoint that can't be read, or does not fit its architecture."""


def read_checkpoint(path: Path, place: str) -> Mapping[str, Any]:
    """Read a .safetensors file, or a pickle file without executing anything in it.

    Whatever is no tensor, array of numbers or plain container is an `Inert`.

    Raises
    ------
    CheckpointError
        When the file is absent, cut short, or asks for the operating system.
    """
    if not path.is_file():
        raise CheckpointError(
            place,
            "there is no such checkpoint",
            found=str(path.absolute()),
            remedy="correct `weights`, or put the file there",
        )
    if part := shard_of_several(path):
        raise CheckpointError(
            place,
            f"is part {part[0]} of {part[1]} of a checkpoint: the other parts' weights are missing",
            found=path.name,
            remedy="join the parts (save one state_dict of all of them), and name that file",
        )
    loaded = _read(path, place)
    if not isinstance(loaded, Mapping):
        raise CheckpointError(
            place,
            "is not a checkpoint",
            expected="a dictionary of tensors",
            found=type(loaded).__name__,
            remedy="save the model's state_dict",
        )
    return loaded


def _read(path: Path, place: str) -> Any:
    """What the file holds, by its content: some files of safetensors are called .bin."""
    try:
        if is_safetensors(path):
            from safetensors.torch import load_file

            return load_file(path)
    except Exception as error:  # noqa: BLE001 - whatever a foreign file makes of its reader
        raise _unreadable(path, place, error) from None
    return _unpickled(path, place)


def require_plain(checkpoint: Mapping[str, Any], place: str) -> None:
    """Refuse a file that holds more than tensors and plain containers, wherever in it.

    Raises
    ------
    CheckpointError
        Names what it holds besides.
    """
    if (found := inert_within(checkpoint)) is not None:
        raise python_objects(place, f"{found[1]}, at {found[0]}")


def _unpickled(path: Path, place: str) -> Any:
    """What a pickle file holds, by PyTorch's own safe reader; where that gives up, by ours.

    PyTorch's refuses a file for a logger's history or an argparse.Namespace beside the weights.
    """
    try:
        # An open file: of a path, PyTorch believes the ending.
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of newer protocols of pickle, which ours reads
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # PyTorch's own words recommend to load the file unsafely.
        refused = re.search(r"GLOBAL (\S+)", str(error))
    except Exception as error:  # noqa: BLE001 - whatever a foreign file makes of its reader
        raise _unreadable(path, place, error) from None
    try:
        return _read_inertly(path)
    except Exception as error:  # noqa: BLE001  whatever a damaged file makes of the stack
        asked = re.search(r"GLOBAL (\S+)", str(error)) or refused
        if asked:
            raise python_objects(place, asked[1]) from None
        raise _unreadable(path, place, ValueError("its bytes are no pickle")) from None


def _read_inertly(path: Path) -> Any:
    """What a pickle file holds, everything but numbers and plain containers as `Inert`.

    PyTorch takes another unpickler only while nobody forces its own upon it; ours runs even less.
    TorchScript and tar files, for which PyTorch has readers that run or unpack them, do not come
    this far: its safe reader gave them up for good.
    """
    with (
        variable_set("TORCH_FORCE_WEIGHTS_ONLY_LOAD", None),
        path.open("rb") as file,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # of classes whose source an old file carries along
        return torch.load(file, map_location="cpu", weights_only=False, pickle_module=inert_pickle)


def python_objects(place: str, found: str) -> CheckpointError:
    """The error of a file that holds more than data where weights should be."""
    return CheckpointError(
        place,
        "holds Python objects that could run code when loaded; they were not loaded",
        expected="tensors, numbers, text, lists and dictionaries where the weights are",
        found=found,
        remedy="name the dictionary of tensors with `checkpoint.entry`; or convert the file, where "
        "you trust its origin, to .safetensors",
    )


def _unreadable(path: Path, place: str, error: Exception) -> CheckpointError:
    problem, found, remedy = why_unreadable(path, error)
    return CheckpointError(place, problem, found=found, remedy=remedy)
