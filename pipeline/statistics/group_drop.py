"""What kNN loses on images of groups that it never saw.

Leaving a group out leaves fewer images, too, and fewer of some classes. So each image is answered
twice: without its group, and without as many images of the same classes that were drawn by lot.
The difference is what the group itself was worth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from pipeline.neighbors.votes import Voting, judge
from pipeline.statistics.arrays import Floats, Mask
from pipeline.statistics.evidence import Evidence
from pipeline.statistics.jackknife import MIN_GROUPS, jackknifed
from pipeline.statistics.single_images import Nearest

SHARE = 0.9
"""Of the images, whose k nearest of other groups must be among the stored neighbours: else those
that lie closest together would be left out, and the drop would look too small."""

DRAWS = 5
"""Times that groups are dealt out anew within each class."""

RECORDED = "the stage transfer, which left groups out"
DERIVED = "stored neighbours of other groups"

Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Drop:
    """Accuracy without as many images by lot, less that without the image's group.

    Attributes
    ----------
    accuracy, held_out, value, low, high : float
        NaN where it can't be said.
    images, groups : int
    over : str
        What the interval is over: ``groups``, or of few groups ``images``.
    made_from : str
        Where the answers without the group come from, or why there are none.
    """

    accuracy: float = np.nan
    held_out: float = np.nan
    value: float = np.nan
    low: float = np.nan
    high: float = np.nan
    images: int = 0
    groups: int = 0
    over: str = ""
    made_from: str = ""

    @property
    def columns(self) -> dict[str, Any]:
        """As columns of a table."""
        return {
            "accuracy": self.accuracy,
            "held_out": self.held_out,
            "drop": self.value,
            "drop_low": self.low,
            "drop_high": self.high,
            "drop_images": self.images,
            "drop_groups": self.groups,
            "drop_over": self.over,
            "drop_from": self.made_from,
        }


def group_drop(
    evidence: Evidence, dataset: str, model: str, near: Nearest, labels: Codes, groups: Codes
) -> Drop:
    """The drop of one model on one data set, by the kNN that the transfer protocol uses.

    Its records are used where they are; else the same votes are taken from the stored neighbours
    of other groups, which gives the same answers wherever k of these are stored.

    Parameters
    ----------
    evidence : Evidence
    dataset, model : str
    near : Nearest
        Of train images in train.
    labels, groups : ndarray of shape (n_train,)
        Group -1: none, such images are not asked.
    """
    voting = evidence.images.voting
    if voting is None:
        return Drop(made_from="the study has no kNN whose neighbours could be left out")
    asked = groups[near.samples] >= 0
    if len(np.unique(groups[near.samples[asked]])) < 2:
        return Drop(made_from="fewer than two groups in train")
    if near.indices.shape[1] < voting.k:
        return Drop(made_from=f"fewer than k = {voting.k} neighbours are stored")
    recorded = evidence.images.left_out(dataset, model)
    if isinstance(recorded, str):
        known, unseen = _without_groups(near, asked, labels, groups, voting)
        source = DERIVED
    else:
        known = asked & np.isin(near.samples, recorded.samples)
        unseen = np.zeros(len(asked), np.bool_)
        order = np.argsort(recorded.samples)
        at = np.searchsorted(recorded.samples[order], near.samples[known])
        unseen[known] = recorded.right[order][at]
        source = RECORDED
    seen, drawn = _without_others(near, asked, labels, groups, voting)
    both = known & drawn
    if np.count_nonzero(both) < SHARE * np.count_nonzero(asked):
        return Drop(
            made_from=f"only {np.count_nonzero(both):,} of {np.count_nonzero(asked):,} images "
            f"have k = {voting.k} neighbours of other groups among those stored; raise "
            "neighbors.n_neighbors"
        )
    return paired_drop(
        seen[both], unseen[both], groups[near.samples[both]],
        evidence.settings.confidence, source,
    )  # fmt: skip


def _without_others(
    near: Nearest, asked: Mask, labels: Codes, groups: Codes, voting: Voting
) -> tuple[Floats, Mask]:
    """How often each query is right without as many images by lot, and which could be asked."""
    rng = np.random.default_rng(0)
    place = np.flatnonzero(groups >= 0)
    place = place[np.argsort(labels[place], kind="stable")]  # classes end to end
    right, times = np.zeros(len(asked)), np.zeros(len(asked))
    dealt = groups.copy()
    for _ in range(DRAWS):
        order = np.argsort(labels[place] + rng.random(len(place)))
        dealt[place] = groups[place[order]]
        known, answers = _without_groups(near, asked, labels, dealt, voting)
        right += answers
        times += known
    seen: Floats = right / np.maximum(times, 1)
    return seen, times > 0


def paired_drop(seen: Floats, unseen: Mask, groups: Codes, confidence: float, source: str) -> Drop:
    """The difference of two accuracies on the same images, with its interval.

    Parameters
    ----------
    seen, unseen : ndarray of shape (n,)
        How often an image is answered rightly without others, and whether it is without its group.
    groups : ndarray of shape (n,)
    confidence : float
    source : str
    """
    difference = seen - unseen
    several = len(np.unique(groups))

    def mean(kept: Mask) -> tuple[Floats, NDArray[np.int64]]:
        return np.array([difference[kept].mean()]), np.array([np.count_nonzero(kept)])

    if several >= MIN_GROUPS:
        found = jackknifed(mean, groups.astype(np.str_), confidence)
        low, high, over = float(found.low[0]), float(found.high[0]), "groups"
    else:
        n = len(difference)
        error = difference.std(ddof=1) / np.sqrt(n) if n > 1 else np.nan
        half = float(scipy.stats.t.ppf(0.5 + confidence / 2, max(n - 1, 1))) * error
        low, high, over = difference.mean() - half, difference.mean() + half, "images"
    return Drop(
        float(seen.mean()), float(unseen.mean()), float(difference.mean()), low, high,
        len(difference), several, over, source,
    )  # fmt: skip


def _without_groups(
    near: Nearest, asked: Mask, labels: Codes, groups: Codes, voting: Voting
) -> tuple[Mask, Mask]:
    """Queries with k stored neighbours of other groups, and whether these vote for the class."""
    other = groups[near.indices] != groups[near.samples][:, np.newaxis]
    known = asked & (other.sum(axis=1) >= voting.k)
    first = np.argsort(~other, axis=1, kind="stable")[:, : voting.k]
    indices = np.take_along_axis(near.indices, first, axis=1)
    distances = np.take_along_axis(near.distances, first, axis=1)
    return known, _votes(near, known, indices, distances, labels, voting)


def _votes(
    near: Nearest,
    asked: Mask,
    indices: NDArray[np.int32],
    distances: Floats,
    labels: Codes,
    voting: Voting,
) -> Mask:
    """Whether neighbours vote for the class of the query; False of those that are not asked."""
    right = np.zeros(len(asked), np.bool_)
    if asked.any():
        verdicts = judge(
            distances[asked, : voting.k], labels[indices[asked, : voting.k]],
            labels[near.samples[asked]], int(labels.max()) + 1, [voting],
        )  # fmt: skip
        right[asked] = verdicts[voting].rank == 1
    return right
