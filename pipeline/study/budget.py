"""How many labels a few-shot probe may learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.project.words import number_of


@dataclass(frozen=True)
class Budget:
    """Labelled images a class: a number of shots, or a share of the class.

    Attributes
    ----------
    shots : int or None
    share : float or None
        max(1, round(share n)) of a class's n images, halves rounded to even.
    """

    shots: int | None = None
    share: float | None = None

    def __post_init__(self) -> None:
        if (self.shots is None) == (self.share is None):
            raise ValueError("a budget is a number of shots or a share of the labels")

    @property
    def name(self) -> str:
        """``5_shots`` or ``2p5_percent``."""
        if self.share is not None:
            return f"{percent_digits(self.share)}_percent".replace(".", "p")
        return f"{self.shots}_shot" + ("s" if self.shots != 1 else "")

    @property
    def label(self) -> str:
        """``5 images a class`` or ``2.5% of the labels``."""
        if self.share is not None:
            return f"{percent_digits(self.share)}% of the labels"
        return f"{number_of(self.shots or 0, 'image')} a class"

    def wanted(self, count: int) -> int:
        """Images asked of a class of `count`; more than `count` where it is too small."""
        if self.share is not None:
            return max(1, round(self.share * count))
        return self.shots or 0

    def labels(self, n_train: int, n_classes: int) -> float:
        """Labels per class; for a share, the mean over classes when exact counts are unknown."""
        if self.share is not None:
            return max(1.0, self.share * n_train / n_classes)
        return float(self.shots or 0)


def budgets(shots: Sequence[int], shares: Sequence[float]) -> list[Budget]:
    """Those that a study names: shots, then shares."""
    return [*(Budget(shots=n) for n in shots), *(Budget(share=share) for share in shares)]


def percent_digits(share: float) -> str:
    """The digits of a share in percent, of which names and labels have six."""
    return f"{100 * share:g}"
