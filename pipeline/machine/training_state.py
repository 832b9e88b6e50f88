"""The file that an unfinished training is continued from."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from cache.errors import ProbelineError


def load_state(path: Path, device: torch.device | str = "cpu") -> dict[str, Any] | None:
    """The state at `path`; None where there is none.

    Raises
    ------
    ProbelineError
        When it is damaged.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        return None
    except (RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise ProbelineError(
            str(path),
            "the state of an unfinished training is damaged",
            found=str(error).split("\n")[0][:200],
            remedy="delete it; the training then starts anew",
        ) from None
    return state
