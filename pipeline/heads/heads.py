"""Many SGD heads on cached features, all advanced together on every batch.

The recipe is the study's linear probe (arXiv 2407.12210): SGD with momentum 0.9 and no weight
decay, a real learning rate of base x batch / 256, warm-up and cosine per epoch, gradients clipped
at norm 0.5, weights drawn from N(0, 0.01²), biases 0, optionally a BatchNorm before the head.
Heads share the batches and the initial weights, nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cache.errors import ProbelineError
from pipeline.heads.head_stacks import Moments, Stack

REFERENCE_BATCH = 256
INITIAL_DEVIATION = 0.01
EVALUATION_ROWS = 1024

Array = NDArray[np.floating] | Tensor
Labels = NDArray[np.integer]


@dataclass(frozen=True)
class Head:
    """What one head of a stack does differently.

    Attributes
    ----------
    learning_rate : float
        Base rate; the real one is this x batch / 256.
    batch_norm : bool
        Whether a BatchNorm with scale and shift stands before the head.
    """

    learning_rate: float
    batch_norm: bool


@dataclass(frozen=True)
class Recipe:
    """What all heads of a stack share.

    Attributes
    ----------
    epochs : int
    batch : int
        Rows a step. The last, smaller batch of an epoch is kept; a last batch of a single row
        joins the one before, as BatchNorm finds no spread in one row.
    warmup : int
        Epochs before the cosine starts.
    hidden : int or None
        Width of the two hidden ReLU layers of an MLP head (the study's: 1000); None: linear.
    seed : int
        Of the initial weights, and with the epoch's number of its shuffle.
    """

    epochs: int = 100
    batch: int = 1024
    warmup: int = 5
    hidden: int | None = None
    seed: int = 0

    def rate(self, epoch: int) -> float:
        """What the learning rate is multiplied by in an epoch, counted from 0.

        (e + 1) / (warmup + 1) while warming up, then (1 + cos(π (e - warmup) / (epochs -
        warmup))) / 2: the last of 100 epochs runs at 0.00027.
        """
        scale = self.batch / REFERENCE_BATCH
        if epoch < self.warmup:
            return scale * (epoch + 1) / (self.warmup + 1)
        turn = (epoch - self.warmup) / (self.epochs - self.warmup)
        return float(scale * (1 + np.cos(np.pi * turn)) / 2)


@dataclass
class FittedHeads:
    """Trained heads, in the order in which they were given.

    Attributes
    ----------
    heads : list of Head
    losses : ndarray of shape (n_heads,)
        Mean cross-entropy over the last epoch's batches, each before its step; not finite where
        a head diverged.
    diverged : list of int or None
        The epoch, from 0, in which the head's loss or weights stopped being finite.
    """

    heads: list[Head]
    losses: NDArray[np.float64]
    diverged: list[int | None]
    _stacks: list[Stack]
    _moments: Moments
    _dtype: torch.dtype

    def accuracies(self, features: Array, labels: Labels) -> NDArray[np.float64]:
        """Top-1 of every head, NaN where it diverged; shape (n_heads,)."""
        hits = torch.zeros(len(self.heads), dtype=torch.int64)
        truth = torch.as_tensor(np.asarray(labels, dtype=np.int64))
        start = 0
        for scores in self._scores(features):
            batch = truth[start : start + len(scores), None]
            hits += (scores.argmax(dim=2).cpu() == batch).sum(dim=0)
            start += len(scores)
        shares = hits.double().numpy() / len(labels)
        return np.where([epoch is None for epoch in self.diverged], shares, np.nan)

    def log_probabilities(self, features: Array, head: int) -> NDArray[np.float64]:
        """Log class probabilities by one head, shape (n_rows, n_classes)."""
        parts = [s[:, head].double().log_softmax(dim=1).cpu() for s in self._scores(features)]
        values: NDArray[np.float64] = torch.cat(parts).numpy()
        return values

    def probabilities(self, features: Array, head: int) -> NDArray[np.float64]:
        """Class probabilities by one head, shape (n_rows, n_classes), rows summing to 1."""
        return np.exp(self.log_probabilities(features, head))

    @torch.no_grad()
    def _scores(self, features: Array) -> Iterator[Tensor]:
        """Class scores by all heads, rows in order, (n_some, n_heads, n_classes) at a time."""
        places = [place for stack in self._stacks for place in stack.places]
        device = self._stacks[0].rates.device
        for start in range(0, len(features), EVALUATION_ROWS):
            rows = features[start : start + EVALUATION_ROWS]
            inputs = torch.as_tensor(rows).to(device, self._dtype)
            scores = [
                s.logits(inputs if s.scale is None else self._moments.normalize(inputs))
                for s in self._stacks
            ]
            yield torch.cat(scores, dim=1)[:, np.argsort(places)]


def fit_heads(
    heads: Sequence[Head],
    views: Sequence[Array],
    labels: Labels,
    n_classes: int,
    recipe: Recipe,
    *,
    rows: NDArray[np.integer] | None = None,
    device: torch.device | str = "cpu",
) -> FittedHeads:
    """Train all heads on the same batches.

    Parameters
    ----------
    heads : sequence of Head
    views : sequence of array of shape (n_samples, n_features)
        The same images under different augmentations; epoch e sees view e mod n_views. As each
        image's view is an independent draw, that equals a fresh crop an epoch until views recur.
        One view at a time is taken from the sequence, which may read it only then.
    labels : ndarray of shape (n_samples,)
    n_classes : int
    recipe : Recipe
    rows : ndarray of int, optional
        Train on these rows only, without copying them.
    device : torch.device or str

    Returns
    -------
    FittedHeads
        Computed in float32, or in float64 for float64 features. Class probabilities equal those
        of each head trained alone to 1e-6 in float32, where the learning rate lets training
        settle; past that, rounding is amplified as in any such run.

    Raises
    ------
    ProbelineError
        When there is nothing to train on, or a BatchNorm and a single row.
    """
    rows = np.arange(len(labels)) if rows is None else np.asarray(rows)
    _check(heads, views, labels, rows, n_classes)
    number, view = 0, torch.as_tensor(views[0])
    shape = (len(labels), view.shape[1])
    view = _checked(view, shape).to(device)
    dtype = torch.float64 if view.dtype == torch.float64 else torch.float32
    width = shape[1]
    stacks = _make_stacks(heads, width, n_classes, recipe, dtype, device)
    moments = Moments(*(x.to(device, dtype) for x in (torch.zeros(width), torch.ones(width))))
    truth = torch.as_tensor(np.asarray(labels, dtype=np.int64)).to(device)
    losses = torch.zeros(len(heads), dtype=torch.float64)
    diverged: list[int | None] = [None] * len(heads)
    for epoch in range(recipe.epochs):
        if epoch % len(views) != number:
            number = epoch % len(views)
            view = _checked(torch.as_tensor(views[number]), shape).to(device)
        losses = _run_epoch(stacks, moments, view, truth, rows, recipe, epoch)
        finite = losses.isfinite() & _in_order(stacks, [s.finite() for s in stacks])
        diverged = [
            epoch if d is None and not f else d for d, f in zip(diverged, finite, strict=True)
        ]
    return FittedHeads(list(heads), losses.numpy(), diverged, stacks, moments, dtype)


def _run_epoch(
    stacks: list[Stack],
    moments: Moments,
    view: Tensor,
    labels: Tensor,
    rows: NDArray[np.integer],
    recipe: Recipe,
    epoch: int,
) -> Tensor:
    """Advance every head by one pass over the rows; returns their mean losses, in order."""
    rate = recipe.rate(epoch)
    shuffled = rows[np.random.default_rng([recipe.seed, epoch]).permutation(len(rows))]
    totals = [torch.zeros_like(stack.rates, dtype=torch.float64) for stack in stacks]
    order = torch.as_tensor(shuffled.astype(np.int64)).to(labels.device)
    for first, last in pairwise(_bounds(len(rows), recipe.batch)):
        chosen = order[first:last]
        inputs = view[chosen].to(moments.mean.dtype)
        for stack, total in zip(stacks, totals, strict=True):
            seen = inputs if stack.scale is None else moments.learn(inputs)
            total += (last - first) * stack.step(seen, labels[chosen], rate)
    return _in_order(stacks, [total / len(rows) for total in totals])


def _bounds(n_rows: int, batch: int) -> list[int]:
    """Where batches begin, and the end; a single last row joins the batch before it."""
    starts = list(range(0, n_rows, batch))
    if len(starts) > 1 and n_rows - starts[-1] == 1:
        starts.pop()
    return [*starts, n_rows]


def _make_stacks(
    heads: Sequence[Head],
    width: int,
    n_classes: int,
    recipe: Recipe,
    dtype: torch.dtype,
    device: torch.device | str,
) -> list[Stack]:
    hidden = [] if recipe.hidden is None else [recipe.hidden] * 2
    # Drawn by numpy: the same on every device, and the same for every head.
    rng = np.random.default_rng(recipe.seed)
    layers = [
        torch.as_tensor(rng.normal(0, INITIAL_DEVIATION, (n_out, n_in))).to(device, dtype)
        for n_in, n_out in pairwise([width, *hidden, n_classes])
    ]
    stacks = []
    for batch_norm in (False, True):
        places = [i for i, head in enumerate(heads) if head.batch_norm == batch_norm]
        if not places:
            continue
        n = len(places)
        ones = layers[0].new_ones(n, width)
        stacks.append(
            Stack(
                places,
                layers[0].new_tensor([heads[i].learning_rate for i in places]),
                [layer.repeat(n, 1, 1) for layer in layers],
                [layer.new_zeros(n, len(layer)) for layer in layers],
                ones if batch_norm else None,
                torch.zeros_like(ones) if batch_norm else None,
            )
        )
    return stacks


def _in_order(stacks: list[Stack], values: list[Tensor]) -> Tensor:
    """Values of the stacks' heads, shape (n_heads,), in the order the heads were given."""
    places = [place for stack in stacks for place in stack.places]
    return torch.cat(values)[np.argsort(places)].cpu()


def _check(
    heads: Sequence[Head],
    views: Sequence[Array],
    labels: Labels,
    rows: NDArray[np.integer],
    n_classes: int,
) -> None:
    if not heads or not views or len(rows) == 0:
        raise ProbelineError(
            "SGD heads",
            "there is nothing to train",
            expected="at least one head, one view and one row",
            found=f"{len(heads)} heads, {len(views)} views, {len(rows)} rows",
        )
    if len(rows) == 1 and any(head.batch_norm for head in heads):
        raise ProbelineError(
            "SGD heads",
            "BatchNorm has no spread to divide by",
            expected="two train images or more",
            found="one",
            remedy="add images, or leave out the variants with BatchNorm",
        )
    if int(labels[rows].max()) >= n_classes or int(labels[rows].min()) < 0:
        raise ProbelineError(
            "SGD heads",
            "a label is outside the classes",
            expected=f"0 to {n_classes - 1}",
            found=f"{labels[rows].min()} to {labels[rows].max()}",
        )


def _checked(view: Tensor, shape: tuple[int, int]) -> Tensor:
    """The view, if it is of as many images as there are labels, and as wide as the first."""
    if tuple(view.shape) != shape:
        raise ProbelineError(
            "SGD heads",
            "the views and labels are not of the same images",
            expected=f"{shape[0]} rows (the labels) of {shape[1]} features in all views",
            found=str(tuple(view.shape)),
            remedy="delete the cells of this model and data set and run `dvc repro`",
        )
    return view
