"""Beside a cell's key: what computed it and what that cost. No dates: DVC hashes this."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from cache.files import write_durably
from pipeline.cards import Card
from pipeline.paths import provenance_path

_PACKAGES = ("torch", "timm", "pillow", "numpy", "zarr")


def record_provenance(
    dataset: str,
    model: str,
    card: Card,
    *,
    split: str,
    images: int,
    seconds: float,
    remarks: Sequence[str],
    device: str,
    precision: str,
) -> None:
    """Record one split; what is recorded of the model's other splits stays.

    Parameters
    ----------
    dataset, model : str
    card : Card
    split : str
    images : int
    seconds : float
        Spent in forward passes, by earlier interrupted runs too.
    remarks : sequence of str
        What the cell says of itself.
    device, precision : str
        Of the computation.
    """
    path = provenance_path(dataset, model)
    splits = _recorded_splits(path.read_bytes() if path.exists() else b"", card.weights)
    splits[split] = {
        "images": images,
        "seconds": round(seconds, 3),
        "remarks": list(remarks),
    }
    facts = {
        "parameters": card.parameters,
        "weights": card.weights,
        "transform": dict(card.transform),
        "device": device,
        "processor": platform.processor() or platform.machine(),
        "versions": {package: version(package) for package in _PACKAGES},
        "python": platform.python_version(),
        "precision": precision,
        "splits": splits,
    }
    write_durably(path, json.dumps(facts, indent=1).encode())


def _recorded_splits(recorded: bytes, weights: str) -> dict[str, Any]:
    """The splits of an earlier record, as far as it is of these weights."""
    try:
        facts: Mapping[str, Any] = json.loads(recorded)
        return dict(facts["splits"]) if facts["weights"] == weights else {}
    except (ValueError, KeyError, TypeError):
        return {}
