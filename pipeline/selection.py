"""Choosing C of a logistic regression inside the train split.

No other split is an argument of anything here, so none can reach the choice. The refit on all of
train keeps the C: the loss is a sum over images, so more images weigh more against the penalty.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cache.errors import ProbelineError
from pipeline.logistic import TOLERANCE, Fit, fit_path, log_probabilities
from pipeline.samples import stratified_split

Labels = NDArray[np.int64]
Normalize = Callable[..., tuple[NDArray[np.floating], ...]]
Scheme = Literal["fixed", "folds", "holdout"]

FIXED_C = 1.0
FOLDS = 5
LARGE = 20_000
"""Train images from which 10% are enough of a hold-out; below, 20%."""
SMALL, FEW, FEWEST = 2_000, 10, 5
"""Train images, and mean images per class, below which 5 folds take the place of a hold-out; mean
images per class below which C is not chosen but 1."""
EXTENSION, REACH = 4, 1e3
"""Values added at a time beyond an edge of the grid that did best, and how far, as a factor."""
NARROW = 1 << 24
"""Values of a feature matrix up to which it is fitted in float64."""


@dataclass(frozen=True)
class Record:
    """One C on images held out of train.

    Attributes
    ----------
    c : float
    accuracy : float
        Top-1; over folds, of all images together.
    log_loss : float
        Mean −log probability of the own class, over images whose class was in the part fitted.
    iterations : int
        Sum over folds.
    gradient_norm, gap : float
        As in `Fit`; the largest of the folds.
    converged : bool
        Every fold.
    """

    c: float
    accuracy: float
    log_loss: float
    iterations: int
    gradient_norm: float
    gap: float
    converged: bool


@dataclass(frozen=True)
class Choice:
    """The C chosen, and why.

    Attributes
    ----------
    c : float
        The smallest of those with the best accuracy; beyond the grid only if strictly better.
    scheme : {'fixed', 'folds', 'holdout'}
    records : tuple of Record
        By rising C; empty for a fixed one.
    at_edge : bool
        Whether an even smaller or larger C than all that were tried may do better.
    """

    c: float
    scheme: Scheme
    records: tuple[Record, ...]
    at_edge: bool

    @property
    def accuracy(self) -> float:
        """Of the chosen C; NaN for a fixed one."""
        return max((r.accuracy for r in self.records), default=math.nan)


def choose_c(
    features: NDArray[np.float32],
    labels: Labels,
    n_classes: int,
    grid: Sequence[float],
    normalize: Normalize,
    *,
    seed: int = 0,
    tolerance: float = TOLERANCE,
    max_iterations: int = 1000,
    fit: Callable[..., list[Fit]] = fit_path,
) -> Choice:
    """Choose C on a stratified hold-out of train, or by 5 folds of a small one.

    Parameters
    ----------
    features : ndarray of shape (n_samples, n_features)
        Of the train split, not normalised.
    labels : ndarray of shape (n_samples,)
    n_classes : int
    grid : sequence of float
        A single value is taken as it is.
    normalize : callable
        ``normalize(fitting, judging) -> (fitting, judging)`` with statistics of `fitting` alone.
    seed : int
        Of the split.
    tolerance, max_iterations
        Of `fit_path`.
    fit : callable
        `fit_path`, or another solver of its signature.

    Raises
    ------
    ProbelineError
        Nothing can be held out, or a fit is impossible.
    """
    cs = sorted(set(grid))
    scheme = scheme_for(labels)
    if len(cs) == 1:
        return Choice(float(cs[0]), "fixed", (), at_edge=False)
    if scheme == "fixed":
        return Choice(FIXED_C, "fixed", (), at_edge=False)
    parts = [
        _Part(features, labels, n_classes, held_out, normalize, fit, tolerance, max_iterations)
        for held_out in held_out_parts(labels, scheme, seed)
    ]
    records = _judge(parts, cs, [None] * len(parts))
    step = (math.log(cs[-1]) - math.log(cs[0])) / (len(cs) - 1)
    best = _best(records)
    while best in (records[0], records[-1]):
        if best is records[0]:
            more = _judge(parts, _beyond(best.c, -step, cs[0])[::-1], [None] * len(parts))
            records = more + records
        else:
            more = _judge(parts, _beyond(best.c, step, cs[-1]), [part.weakest for part in parts])
            records = records + more
        if not more or _best(more).accuracy <= best.accuracy:
            break
        best = _best(more)
    return Choice(best.c, scheme, tuple(records), best in (records[0], records[-1]))


def scheme_for(labels: Labels) -> Scheme:
    """Whether C is chosen on a hold-out, by folds, or not at all; by counts of train alone."""
    per_class = len(labels) / max(1, len(np.unique(labels)))
    if per_class < FEWEST:
        return "fixed"
    return "folds" if len(labels) < SMALL or per_class < FEW else "holdout"


def held_out_parts(labels: Labels, scheme: Scheme, seed: int) -> list[NDArray[np.bool_]]:
    """One mask of images for every part that is held out in turn, stratified by class.

    A class of a single image is never held out.
    """
    if scheme == "holdout":
        fraction = 0.1 if len(labels) >= LARGE else 0.2
        masks = [stratified_split(pd.Series(labels), fraction, seed) == "val"]
    else:
        fold = _folds(labels, seed)
        masks = [fold == i for i in range(FOLDS)]
    masks = [mask for mask in masks if mask.any()]
    if not masks:
        raise ProbelineError(
            "params.yaml: linear.c",
            "there is no hold-out to choose C on: no class has two train images",
            expected="two train images of some class, or a single C",
            found=f"{len(labels)} train images of {len(np.unique(labels))} classes",
            remedy="raise limit_per_class or add images, or give one value in linear.c",
        )
    return masks


def working_precision(features: NDArray[np.floating]) -> NDArray[np.floating]:
    """In float64 where that is cheap: small train sets are the badly conditioned ones."""
    small = features.size <= NARROW
    return features.astype(np.float64 if small else np.float32, copy=False)


class _Part:
    """A part of train to fit, and the rest of it to judge by."""

    def __init__(
        self,
        features: NDArray[np.float32],
        labels: Labels,
        n_classes: int,
        held_out: NDArray[np.bool_],
        normalize: Normalize,
        fit: Callable[..., list[Fit]],
        tolerance: float,
        max_iterations: int,
    ) -> None:
        self._fit_path = fit
        fitting, judging = normalize(features[~held_out], features[held_out])
        self._fitting, self._judging = working_precision(fitting), working_precision(judging)
        self._fitted, self.judged = labels[~held_out], labels[held_out]
        self._n_classes = n_classes
        self._settings: dict[str, Any] = {"tolerance": tolerance, "max_iterations": max_iterations}
        self.weakest: Fit | None = None

    def fit(self, cs: Sequence[float], start: Fit | None) -> list[Fit]:
        """Along rising `cs`; remembers where the path ends, to go on from there."""
        fits = self._fit_path(
            self._fitting, self._fitted, self._n_classes, cs, start=start, **self._settings
        )
        if self.weakest is None or fits[-1].c > self.weakest.c:
            self.weakest = fits[-1]
        return fits

    def judge(self, fit: Fit) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """Hits, and log probabilities of the own class, of the images held out."""
        scores = log_probabilities(fit, self._judging)
        return scores.argmax(1) == self.judged, scores[np.arange(len(scores)), self.judged]


def _judge(parts: list[_Part], cs: Sequence[float], starts: Sequence[Fit | None]) -> list[Record]:
    """A record for each C over all parts."""
    if not cs:
        return []
    paths = [part.fit(cs, start) for part, start in zip(parts, starts, strict=True)]
    records = []
    for fits in zip(*paths, strict=True):
        judged = [part.judge(fit) for part, fit in zip(parts, fits, strict=True)]
        own = np.concatenate([scores for _, scores in judged])
        records.append(
            Record(
                c=fits[0].c,
                accuracy=float(np.concatenate([hits for hits, _ in judged]).mean()),
                log_loss=float(-own[np.isfinite(own)].mean()),
                iterations=sum(fit.iterations for fit in fits),
                gradient_norm=max(fit.gradient_norm for fit in fits),
                gap=max(fit.gap for fit in fits),
                converged=all(fit.converged for fit in fits),
            )
        )
    return records


def _best(records: list[Record]) -> Record:
    """Of best accuracy; `max` keeps the first, the smallest C."""
    return max(records, key=lambda record: record.accuracy)


def _beyond(edge: float, step: float, grid_edge: float) -> list[float]:
    """Values beyond `edge` at the grid's own mean spacing, within reach of the grid's edge.

    As C → 0 the classifier tends to one direction of weights and its accuracy to a constant, which
    an extension without an end would follow.
    """
    room = math.log(REACH) - abs(math.log(edge / grid_edge))
    count = min(EXTENSION, int(room / abs(step) + 1e-6))
    return [edge * math.exp(step * i) for i in range(1, count + 1)]


def _folds(labels: Labels, seed: int) -> NDArray[np.int64]:
    """Fold of every image, classes and sizes even; −1 for the only image of a class."""
    rng = np.random.default_rng(seed)
    fold = np.full(len(labels), -1)
    dealt = 0
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        if len(rows) > 1:
            fold[rows] = (dealt + np.arange(len(rows))) % FOLDS
            dealt += len(rows)
    return fold
