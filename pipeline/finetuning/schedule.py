"""The learning rate by epoch: a linear rise, then a cosine, as in the published study."""

from __future__ import annotations

import math


def factor(epoch: int, epochs: int, warmup_epochs: int) -> float:
    """Of all learning rates in an epoch.

    (e + 1) / (w + 1) in the w warm-up epochs, then (1 + cos π (e − w) / (E − w)) / 2.

    Parameters
    ----------
    epoch : int
        e, from 0 to E − 1.
    epochs : int
        E.
    warmup_epochs : int
        w; of a training that is shorter, every epoch is one of warm-up.
    """
    if epoch < warmup_epochs:
        return (epoch + 1) / (warmup_epochs + 1)
    return (1 + math.cos(math.pi * (epoch - warmup_epochs) / (epochs - warmup_epochs))) / 2
