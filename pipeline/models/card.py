"""What cells' keys need of a model, without the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Card:
    """What cells' keys need of a model.

    Attributes
    ----------
    weights : str
        SHA-256 of the weights actually loaded.
    transform : mapping
        See `pipeline.models.transforms.Transform.to_dict`.
    columns : int
        Features per image.
    parameters : int
    gmacs : float or None
        Billions of multiply-adds for one image; None where they were not counted.
    """

    weights: str
    transform: Mapping[str, Any]
    columns: int
    parameters: int
    gmacs: float | None = None
