"""The file that an unfinished training is continued from."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from cache.errors import CellCorruptError, ProbelineError
from cache.seals import read_sealed, write_sealed


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write a state durably, with its digest.

    Raises
    ------
    DiskFullError
        When the disk is full; the former state is kept.
    """
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    write_sealed(path, buffer.getvalue())


def load_state(path: Path, device: torch.device | str = "cpu") -> dict[str, Any] | None:
    """The state at `path`; None where there is none.

    Raises
    ------
    ProbelineError
        When it is damaged.
    """
    try:
        data = io.BytesIO(read_sealed(path))
        state: dict[str, Any] = torch.load(data, map_location=device, weights_only=True)
    except FileNotFoundError:
        return None
    except Exception as error:  # noqa: BLE001 - what PyTorch makes of a damaged file
        found = error.found if isinstance(error, CellCorruptError) else str(error)
        raise ProbelineError(
            str(path),
            "the state of an unfinished training is damaged",
            found=found.split("\n")[0][:200],
            remedy="delete it; the training then starts anew",
        ) from None
    return state
