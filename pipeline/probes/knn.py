"""k nearest neighbours from stored neighbours: every variant is a vote, none a search."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.neighbors.leave_one_out import Choice, choose, leave_one_out
from pipeline.neighbors.neighbors import Space, Stored, read_neighbors, spaces
from pipeline.neighbors.votes import Verdict, judge
from pipeline.probes.knn_variants import (
    left_out,
    neighbors_of,
    space_of,
    tuned_votings,
    voting_of,
)
from pipeline.probes.needs import knn_need
from pipeline.probes.protocol import run_protocol
from pipeline.probes.scoring import Outcome
from pipeline.probes.task import Scored, Task, judged, shape_of
from pipeline.study.knn import KNN, TUNED
from pipeline.study.protocol import Say
from pipeline.study.schema import Study
from pipeline.study.variant import Variant

Labels = NDArray[np.int64]
Read = Callable[[Space], Mapping[str, Stored]]


def score_all(study: Study, say: Say) -> tuple[int, int]:
    """Score what the study misses; refuse first what no data set can have."""
    for dataset, what in left_out(study):
        say(f"{dataset}: {what}")
    return run_protocol(
        study,
        KNN.name,
        partial(run_knn, study),
        lambda task: knn_need(study, shape_of(task)),
        say=say,
    )


def run_knn(study: Study, task: Task) -> Scored:
    """Judge the task's variants on the val split.

    Raises
    ------
    CellMissingError, CellStaleError, CellCorruptError
        When the stored neighbours are not what the study asks for.
    """

    def read(space: Space) -> Mapping[str, Stored]:
        return read_neighbors(
            study.neighbors, task.dataset, task.model, space, task.train, task.val
        )

    train_labels = task.train.labels().astype(np.int64)
    val_labels = task.val.labels().astype(np.int64)
    wanted = task.wanted(study, KNN)
    fixed = [v for v in wanted if v != TUNED and neighbors_of(v) <= len(train_labels)]
    outcomes = fixed_outcomes(fixed, read, train_labels, val_labels, len(task.classes))
    if TUNED in wanted:
        start = time.perf_counter()
        named = spaces(study.neighbors)
        choice, searched = tune(named, read, train_labels, len(task.classes))
        space = named[choice.space]
        (best,) = fixed_outcomes(
            [
                replace(
                    TUNED,
                    distance=space[0],
                    normalization=space[1],
                    k=choice.voting.k,
                    weighting=choice.voting.weighting,
                    temperature=choice.voting.temperature,
                )
            ],
            read,
            train_labels,
            val_labels,
            len(task.classes),
            details=choice_details(space, choice),
            seconds=searched + time.perf_counter() - start,
        )
        outcomes.append(best)
    return judged(task, outcomes)


def fixed_outcomes(
    asked: Sequence[Variant],
    read: Read,
    train_labels: Labels,
    val_labels: Labels,
    n_classes: int,
    *,
    details: Mapping[str, Any] | None = None,
    seconds: float = 0.0,
) -> list[Outcome]:
    """What fixed variants say of every val image, in the order of `asked`.

    Parameters
    ----------
    asked : sequence of Variant
    read : callable
        Gives a space's stored neighbours; called once for each space that is asked for.
    train_labels : ndarray of shape (n_train,)
    val_labels : ndarray of shape (n_val,)
    n_classes : int
        Of the train split.
    details : mapping, optional
        Of every outcome.
    seconds : float
        Spent before, on every variant's behalf. An outcome's seconds are these, the space's
        search, and its share of the votes.
    """
    outcomes: dict[str, Outcome] = {}
    for space in dict.fromkeys(map(space_of, asked)):
        stored = read(space)["val"]
        here = [variant for variant in asked if space_of(variant) == space]
        start = time.perf_counter()
        verdicts = judge(
            stored.distances,
            train_labels[stored.indices],
            val_labels,
            n_classes,
            [voting_of(variant) for variant in here],
        )
        each = (time.perf_counter() - start) / len(here) + stored.seconds + seconds
        for variant in here:
            outcomes[variant.name] = _outcome(
                variant.name,
                verdicts[voting_of(variant)],
                each,
                stored.backend,
                {**(details or {}), "device": stored.device},
                voting_of(variant).k,
            )
    return [outcomes[variant.name] for variant in asked]


def tune(
    named: Sequence[Space], read: Read, train_labels: Labels, n_classes: int
) -> tuple[Choice, float]:
    """The best space and way of voting by leave-one-out; no val label is given to this function.

    Parameters
    ----------
    named : sequence of tuple of str
        Spaces to choose from.
    read, train_labels, n_classes
        See `fixed_outcomes`.

    Returns
    -------
    choice : Choice
    seconds : float
        That the leave-one-out searches took.
    """
    trials = []
    seconds = 0.0
    for space in named:
        stored = read(space)["train"]
        seconds += stored.seconds
        trials.append(
            leave_one_out(
                stored.distances,
                train_labels[stored.indices],
                train_labels[stored.samples],
                n_classes,
                tuned_votings(space, stored.indices.shape[1]),
            )
        )
    return choose(trials), seconds


def choice_details(space: Space, choice: Choice) -> dict[str, Any]:
    """What the tuned variant's row tells of its selection."""
    metric, normalization = space
    return {
        "metric": metric,
        "normalization": normalization,
        "k": choice.voting.k,
        "weighting": choice.voting.weighting,
        "temperature": choice.voting.temperature,
        "leave_one_out_accuracy": choice.accuracy,
        "leave_one_out_images": choice.queries,
    }


def _outcome(
    name: str,
    verdict: Verdict,
    seconds: float,
    backend: str,
    details: Mapping[str, Any],
    k: int,
) -> Outcome:
    with np.errstate(divide="ignore"):  # a class without a vote: minus infinity, as it is
        log_probability = np.log(verdict.probability).astype(np.float32)
    return Outcome(
        name,
        verdict.predicted,
        verdict.rank,
        log_probability,
        verdict.confidence,
        seconds=seconds,
        backend=backend,
        seed=None,
        details=dict(details),
        places=k,
    )
