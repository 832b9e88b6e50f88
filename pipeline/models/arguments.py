"""Arguments of a network's constructor: its shape, never a way to weights.

timm's constructors take files, addresses and repositories too, and load them by their own rules:
past `weights`, the lock, the digest, and with old versions by executing what a pickle holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_WEIGHTS = ("checkpoint_path", "cache_dir", "state_dict")


def ways_to_weights(arguments: Mapping[str, Any]) -> list[str]:
    """Keys, at any depth, by which timm would load or keep weights; dots between levels."""
    return list(_found(arguments, ""))


def _found(value: Any, at: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            name = str(key)
            if name in _WEIGHTS or name.startswith("pretrained"):
                yield f"{at}{name}"
            else:
                yield from _found(inner, f"{at}{name}.")
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _found(inner, at)
