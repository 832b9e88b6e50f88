"""What is held out of a train split to choose by: a stratified part, or folds. Groups stay whole.

No other split is an argument of anything here, so none can reach a choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cache.errors import ProbelineError
from pipeline.datasets.samples import stratified_split
from pipeline.heads.tuning import FEW, FEWEST, FOLDS, LARGE, LARGE_SHARE, SHARE, SMALL

Labels = NDArray[np.integer]
Groups = NDArray[np.str_]
Mask = NDArray[np.bool_]
Scheme = Literal["fixed", "folds", "holdout"]


@dataclass(frozen=True)
class HeldOut:
    """Parts of a train split that are held out in turn.

    Attributes
    ----------
    masks : tuple of ndarray of shape (n_samples,), bool
    by_group : bool
        Whether all images of a group are on one side of every part. Not so without groups, and
        where they leave nothing to hold out: all classes within one group each.
    """

    masks: tuple[Mask, ...]
    by_group: bool


def scheme_for(labels: Labels) -> Scheme:
    """Whether to choose on a hold-out, by folds, or not at all; by counts of train alone."""
    per_class = len(labels) / max(1, len(np.unique(labels)))
    if per_class < FEWEST:
        return "fixed"
    return "folds" if len(labels) < SMALL or per_class < FEW else "holdout"


def held_out_parts(
    labels: Labels, scheme: Scheme, seed: int, groups: Groups | None = None
) -> HeldOut:
    """Choose what to hold out, stratified by class.

    A class of a single image is never held out, nor one of a single group.

    Parameters
    ----------
    labels : ndarray of shape (n_samples,)
    scheme : {"holdout", "folds"}
        20% (10% of a large split), or 5 parts that hold every image out once; fewer where there
        are fewer groups.
    seed : int
    groups : ndarray of shape (n_samples,) of str, optional
        Site, camera, patient; "" is an image without one.

    Raises
    ------
    ProbelineError
        No class has two images.
    """
    if groups is not None and (groups != "").any():
        masks = _masks(labels, scheme, seed, groups)
        if masks:
            return HeldOut(masks, by_group=True)
    masks = _masks(labels, scheme, seed, None)
    if not masks:
        raise ProbelineError(
            "choosing on a hold-out of train",
            "there is no hold-out: no class has two train images",
            expected="two train images of some class",
            found=f"{len(labels)} train images of {len(np.unique(labels))} classes",
            remedy="raise limit_per_class, add images, or (for linear.c) give a single value",
        )
    return HeldOut(masks, by_group=False)


def _masks(labels: Labels, scheme: Scheme, seed: int, groups: Groups | None) -> tuple[Mask, ...]:
    if scheme == "holdout":
        share = LARGE_SHARE if len(labels) >= LARGE else SHARE
        series = None if groups is None else pd.Series(groups)
        masks = [stratified_split(pd.Series(labels), share, seed, series) == "val"]
    else:
        fold = _folds(labels, seed) if groups is None else _group_folds(labels, groups, seed)
        masks = [fold == i for i in range(FOLDS)]
    # A part without which a single class is left can't be judged by a fit of the others.
    fits = min(2, len(np.unique(labels)))
    return tuple(m for m in masks if m.any() and len(np.unique(labels[~m])) >= fits)


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


def _group_folds(labels: Labels, groups: Groups, seed: int) -> NDArray[np.int64]:
    """Fold of every image, the same for all of a group; −1 for a group that holds all of a class.

    From the largest to the smallest, equals in random order, each group joins the fold that has
    least of its classes: the least Σ over classes of (group's share x fold's share), then the
    fewest images.
    """
    classes = np.unique(labels, return_inverse=True)[1]
    units = _units(groups)
    counts = np.zeros((units.max() + 1, classes.max() + 1))
    np.add.at(counts, (units, classes), 1)
    shares = counts / counts.sum(0)
    sizes = counts.sum(1)
    held: list[NDArray[np.float64]] = [np.zeros(shares.shape[1]) for _ in range(FOLDS)]
    filled = np.zeros(FOLDS)
    fold = np.full(len(counts), -1)
    order = np.random.default_rng(seed).permutation(len(counts))
    for unit in order[np.argsort(-sizes[order], kind="stable")]:
        if (shares[unit] == 1).any():
            continue
        fold[unit] = min(range(FOLDS), key=lambda f: (round(held[f] @ shares[unit], 9), filled[f]))
        held[fold[unit]] += shares[unit]
        filled[fold[unit]] += sizes[unit]
    return np.asarray(fold[units])


def _units(groups: Groups) -> NDArray[np.int64]:
    """Number of every image's group; an image without one is a group of its own."""
    units = np.unique(groups, return_inverse=True)[1].astype(np.int64)
    alone = groups == ""
    units[alone] = units.max() + 1 + np.arange(alone.sum())
    return np.unique(units, return_inverse=True)[1].astype(np.int64)
