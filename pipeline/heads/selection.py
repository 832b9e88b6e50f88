"""Choosing C of a logistic regression inside the train split.

No other split is an argument of anything here, so none can reach the choice. The refit on all of
train keeps the C: the loss is a sum over images, so more images weigh more against the penalty.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.heads.inner_splits import Groups, Mask, Scheme, held_out_parts, scheme_for
from pipeline.heads.logistic import Fit, judge
from pipeline.heads.slabs import Part, Rows, is_small, part, slab_size, slabs
from pipeline.heads.tuning import BEYOND, EXTENSION, FIXED_C, GAIN, NARROW, REACH, SMALL

Labels = NDArray[np.int64]
Normalize = Callable[..., tuple[Rows, ...]]
FitC = Callable[[float], Fit]
OpenPath = Callable[[Rows, Labels], FitC]


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
        By rising C; empty for a fixed one. Values of the grid beyond the path's end are not tried.
    at_edge : bool
        Whether an even smaller or larger C than all that were tried may do better.
    by_group : bool
        Whether no group was on both sides of a hold-out.
    """

    c: float
    scheme: Scheme
    records: tuple[Record, ...]
    at_edge: bool
    by_group: bool = False

    @property
    def accuracy(self) -> float:
        """Of the chosen C; NaN for a fixed one."""
        return max((r.accuracy for r in self.records), default=math.nan)


def choose_c(
    features: Rows,
    labels: Labels,
    grid: Sequence[float],
    normalize: Normalize,
    open_path: OpenPath,
    *,
    groups: Groups | None = None,
    seed: int = 0,
    place: Callable[[Rows], Rows] = lambda features: features,
) -> Choice:
    """Choose C on a stratified hold-out of train, or by 5 folds of a small one.

    From the strongest regularisation on, until ten times the C has brought neither a lower loss on
    what is held out nor more accuracy than noise. From there the loss rises for ever, as the fits
    grow sure of what chance taught them, and fits take longest.

    Parameters
    ----------
    features : Rows of shape (n_samples, n_features)
        Of the train split, not normalised.
    labels : ndarray of shape (n_samples,)
    grid : sequence of float
        A single value is taken as it is.
    normalize : callable
        ``normalize(fitting, judging) -> (fitting, judging)`` with statistics of `fitting` alone.
    open_path : callable
        ``open_path(features, labels) -> fit``, where ``fit(c)`` is a `Fit`.
    groups : ndarray of shape (n_samples,) of str, optional
        Each is held out as a whole; "" for an image without one.
    seed : int
        Of the split.
    place : callable
        Puts rows where they are computed with (`pipeline.heads.slabs.placed`).

    Raises
    ------
    ProbelineError
        Nothing can be held out, or a fit is impossible.
    """
    cs = sorted(set(map(float, grid)))
    scheme = scheme_for(labels)
    if len(cs) == 1:
        return Choice(cs[0], "fixed", (), at_edge=False)
    if scheme == "fixed":
        return Choice(FIXED_C, "fixed", (), at_edge=False)
    held_out = held_out_parts(labels, scheme, seed, groups)
    if scheme == "folds" and len(labels) >= SMALL and not is_small(features):
        features = Part(features, streamed=True)  # five turned copies would be held at once
    path = _Path(
        [_Part(features, labels, mask, normalize, open_path, place) for mask in held_out.masks]
    )
    path.rise(cs)
    step = (math.log(cs[-1]) - math.log(cs[0])) / (len(cs) - 1)
    best = path.best()
    while path.is_open_at(best):
        if best is path.records[0]:
            path.fall(_beyond(best.c, -step, cs[0]))
        else:
            path.rise(_beyond(best.c, step, cs[-1]))
        better = path.best()
        if better is best or better.accuracy <= best.accuracy:
            break
        best = better
    records, at_edge = tuple(path.records), path.is_open_at(best)
    return Choice(best.c, scheme, records, at_edge, held_out.by_group)


def working_precision(features: Rows) -> Rows:
    """In float64 where that is cheap: small train sets are the badly conditioned ones."""
    small = features.shape[0] * features.shape[1] <= NARROW
    return part(features, dtype=np.float64 if small else np.float32)


class _Part:
    """A part of train to fit, and the rest of it to judge by."""

    def __init__(
        self,
        features: Rows,
        labels: Labels,
        held_out: Mask,
        normalize: Normalize,
        open_path: OpenPath,
        place: Callable[[Rows], Rows],
    ) -> None:
        fitting, judging = normalize(part(features, ~held_out), part(features, held_out))
        self._fit = open_path(working_precision(fitting), labels[~held_out])
        self._judging, self._judged = place(working_precision(judging)), labels[held_out]

    def judge(self, c: float) -> tuple[Fit, NDArray[np.bool_], NDArray[np.float64]]:
        """A fit; hits, and log probabilities of the own class, of the images held out."""
        fit = self._fit(c)
        hits, own = np.empty(len(self._judged), np.bool_), np.empty(len(self._judged))
        width = max(fit.coefficients.shape)
        for rows in slabs(len(own), width, size=slab_size(self._judging)):
            hits[rows], own[rows] = judge(fit, self._judging[rows], self._judged[rows])
        return fit, hits, own


class _Path:
    """Every C that was tried on all parts, by rising C."""

    def __init__(self, parts: list[_Part]) -> None:
        self._parts = parts
        self.records: list[Record] = []
        self._hits: dict[float, NDArray[np.bool_]] = {}

    def rise(self, cs: Sequence[float]) -> None:
        """Try larger and larger C, to the end or until the loss has turned."""
        for c in cs:
            self.records.append(self._try(c))
            if self._has_turned():
                return

    def is_open_at(self, record: Record) -> bool:
        """Whether a C may do better that is smaller than all that were tried, or larger."""
        last = record is self.records[-1] and not self._has_turned()
        return record is self.records[0] or last

    def fall(self, cs: Sequence[float]) -> None:
        """Try smaller and smaller C."""
        for c in cs:
            self.records.insert(0, self._try(c))

    def best(self) -> Record:
        """Of best accuracy; `max` keeps the first, the smallest C."""
        return max(self.records, key=lambda record: record.accuracy)

    def _try(self, c: float) -> Record:
        fits, hits, own = zip(*(part.judge(c) for part in self._parts), strict=True)
        losses = -np.concatenate(own)
        self._hits[c] = np.concatenate(hits)
        return Record(
            c=c,
            accuracy=float(self._hits[c].mean()),
            log_loss=float(losses[np.isfinite(losses)].mean()),
            iterations=sum(fit.iterations for fit in fits),
            gradient_norm=max(fit.gradient_norm for fit in fits),
            gap=max(fit.gap for fit in fits),
            converged=all(fit.converged for fit in fits),
        )

    def _has_turned(self) -> bool:
        """Whether `BEYOND` has brought no lower loss, and no accuracy beyond noise."""
        last = self.records[-1].c
        before = [r for r in self.records if r.c <= last / BEYOND * (1 + 1e-9)]
        if not before or min(self.records, key=lambda r: r.log_loss) not in before:
            return False
        best = max(before, key=lambda r: r.accuracy).c
        gained = self._hits[last].astype(float) - self._hits[best]
        return bool(gained.mean() <= GAIN * gained.std() / math.sqrt(len(gained)))


def _beyond(edge: float, step: float, grid_edge: float) -> list[float]:
    """Values beyond `edge` at the grid's own mean spacing, within reach of the grid's edge.

    As C → 0 the classifier tends to one direction of weights and its accuracy to a constant, which
    an extension without an end would follow.
    """
    room = math.log(REACH) - abs(math.log(edge / grid_edge))
    count = min(EXTENSION, int(room / abs(step) + 1e-6))
    return [edge * math.exp(step * i) for i in range(1, count + 1)]
