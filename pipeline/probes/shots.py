"""Few-shot draws: which train images a model may learn from.

A draw depends on the train images and their labels, a seed and its number alone, so every model
sees the same images. Within one draw each class is put in order once and every budget takes a
prefix: 1 shot lies in 5, 5 in 10, 1% in 10%. The order is that of a hash of each image, so that an
image more changes a draw only where it takes a place; of former indexes, it is a shuffle of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cache.errors import ProbelineError
from pipeline.datasets.splits import hashes
from pipeline.study.budget import Budget
from pipeline.study.fewshot import FEW


@dataclass(frozen=True)
class Draw:
    """The images of one draw.

    Attributes
    ----------
    budget : Budget
    number : int
        Draws of equal number are nested across budgets.
    rows : ndarray of int64
        Of the train split, in ascending order.
    realised : ndarray of shape (n_classes,), int64
        Images of each class.
    short : tuple of int
        Classes with fewer images than the budget asks for, all of which are taken.
    """

    budget: Budget
    number: int
    rows: NDArray[np.int64]
    realised: NDArray[np.int64]
    short: tuple[int, ...]


def make_draws(
    labels: NDArray[np.integer],
    n_classes: int,
    budgets: Sequence[Budget],
    *,
    seed: int,
    few_draws: int = 10,
    draws: int = 5,
    names: Sequence[str] | None = None,
) -> list[Draw]:
    """All draws of all budgets.

    Parameters
    ----------
    labels : ndarray of shape (n_train,)
    n_classes : int
    budgets : sequence of Budget
    seed : int
    few_draws, draws : int
        Draws of a budget that takes at most five images of every class, and of a larger one.
    names : sequence of str, optional
        What each image is known by, see `Index.draw_names`; None: its row.

    Returns
    -------
    list of Draw
        Budgets in the given order, numbers ascending.
    """
    counts = np.bincount(labels, minlength=n_classes)
    if len(labels) == 0 or len(counts) > n_classes:
        raise ProbelineError(
            "few-shot draws",
            "there is nothing to draw from, or a label is outside the classes",
            expected=f"train labels from 0 to {n_classes - 1}",
            found=f"{len(labels)} labels, {len(counts)} classes",
        )
    orders: list[list[NDArray[np.int64]]] = []
    made = []
    for budget in budgets:
        wanted = np.array([budget.wanted(int(n)) if n else 0 for n in counts])
        realised = np.minimum(wanted, counts)
        short = tuple(int(c) for c in np.flatnonzero((counts < wanted) | (counts == 0)))
        for number in range(few_draws if realised.max() <= FEW else draws):
            if number == len(orders):
                orders.append(_ordered(labels, n_classes, seed, number, names))
            taken = [order[:n] for order, n in zip(orders[number], realised, strict=True)]
            rows = np.sort(np.concatenate(taken))
            made.append(Draw(budget, number, rows, realised.astype(np.int64), short))
    return made


def _ordered(
    labels: NDArray[np.integer],
    n_classes: int,
    seed: int,
    number: int,
    names: Sequence[str] | None,
) -> list[NDArray[np.int64]]:
    """Each class's rows in this draw's order; a class's order does not depend on the others."""
    ends = np.cumsum(np.bincount(labels, minlength=n_classes))[:-1]
    if names is not None:
        return np.split(np.lexsort((hashes(names, seed, f"draw {number}"), labels)), ends)
    by_class = np.argsort(labels, kind="stable")
    return [
        np.random.default_rng([seed, number, c]).permutation(rows)
        for c, rows in enumerate(np.split(by_class, ends))
    ]
