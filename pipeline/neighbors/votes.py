"""Class probabilities by the votes of stored neighbours: every k, weighting and temperature."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from cache.errors import ProbelineError

WEIGHTINGS = ("uniform", "distance", "softmax")

BLOCK_BYTES = 8 << 20
"""Votes of one block of queries; stays in the processor's cache."""

Matrix = NDArray[np.float64]
Labels = NDArray[np.integer]


@dataclass(frozen=True)
class Voting:
    """How neighbours vote.

    Attributes
    ----------
    k : int
        The nearest k vote.
    weighting : {"uniform", "distance", "softmax"}
        One vote each; 1/distance, and where some distance is 0 only those exact matches, as in
        scikit-learn; exp(similarity / temperature) with similarity 1 - cosine distance, as DINO
        does (arXiv 2104.14294).
    temperature : float, optional
        For "softmax", and for it alone.
    """

    k: int
    weighting: str
    temperature: float | None = None

    def __post_init__(self) -> None:
        place = f"votes of k = {self.k} neighbours"
        if self.weighting not in WEIGHTINGS:
            raise ProbelineError(
                place,
                "the weighting is not known",
                expected=", ".join(WEIGHTINGS),
                found=str(self.weighting),
            )
        wanted = self.weighting == "softmax"
        if wanted != (self.temperature is not None) or (
            self.temperature is not None and not self.temperature > 0
        ):
            raise ProbelineError(
                place,
                f"the temperature does not go with weighting {self.weighting}",
                expected="a positive temperature" if wanted else "none",
                found=str(self.temperature),
            )


@dataclass(frozen=True)
class Verdict:
    """What one way of voting says of every query whose true class is known.

    Attributes
    ----------
    predicted : ndarray of shape (n_queries,), int32
        Class with the most votes; of equal ones the first, as `numpy.argmax`.
    rank : ndarray of shape (n_queries,), int32
        Place of the true class, from 1; equal votes in order of class, without a vote the last.
    probability : ndarray of shape (n_queries,), float64
        Share of the votes for the true class.
    confidence : ndarray of shape (n_queries,), float64
        Share of the votes for the predicted class.
    """

    predicted: NDArray[np.int32]
    rank: NDArray[np.int32]
    probability: NDArray[np.float64]
    confidence: NDArray[np.float64]

    @classmethod
    def empty(cls, size: int) -> Self:
        """Of `size` queries, to be filled in."""
        return cls(
            np.empty(size, np.int32), np.empty(size, np.int32), np.empty(size), np.empty(size)
        )

    def part(self, rows: slice) -> Self:
        """A view of some queries' verdicts."""
        return type(self)(
            self.predicted[rows], self.rank[rows], self.probability[rows], self.confidence[rows]
        )


def vote(
    distances: Matrix,
    neighbor_labels: Labels,
    voting: Voting,
    n_classes: int,
) -> Matrix:
    """Class probabilities: ndarray of shape (n_queries, n_classes), rows sum to 1.

    Parameters
    ----------
    distances : ndarray of shape (n_queries, n_neighbors)
        Nearest first; the first k vote. For "softmax", cosine distances.
    neighbor_labels : ndarray of shape (n_queries, n_neighbors)
    voting : Voting
    n_classes : int

    Raises
    ------
    ProbelineError
        When k exceeds the stored neighbours.
    """
    _require_neighbors(distances, voting.k)
    votes, nearest = np.zeros((len(distances), n_classes)), slice(voting.k)
    _add(votes, neighbor_labels[:, nearest], _weights(distances[:, nearest], voting))
    votes /= votes.sum(axis=1, keepdims=True)
    return votes


def judge(
    distances: Matrix,
    neighbor_labels: Labels,
    truth: Labels,
    n_classes: int,
    votings: Sequence[Voting],
) -> dict[Voting, Verdict]:
    """Judge many ways of voting from the same neighbours, without keeping probabilities.

    Parameters
    ----------
    distances, neighbor_labels : ndarray of shape (n_queries, n_neighbors)
    truth : ndarray of shape (n_queries,)
        True class of each query.
    n_classes : int
    votings : sequence of Voting

    Raises
    ------
    ProbelineError
        When a k exceeds the stored neighbours.
    """
    for voting in votings:
        _require_neighbors(distances, voting.k)
    size = len(truth)
    verdicts = {voting: Verdict.empty(size) for voting in votings}
    for rows in _query_blocks(size, n_classes):
        for family in _families(votings):
            weights = _weights(distances[rows], family[-1])
            parts = {voting: verdicts[voting].part(rows) for voting in family}
            _judge_prefixes(weights, neighbor_labels[rows], truth[rows], n_classes, parts)
    return verdicts


def _weights(distances: Matrix, voting: Voting) -> Matrix:
    """Weight of every neighbour, up to a factor per query."""
    if voting.weighting == "uniform":
        return np.ones_like(distances)
    if voting.weighting == "distance":
        # Nearest first: where some distance is 0, so is the first. Through the smallest one,
        # no quotient overflows.
        first = distances[:, :1]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(first == 0, distances == 0, first / distances)
    assert voting.temperature is not None
    # exp((1 - distance) / T) up to the factor exp((1 - nearest) / T): large for a small T.
    shares: Matrix = np.exp((distances[:, :1] - distances) / voting.temperature)
    return shares


def _add(votes: Matrix, labels: Labels, weights: Matrix) -> None:
    """Add each neighbour's weight to its class, in place.

    One after the other, nearest first: so the votes of k neighbours are the same to the last bit
    whichever smaller k are asked for, too.
    """
    cells = labels + np.arange(len(votes))[:, np.newaxis] * votes.shape[1]
    np.add.at(votes.reshape(-1), cells.ravel(), weights.ravel())


def _judge_prefixes(
    weights: Matrix,
    labels: Labels,
    truth: Labels,
    n_classes: int,
    verdicts: dict[Voting, Verdict],
) -> None:
    """Fill in the verdicts of one weighting's values of k, ascending, adding as k grows."""
    votes = np.zeros((len(truth), n_classes))
    queries, classes = np.arange(len(truth)), np.arange(n_classes)
    before = 0
    for voting, verdict in verdicts.items():
        _add(votes, labels[:, before : voting.k], weights[:, before : voting.k])
        before = voting.k
        of_truth = votes[queries, truth]
        ahead = votes > of_truth[:, np.newaxis]
        ahead |= (votes == of_truth[:, np.newaxis]) & (classes < truth[:, np.newaxis])
        predicted = votes.argmax(axis=1)
        verdict.predicted[:] = predicted
        # Of classes without a vote none is before another: the alphabet is no ranking.
        verdict.rank[:] = np.where(of_truth > 0, 1 + np.count_nonzero(ahead, axis=1), n_classes)
        total = weights[:, : voting.k].sum(axis=1)
        verdict.probability[:] = of_truth / total
        verdict.confidence[:] = votes[queries, predicted] / total


def _families(votings: Sequence[Voting]) -> list[list[Voting]]:
    """Ways of voting that differ in k alone, each list by ascending k."""
    families: dict[tuple[str, float | None], list[Voting]] = {}
    for voting in sorted(set(votings), key=lambda voting: voting.k):
        families.setdefault((voting.weighting, voting.temperature), []).append(voting)
    return list(families.values())


def _query_blocks(queries: int, n_classes: int) -> Iterator[slice]:
    size = max(1, BLOCK_BYTES // (8 * n_classes))
    for start in range(0, queries, size):
        yield slice(start, min(start + size, queries))


def _require_neighbors(distances: Matrix, k: int) -> None:
    if not 1 <= k <= distances.shape[1]:
        raise ProbelineError(
            "votes of neighbours",
            f"k = {k} neighbours can't vote",
            expected=f"k from 1 to {distances.shape[1]}, the neighbours that are stored",
            found=str(k),
            remedy="store more neighbours",
        )
