"""How a batch is shared by processes, and in which parts each takes its share. Needs no torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.finetuning.recipes import Recipe

Rows = NDArray[np.int64]


def shared(batch: Rows, recipe: Recipe, rank: int, world: int) -> Rows:
    """What one process takes of a batch: as many images in every process.

    Processes wait for each other in every pass, and a BatchNorm has no statistics of one image. So
    where a batch of an epoch's last images can't be shared evenly, the last ones of a process are
    images that another one has, too; only the first `counted` are learned from.

    Parameters
    ----------
    batch : ndarray of shape (n_images,), int64
    recipe : Recipe
    rank, world : int
        Number of the process, and of processes.
    """
    if world == 1:
        return batch
    whole, rest = divmod(len(batch), world)
    length = whole
    if rest or len(batch) < recipe.batch_size:
        length = max(2, whole + bool(rest))
        if recipe.mixup or recipe.cutmix:  # in pairs
            length += length % 2
    return np.concatenate([batch[rank::world], batch])[:length]


def counted(size: int, rank: int, world: int) -> int:
    """Images of a batch of `size` that a process learns from."""
    return len(range(rank, size, world))


def parts_of(images: int, share: int, accumulation: int) -> int:
    """In how many parts a process takes its images of a batch.

    None is larger than those of a whole batch; but by one image, where a part of a single one would
    be left for a BatchNorm.

    Parameters
    ----------
    images : int
        Of this process.
    share : int
        Its images of a whole batch.
    accumulation : int
        Parts of a whole batch.
    """
    if images == share:
        return accumulation
    largest = -(-share // accumulation)
    return max(1, -(-(images - (largest > 1)) // largest))
