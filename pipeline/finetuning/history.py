"""How the epochs of a training went, and which of them is taken. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Epoch:
    """How an epoch went.

    Attributes
    ----------
    epoch : int
        From 1.
    learning_rate : float
        Of the backbone's last layer, for the batch as it is.
    train_loss : float
        Mean over the epoch's images, as they were trained on.
    holdout_top1, holdout_loss : float or None
        Share of hits and mean cross-entropy on the hold-out; None without one.
    seconds : float
    """

    epoch: int
    learning_rate: float
    train_loss: float
    holdout_top1: float | None
    holdout_loss: float | None
    seconds: float

    @property
    def words(self) -> str:
        """For a progress line."""
        said = f"loss {self.train_loss:.3f}"
        return said if self.holdout_top1 is None else f"{said}, hold-out {self.holdout_top1:.1%}"


def chosen(history: Sequence[Epoch]) -> int:
    """The epoch that is taken, from 1: most hits on the hold-out, then least loss, then earliest.

    Without a hold-out, the last.
    """
    judged = [
        (e.holdout_top1, -e.holdout_loss, -e.epoch)
        for e in history
        if e.holdout_top1 is not None and e.holdout_loss is not None
    ]
    return -max(judged)[2] if judged else len(history)
