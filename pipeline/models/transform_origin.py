"""Where each part of a model's image transform comes from: given, or a default that nobody gave.

A checkpoint of one's own says nothing of the images that it was trained on. One wrong mean and
standard deviation cost 7 points in a trial and reversed an answer, so what was not given is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.models.settings import Model

GIVEN = "given"
OF_WEIGHTS = "recorded with these weights"
DEFAULT = "timm's default, not given"

_PARTS = {
    "mean": "mean",
    "std": "std",
    "crop": "crop",
    "interpolation": "interpolation",
    "input_size": "size",
    "crop_mode": "mode",
}
"""An entry's field for each part, and what `Transform.to_dict` calls it."""

DECISIVE = ("mean", "std", "crop", "interpolation")
"""What a checkpoint of one's own should come with."""


@dataclass(frozen=True)
class TransformPart:
    """One setting of a model's image transform.

    Attributes
    ----------
    name : str
        As in params.yaml.
    value : str
        "" where it is not known before the network is built.
    origin : str
        `GIVEN`, `OF_WEIGHTS` or `DEFAULT`.
    """

    name: str
    value: str
    origin: str

    def __str__(self) -> str:
        return f"{self.value or 'not known yet'} ({self.origin})"


def transform_parts(
    entry: Model, transform: Mapping[str, Any] | None = None
) -> tuple[TransformPart, ...]:
    """Every part of a model's transform, and who said it.

    Parameters
    ----------
    entry : Model
    transform : mapping, optional
        As resolved (`pipeline.models.transforms.Transform.to_dict`), where that is known.

    Returns
    -------
    tuple of TransformPart
        Empty for imported embeddings: nobody here knows what their images went through.
    """
    if entry.weights == "imported":
        return ()
    foreign = entry.architecture.startswith("torchhub:")
    not_given = OF_WEIGHTS if entry.weights == "pretrained" and not foreign else DEFAULT
    parts = []
    for name, resolved in _PARTS.items():
        said = getattr(entry, name)
        value = said if said is not None else (transform or {}).get(resolved)
        origin = not_given if said is None else GIVEN
        parts.append(TransformPart(name, _words(value), origin))
    return tuple(parts)


def in_one_line(parts: Sequence[TransformPart]) -> str:
    """All parts, those of one origin together: ``mean 0.5 0.5 0.5, std … (given); crop … (…)``."""
    by_origin: dict[str, list[str]] = {}
    for part in parts:
        text = f"{part.name.replace('_', ' ')} {part.value}".strip()
        by_origin.setdefault(part.origin, []).append(text)
    return "; ".join(f"{', '.join(texts)} ({origin})" for origin, texts in by_origin.items())


def not_given(entry: Model) -> tuple[str, ...]:
    """What a checkpoint of the user's own is used with that nobody gave; empty for all others.

    Weights of timm and of hubs come with their transform, a zoo entry gives it, and what the study
    trains itself it trains with the same defaults.
    """
    if entry.weights_file is None or entry.made_by is not None:
        return ()
    return tuple(name for name in DECISIVE if getattr(entry, name) is None)


def _words(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        return " ".join(f"{number:g}" for number in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
