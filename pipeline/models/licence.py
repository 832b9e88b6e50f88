"""Where a model's weights come from, and under which licence, as far as anybody recorded it."""

from __future__ import annotations

from pathlib import Path

from cache.errors import ProbelineError
from pipeline.models.cards import checkpoint_digest
from pipeline.models.lockfile import locked
from pipeline.models.settings import Model, pretrained_name
from pipeline.models.zoo import zoo_model, zoo_names


def weights_source(name: str, entry: Model, recorded: str | None = None) -> str:
    """In words, with a digest where it is known; no path of this machine.

    Parameters
    ----------
    name : str
    entry : Model
    recorded : str, optional
        SHA-256 of the checkpoint as it was when its features were computed; else the file is asked,
        which another machine need not have.
    """
    if entry.seed is not None:
        return f"drawn at random, seed {entry.seed}: never trained"
    if entry.made_by is not None:
        return f"trained by the study itself (pretrain.{entry.made_by})"
    if entry.is_of_hub or entry.weights == "pretrained":
        of_hub = entry.is_of_hub
        known = locked(entry.architecture if of_hub else pretrained_name(entry.architecture))
        words = f"timm's weights for {entry.architecture}"
        if of_hub:
            words = f"the hub's {entry.architecture.partition(':')[2]}"
        parts = [words, str(known.get("source", "")), str(known.get("revision", ""))]
        return ", ".join(filter(None, parts))
    if entry.is_remote and entry.weights_file is not None:
        digest = str(locked(Path(entry.weights_file).name).get("sha256", ""))
        return entry.weights + (f", SHA-256 {digest}" if digest else "")
    file = f"a file of your own, {Path(entry.weights).name}"
    digest = recorded or _digest_here(name, entry)
    return f"{file}, SHA-256 {digest}" if digest else file


def _digest_here(name: str, entry: Model) -> str | None:
    try:
        return checkpoint_digest(name, entry)
    except ProbelineError:  # no such file
        return None


def recorded_licence(entry: Model) -> str:
    """The licence of the zoo's models, as somebody read it; "" where nobody did. No timm needed."""
    if entry.made_by is not None or entry.seed is not None:
        return "none but yours: made by the study"
    for name in zoo_names() if entry.is_remote else ():
        known = zoo_model(name)
        if known.entry["weights"] == entry.weights:
            return str(known.facts.get("authors_licence", ""))
    return ""


def licence_of(entry: Model) -> str:
    """As `recorded_licence`, and of timm's own weights what timm records; "" where nobody did."""
    if entry.weights == "pretrained" and not entry.is_of_hub:
        from timm.models import get_pretrained_cfg

        config = get_pretrained_cfg(entry.architecture)
        return str((config.license if config else None) or "")
    return recorded_licence(entry)
