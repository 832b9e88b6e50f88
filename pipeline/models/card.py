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

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Card:
        """A card that was kept; a copied folder may hold a stranger's, with its digest right.

        Raises
        ------
        TypeError
            When a value is of another kind than ours are.
        """
        card = cls(**facts)
        whole = isinstance(card.weights, str) and isinstance(card.transform, dict)
        if not whole or type(card.columns) is not int or type(card.parameters) is not int:
            raise TypeError("no digest, no transform, or no whole numbers")
        if not isinstance(card.gmacs, int | float | None):
            raise TypeError(f"{card.gmacs!r} multiply-adds")
        for name, part in card.transform.items():
            numbers = part if isinstance(part, list) else []
            if isinstance(part, dict) or not all(isinstance(n, int | float) for n in numbers):
                raise TypeError(f"{name} is {part!r}")
        return card
