"""Which classes two data sets share, by name, whatever their labels are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]

FEWEST = 2
"""Shared classes below which there is nothing to tell apart."""


@dataclass(frozen=True)
class SharedClasses:
    """The classes that a source (trained on) and a target (tested on) have in common.

    Attributes
    ----------
    names : tuple of str
        In order of the target's labels.
    in_source, in_target : ndarray of shape (n_shared,)
        Their labels there.
    from_source : ndarray of shape (n_source_classes,)
        Place among `names` of each of the source's classes; -1 if it is not shared.
    from_target : ndarray of shape (n_target_classes,)
        Likewise.
    """

    names: tuple[str, ...]
    in_source: Labels
    in_target: Labels
    from_source: Labels
    from_target: Labels

    @classmethod
    def of(cls, source: Sequence[str], target: Sequence[str]) -> SharedClasses:
        """Compare class names, to the letter."""
        label_in_source = {name: label for label, name in enumerate(source)}
        in_target = np.array([i for i, n in enumerate(target) if n in label_in_source], np.int64)
        names = tuple(target[label] for label in in_target)
        in_source = np.array([label_in_source[name] for name in names], np.int64)
        return cls(
            names,
            in_source,
            in_target,
            _places(in_source, len(source)),
            _places(in_target, len(target)),
        )

    def obstacle(self, target_labels: Labels) -> str:
        """Why nothing can be tested on images with these labels of the target; "" if it can."""
        if len(self.names) < FEWEST:
            found = f" ({self.names[0]})" if self.names else ""
            return f"{len(self.names)} classes of the same name{found}, {FEWEST} are needed"
        if not (self.from_target[target_labels] >= 0).any():
            return f"no val image is of the {len(self.names)} shared classes"
        return ""


def _places(labels: Labels, n_classes: int) -> Labels:
    places = np.full(n_classes, -1)
    places[labels] = np.arange(len(labels))
    return places
