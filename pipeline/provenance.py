"""Beside a cell's key: what computed it and what that cost. No dates: DVC hashes this."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from cache.errors import ProbelineError
from cache.files import write_durably
from cache.fingerprint import differences
from pipeline.cards import Card, checkpoint_digest, loading_part
from pipeline.paths import provenance_path
from pipeline.study import Model

_PACKAGES = ("torch", "timm", "pillow", "numpy", "zarr")


def record_provenance(
    dataset: str,
    model: str,
    entry: Model,
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
    entry : Model
        What the study asked for; `made_from` compares it later.
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
        **origin(model, entry),
        "parameters": card.parameters,
        "weights": card.weights,
        "transform": dict(card.transform),
        "device": device,
        "processor": platform.processor() or platform.machine(),
        "versions": _versions(),
        "python": platform.python_version(),
        "precision": precision,
        "splits": splits,
    }
    write_durably(path, json.dumps(facts, indent=1).encode())


def origin(model: str, entry: Model) -> dict[str, Any]:
    """What a study asks for in a model, and the digest of its checkpoint (None: not here)."""
    try:
        checkpoint = checkpoint_digest(model, entry)
    except ProbelineError:
        checkpoint = None
    return {"entry": loading_part(entry), "checkpoint": checkpoint}


def made_from(dataset: str, model: str, entry: Model, weights: str, *, strictly: bool) -> list[str]:
    """How the record of a cell differs from what the study asks for; empty where it does not.

    Parameters
    ----------
    dataset, model : str
    entry : Model
    weights : str
        Digest in the cell's key: a record of other weights is of another cell.
    strictly : bool
        Also ask for the same versions of torch and timm, on which the weights of `random` and
        `pretrained` depend.

    Returns
    -------
    list of str
        A line for each difference.
    """
    try:
        recorded = json.loads(provenance_path(dataset, model).read_bytes())
        if recorded["weights"] != weights:
            return ["its origin is not recorded"]
        asked = origin(model, entry)
        found = {name: recorded[name] for name in asked}
        if asked["checkpoint"] is None:  # not on this machine; its features are
            asked["checkpoint"] = found["checkpoint"]
        if strictly and entry.weights_file is None:
            for package in ("torch", "timm"):
                found[package] = recorded["versions"][package]
                asked[package] = version(package)
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return ["its origin is not recorded"]
    return differences(found, asked)


def _versions() -> dict[str, str]:
    return {package: version(package) for package in _PACKAGES}


def _recorded_splits(recorded: bytes, weights: str) -> dict[str, Any]:
    """The splits of an earlier record, as far as it is of these weights."""
    try:
        facts: Mapping[str, Any] = json.loads(recorded)
        return dict(facts["splits"]) if facts["weights"] == weights else {}
    except (ValueError, KeyError, TypeError):
        return {}
