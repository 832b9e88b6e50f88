"""The heads that can be taken, as arrays in and class scores out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cache.errors import ProbelineError
from pipeline.heads.normalization import BLOCK, Normalizer
from pipeline.neighbors.points import points_of, rounded
from pipeline.neighbors.votes import Matrix, Voting, judge

_AFFINE, _NEIGHBORS = "affine", "neighbors"
"""What head.json calls the kinds of heads."""

_MARGIN = 32
"""Candidates beyond the k nearest, whose distances are taken again from differences."""


@dataclass(frozen=True)
class Said:
    """What a head says of some images.

    Attributes
    ----------
    predicted : ndarray of shape (n,), int64
        Positions in the list of classes.
    confidence : ndarray of shape (n,), float64
        Probability of the predicted class; NaN of heads whose scores are no probabilities.
    """

    predicted: NDArray[np.int64]
    confidence: Matrix


@dataclass(frozen=True)
class LinearHead:
    """Logistic regression or ridge on normalised features.

    Attributes
    ----------
    normalizer : Normalizer
    coefficients : ndarray of shape (n_classes, n_features), float64
    intercept : ndarray of shape (n_classes,), float64
        −∞ of a class that had no train image.
    probabilistic : bool
        Whether the softmax of its scores is a probability: of logistic regression.
    """

    normalizer: Normalizer
    coefficients: Matrix
    intercept: Matrix
    probabilistic: bool

    def __call__(self, features: NDArray[np.float32]) -> Said:
        """Judge features of shape (n, n_features)."""
        scores = np.concatenate(
            [self._scores(features[i : i + BLOCK]) for i in range(0, len(features), BLOCK)]
        )
        predicted = scores.argmax(axis=1)
        confidence = scores.max(axis=1) if self.probabilistic else np.full(len(scores), np.nan)
        return Said(predicted, confidence)

    def _scores(self, features: NDArray[np.float32]) -> Matrix:
        normalized = self.normalizer(features).astype(np.float64)
        scores: Matrix = normalized @ self.coefficients.T + self.intercept
        if not self.probabilistic:
            return scores
        scores -= scores.max(1, keepdims=True)
        log_probabilities = scores - np.log(np.exp(scores).sum(1, keepdims=True))
        return np.asarray(np.exp(log_probabilities))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """For head.safetensors."""
        return {
            "coefficients": self.coefficients,
            "intercept": self.intercept,
            "mean": self.normalizer.mean,
            "scale": self.normalizer.scale,
        }


@dataclass(frozen=True)
class NeighborHead:
    """The vote of the nearest train images, found by comparing with all of them in float64.

    Attributes
    ----------
    bank : ndarray of shape (n_train, n_features), float16 or float32
        Features of the train images, as cached.
    labels : ndarray of shape (n_train,), int64
    mean, deviation : ndarray of shape (n_features,) or (0,), float64
        Subtracted, and divided by, first; empty where the space does without.
    unit, cosine : bool
        Whether rows are then brought to length 1, and which distance is taken.
    voting : Voting
    n_classes : int
    """

    bank: NDArray[np.floating]
    labels: NDArray[np.int64]
    mean: Matrix
    deviation: Matrix
    unit: bool
    cosine: bool
    voting: Voting
    n_classes: int

    def __call__(self, features: NDArray[np.float32]) -> Said:
        """Judge features of shape (n, n_features)."""
        distances, rows = self._nearest(self._placed(features))
        nobody = np.zeros(len(features), np.int64)  # what is true is not known, nor used
        verdict = judge(distances, self.labels[rows], nobody, self.n_classes, [self.voting])
        told = verdict[self.voting]
        return Said(told.predicted.astype(np.int64), told.confidence)

    def _placed(self, features: NDArray[np.floating]) -> Matrix:
        """Points between which squared Euclidean distances are taken."""
        mean, deviation = (of if len(of) else None for of in (self.mean, self.deviation))
        return points_of(features, mean, deviation, unit=self.unit)

    def _nearest(self, points: Matrix) -> tuple[Matrix, NDArray[np.int64]]:
        """Distances and rows of the k nearest, nearest first; equal ones in the bank's order."""
        k = self.voting.k
        found = np.empty((len(points), 0))
        rows = np.empty((len(points), 0), np.int64)
        squares = np.vecdot(points, points)[:, np.newaxis]
        for start, bank in self._blocks():
            away = squares + np.vecdot(bank, bank) - 2 * (points @ bank.T)
            numbers = np.broadcast_to(np.arange(start, start + len(bank)), away.shape)
            found, rows = np.hstack([found, away]), np.hstack([rows, numbers])
            if found.shape[1] > k + _MARGIN:
                kept = np.argpartition(found, k + _MARGIN - 1, axis=1)[:, : k + _MARGIN]
                found = np.take_along_axis(found, kept, axis=1)
                rows = np.take_along_axis(rows, kept, axis=1)
        exact = np.stack(
            [self._distances(own, near) for own, near in zip(points, rows, strict=True)]
        )
        order = np.lexsort((rows, exact), axis=1)[:, :k]
        near, rows = np.take_along_axis(exact, order, 1), np.take_along_axis(rows, order, 1)
        distances = near / 2 if self.cosine else np.sqrt(near)
        return rounded(distances).astype(np.float64), rows  # as those of stored neighbours

    def _blocks(self) -> Iterator[tuple[int, Matrix]]:
        for start in range(0, len(self.bank), BLOCK):
            yield start, self._placed(self.bank[start : start + BLOCK])

    def _distances(self, own: Matrix, rows: NDArray[np.int64]) -> Matrix:
        """Squared, from differences. The cosine with a row of zeros counts as 0."""
        bank = self._placed(self.bank[rows])
        away = bank - own
        squared: Matrix = np.vecdot(away, away)
        if self.cosine:
            squared[~bank.any(axis=1) | (not own.any())] = 2.0
        return squared

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """For head.safetensors."""
        return {
            "bank": self.bank,
            "labels": self.labels,
            "mean": self.mean,
            "deviation": self.deviation,
        }


TakenHead = LinearHead | NeighborHead
_Arrays = Mapping[str, NDArray[Any]]


def head_facts(head: TakenHead) -> dict[str, Any]:
    """What head.json says of a head beside its arrays."""
    if isinstance(head, LinearHead):
        return {
            "kind": _AFFINE,
            "unit": head.normalizer.unit,
            "probabilistic": head.probabilistic,
        }
    return {
        "kind": _NEIGHBORS,
        "unit": head.unit,
        "cosine": head.cosine,
        "k": head.voting.k,
        "weighting": head.voting.weighting,
        "temperature": head.voting.temperature,
    }


def head_from(
    facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], n_classes: int, place: str
) -> TakenHead:
    """The head that head.json and head.safetensors hold.

    Raises
    ------
    ProbelineError
        When the arrays are not those of such a head.
    """
    try:
        return _MAKERS[facts["kind"]](facts, arrays, n_classes)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ProbelineError(
            place,
            "does not hold the head that head.json tells of",
            found=f"{type(error).__name__}: {str(error)[:200]}",
            remedy="take the classifier again",
        ) from None


def _linear_head(facts: Mapping[str, Any], arrays: _Arrays, n_classes: int) -> LinearHead:
    width = arrays["coefficients"].shape[1]
    _require_shape(arrays, "coefficients", (n_classes, width))
    _require_shape(arrays, "intercept", (n_classes,))
    _require_shape(arrays, "mean", (width,))
    _require_shape(arrays, "scale", (width,), (1,))
    normalizer = Normalizer(bool(facts["unit"]), arrays["mean"], arrays["scale"])
    probabilistic = bool(facts["probabilistic"])
    return LinearHead(normalizer, arrays["coefficients"], arrays["intercept"], probabilistic)


def _neighbor_head(facts: Mapping[str, Any], arrays: _Arrays, n_classes: int) -> NeighborHead:
    bank, labels = arrays["bank"], arrays["labels"]
    rows, width = bank.shape
    voting = Voting(int(facts["k"]), facts["weighting"], facts["temperature"])
    _require_shape(arrays, "labels", (rows,))
    for name in ("mean", "deviation"):
        _require_shape(arrays, name, (width,), (0,))
    if not 1 <= voting.k <= rows or labels.min() < 0 or labels.max() >= n_classes:
        raise ValueError("neighbours or classes that are not there")
    unit, cosine = bool(facts["unit"]), bool(facts["cosine"])
    return NeighborHead(
        bank, labels, arrays["mean"], arrays["deviation"], unit, cosine, voting, n_classes
    )


_MAKERS: Mapping[str, Callable[[Mapping[str, Any], _Arrays, int], TakenHead]] = {
    _AFFINE: _linear_head,
    _NEIGHBORS: _neighbor_head,
}


def _require_shape(arrays: _Arrays, name: str, *allowed: tuple[int, ...]) -> None:
    if arrays[name].shape not in allowed:
        raise ValueError(f"{name} of shape {arrays[name].shape}")
