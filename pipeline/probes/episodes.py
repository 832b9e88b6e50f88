"""Few-shot episodes: every classifier on every draw and problem, judged image by image."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.heads.inner_splits import Groups
from pipeline.heads.normalization import Features
from pipeline.heads.shot_classifiers import Classifier, Labels, Scores
from pipeline.heads.slabs import Rows, taken
from pipeline.probes.problems import Part, Problem, all_classes
from pipeline.probes.scoring import make_outcome
from pipeline.probes.shots import Draw
from pipeline.study.budget import Budget
from pipeline.study.fewshot import FEWSHOT
from pipeline.study.variant import Variant


@dataclass(frozen=True)
class Episodes:
    """One classifier on one problem and budget: all its draws, on every test image.

    Attributes
    ----------
    variant : Variant
    problem : Problem
    predicted : ndarray of shape (n_draws, n_test)
        In the smallest integers that hold the classes; labels as the problem stores them.
    rank : ndarray of shape (n_draws, n_test)
        Place of the true class among the problem's, as in `pipeline.probes.scoring.Outcome`.
    log_probability, confidence : ndarray of shape (n_draws, n_test), float32, float64
        As in `pipeline.probes.scoring.Outcome`; NaN where the classifier gives no probabilities.
    rows : list of int
        Train images of each draw.
    short : tuple of int
        Classes with fewer images than the budget asks for.
    seconds : float
        Over all draws.
    details : list of dict
        The classifier's, one a draw.
    """

    variant: Variant
    problem: Problem
    predicted: NDArray[np.integer]
    rank: NDArray[np.integer]
    log_probability: NDArray[np.float32]
    confidence: NDArray[np.float32]
    rows: list[int]
    short: tuple[int, ...]
    seconds: float
    details: list[dict[str, Any]]


@dataclass(frozen=True)
class _Images:
    """What classifiers learn from and are tested on; see `run_episodes`."""

    train: Features
    train_labels: Labels
    val: Rows
    val_labels: Labels
    train_groups: Groups | None


def run_episodes(
    classifiers: Mapping[str, Classifier],
    draws: Sequence[Draw],
    train: Features,
    train_labels: Labels,
    val: Rows,
    val_labels: Labels,
    n_classes: int,
    train_groups: Groups | None = None,
    problems: Sequence[Problem] = (),
    wanted: Collection[Variant] | None = None,
) -> list[Episodes]:
    """Every classifier on every budget, in the order of the budgets, then of the classifiers.

    Parameters
    ----------
    classifiers : mapping of str to callable
    draws : sequence of Draw
        Their rows are rows of `train`.
    train, val : ndarray of shape (n_samples, n_features)
    train_labels, val_labels : ndarray of shape (n_samples,)
    n_classes : int
    train_groups : ndarray of shape (n_samples,) of str, optional
        For classifiers that hold something out to choose by.
    problems : sequence of Problem, optional
        Asked after all others, on the first budget.
    wanted : collection of Variant, optional
        Nothing but these is computed; with problems on the budgets that they name.

    Raises
    ------
    NonFiniteError
        When a classifier scores an image with NaN.
    """
    images = _Images(train, train_labels, val, val_labels, train_groups)
    budgets = list(dict.fromkeys(draw.budget for draw in draws))
    asked = [(budget, all_classes(n_classes)) for budget in budgets]
    first = budgets[:1] if wanted is None else budgets
    asked += [(budget, problem) for budget in first for problem in problems]
    return [
        _episodes(variant, classify, [d for d in draws if d.budget == budget], problem, images)
        for budget, problem in asked
        for name, classify in classifiers.items()
        if (variant := _variant(name, budget, problem)) and (wanted is None or variant in wanted)
    ]


def _variant(head: str, budget: Budget, problem: Problem) -> Variant:
    return Variant(
        protocol=FEWSHOT.name,
        head=head,
        budget=budget,
        ways=problem.ways,
        coarse=bool(problem.names),
    )


def _episodes(
    variant: Variant,
    classify: Classifier,
    draws: Sequence[Draw],
    problem: Problem,
    images: _Images,
) -> Episodes:
    """Of one classifier on one problem: all draws of one budget."""
    begin = time.perf_counter()
    # Each draw's scores are let go once judged: (n_test, n_classes) may be large.
    each = [_judge(variant, classify, draw, problem, images) for draw in draws]
    predicted, rank, logarithm, confidence, details = zip(*each, strict=True)
    small = np.min_scalar_type(len(problem.truth))
    return Episodes(
        variant,
        problem,
        np.stack(predicted).astype(small),
        np.stack(rank).astype(small),
        np.stack(logarithm),
        np.stack(confidence),
        [len(draw.rows) for draw in draws],
        draws[0].short,
        time.perf_counter() - begin,
        list(details),
    )


def _judge(
    variant: Variant, classify: Classifier, draw: Draw, problem: Problem, images: _Images
) -> tuple[Any, ...]:
    """Of one draw: predicted, rank, log probability of the truth, confidence, details."""
    shape = images.val_labels.shape
    predicted, rank = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    logarithm, confidence = np.zeros(shape, np.float32), np.zeros(shape)
    details = []
    for part in problem.parts(draw.number):
        at = _rows(part.judged[images.val_labels])
        truth = part.codes[images.val_labels[at]]
        if not len(truth):
            continue  # none of its classes is among the test images
        scores = _scores(classify, part, draw, images, at)
        own, largest = np.full(len(truth), np.nan), np.full(len(truth), np.nan)
        # Ranked by the logarithms themselves, which tell apart what underflows as a probability.
        outcome = make_outcome(
            variant.name,
            _noted(scores, truth, own, largest),
            truth,
            seconds=0.0,
            backend="",
            are_probabilities=False,
        )
        predicted[at], rank[at] = part.labels[outcome.predicted], outcome.rank
        logarithm[at], confidence[at] = own, np.exp(largest)
        details.append(scores.details)
    return predicted, rank, logarithm, confidence, _summary(details)


def _noted(
    scores: Scores, truth: Labels, own: NDArray[np.float64], largest: NDArray[np.float64]
) -> Iterator[NDArray[np.float64]]:
    """Slabs of scores; of log probabilities the truth's and the largest are noted on the way."""
    for rows, values in scores.slabs():
        if scores.log_probabilities:
            own[rows] = values[np.arange(len(values)), truth[rows]]
            largest[rows] = values.max(axis=1)
        yield values


def _scores(
    classify: Classifier, part: Part, draw: Draw, images: _Images, at: slice | NDArray[np.intp]
) -> Scores:
    """What a classifier, shown a draw's images of a part's classes, says of some test images."""
    codes = part.codes[images.train_labels[draw.rows]]
    shown = _rows(codes >= 0)
    rows = draw.rows[shown]
    groups = None if images.train_groups is None else images.train_groups[rows]
    queries = images.val
    if not isinstance(at, slice):
        queries = taken(queries, at)
    return classify(images.train[rows], codes[shown], queries, len(part.labels), groups)


def _rows(mask: NDArray[np.bool_]) -> slice | NDArray[np.intp]:
    """Where it holds; everywhere without copying what is taken there."""
    return slice(None) if mask.all() else np.flatnonzero(mask)


def _summary(details: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of a single fit all that it tells; of several their number, and whether all converged."""
    if len(details) == 1:
        return details[0]
    converged = [each["converged"] for each in details if "converged" in each]
    return {"fits": len(details)} | ({"converged": all(converged)} if converged else {})
