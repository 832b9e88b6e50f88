"""Choosing how neighbours vote, by leave-one-out votes on train images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.neighbors.votes import Labels, Matrix, Voting, judge

TWIN_SHARE = 1e-3
"""A neighbour no farther than this share of the typical k-th distance is a near-duplicate."""

SELECTION_QUERIES = 50_000
"""Train images whose leave-one-out votes choose k, weighting and temperature."""


@dataclass(frozen=True)
class LeaveOneOut:
    """How many ways of voting in one space do on train images.

    Attributes
    ----------
    votings : tuple of Voting
    hits : ndarray of shape (n_votings, n_queries), bool
        Right answers; meaningful where the query has k neighbours that are not near-duplicates.
    room : ndarray of shape (n_queries,)
        How many stored neighbours of each query are not near-duplicates.
    """

    votings: tuple[Voting, ...]
    hits: NDArray[np.bool_]
    room: NDArray[np.int64]


@dataclass(frozen=True)
class Choice:
    """What leave-one-out on train found best.

    Attributes
    ----------
    space : int
        Number of the space among those that were compared.
    voting : Voting
    accuracy : float or None
        Leave-one-out accuracy; None where all train images are near-duplicates of each other, so
        that nothing could be compared and the first way of voting was taken.
    queries : int
        Train images that it was measured on.
    """

    space: int
    voting: Voting
    accuracy: float | None
    queries: int


def stratified(labels: Labels, most: int = SELECTION_QUERIES, seed: int = 0) -> NDArray[np.int64]:
    """Rows of at most `most` images, every class by its share: ascending, drawn from `seed`."""
    if len(labels) <= most:
        return np.arange(len(labels))
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    # Every step-th image of the classes laid end to end: each class's share to within one.
    places = (np.arange(most) * len(labels)) // most
    return np.sort(by_class[places])


def without_twins(distances: Matrix) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places of neighbours that are not near-duplicates of the query: those vote for themselves.

    A near-duplicate is no farther than `TWIN_SHARE` times the median, over queries, of the distance
    to the last stored neighbour.

    Parameters
    ----------
    distances : ndarray of shape (n_queries, n_neighbors)
        Nearest first.

    Returns
    -------
    places : ndarray of shape (n_queries, n_neighbors)
        Of the neighbours; once there are no more, the last one's is repeated.
    room : ndarray of shape (n_queries,)
        How many there are.
    """
    stored = distances.shape[1]
    twins = np.count_nonzero(distances <= TWIN_SHARE * np.median(distances[:, -1]), axis=1)
    places = np.minimum(twins[:, np.newaxis] + np.arange(stored), stored - 1)
    return places, stored - twins


def leave_one_out(
    distances: Matrix,
    neighbor_labels: Labels,
    truth: Labels,
    n_classes: int,
    votings: Sequence[Voting],
) -> LeaveOneOut:
    """Try ways of voting on train images, near-duplicates left out.

    Parameters
    ----------
    distances, neighbor_labels : ndarray of shape (n_queries, n_neighbors)
        Leave-one-out neighbours of train images (at best those of `stratified`) in the full bank.
    truth : ndarray of shape (n_queries,)
        The train images' labels.
    n_classes : int
    votings : sequence of Voting

    Raises
    ------
    ProbelineError
        When a k exceeds the stored neighbours.
    """
    places, room = without_twins(distances)
    verdicts = judge(
        np.take_along_axis(distances, places, axis=1),
        np.take_along_axis(neighbor_labels, places, axis=1),
        truth,
        n_classes,
        votings,
    )
    hits = np.array([verdicts[voting].rank == 1 for voting in votings])
    return LeaveOneOut(tuple(votings), hits, room)


def choose(trials: Sequence[LeaveOneOut]) -> Choice:
    """The space and the way of voting with the best leave-one-out accuracy on train.

    All are compared on the same images: those that have, in every space, enough neighbours for
    the largest k. That k is as large as leaves at least half of the images.

    Parameters
    ----------
    trials : sequence of LeaveOneOut
        One for each space, of the same train images. Of equally good ones, the first wins.
    """
    room = np.min([trial.room for trial in trials], axis=0)
    ks = sorted({voting.k for trial in trials for voting in trial.votings})
    fitting = [k for k in ks if 2 * np.count_nonzero(room >= k) >= len(room)]
    if not fitting:
        return Choice(0, trials[0].votings[0], None, 0)
    kept = room >= fitting[-1]
    scores = [
        (int(np.count_nonzero(hits[kept])), space, voting)
        for space, trial in enumerate(trials)
        for voting, hits in zip(trial.votings, trial.hits, strict=True)
        if voting.k <= fitting[-1]
    ]
    right, space, voting = max(scores, key=lambda score: score[0])  # the first of equals
    queries = int(np.count_nonzero(kept))
    return Choice(space, voting, right / queries, queries)
