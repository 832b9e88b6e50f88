"""Leave-one-group-out on the train split: how well a probe does in a site that it never saw."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.heads.linear_heads import fit_head
from pipeline.heads.slabs import Rows, part
from pipeline.probes.knn_variants import neighbors_of
from pipeline.probes.reading import bank_of, rows_of
from pipeline.probes.scoring import make_outcome, score_rows
from pipeline.probes.task import Task
from pipeline.probes.transfer_scores import Part
from pipeline.probes.transfer_votes import neighbor_votes
from pipeline.study.linear import Linear, closed_form
from pipeline.study.transfer import held_out
from pipeline.study.variant import Variant

Labels = NDArray[np.int64]
Groups = NDArray[np.str_]
Scores = NDArray[np.float64]
Probe = Callable[[Rows, Labels, Rows, int], Iterable[Scores]]
"""(other groups' features, their labels, the group's features, number of classes) -> slabs."""

FEWEST, MOST = 2, 50
"""Groups that are left out in turn."""


def obstacle(labels: Labels, groups: Groups | None, k: int) -> str:
    """Why the groups of a train split can't be left out in turn; "" if they can.

    Parameters
    ----------
    labels : ndarray of shape (n_train,)
    groups : ndarray of shape (n_train,) of str, or None
        "" is no group: such images are never left out.
    k : int
        Neighbours that must remain.
    """
    if groups is None:
        return "no groups"
    names = _names(groups)
    if not FEWEST <= len(names) <= MOST:
        return f"{len(names)} groups in train, {FEWEST} to {MOST} can be left out in turn"
    for name in names:
        others = labels[groups != name]
        if len(np.unique(others)) < 2:
            return f"without group {name} train has a single class"
        if len(others) < k:
            return f"without group {name} train has {len(others)} images, fewer than k = {k}"
    return ""


def hold_out_groups(
    task: Task, knn: Variant, settings: Linear, wanted: Collection[Variant]
) -> Iterator[Part]:
    """A kNN variant and ridge, each group of train judged by what all others taught.

    Of the two those whose `held_out` variant is wanted.

    Statistics for normalising come from the other groups, too. Yields nothing where there is an
    `obstacle`. Beside the usual metrics (over all images left out) there are the worst group's
    accuracy and the mean over groups.
    """
    labels = task.train.labels()
    groups = task.train_groups
    if groups is None or obstacle(labels, groups, neighbors_of(knn)):
        return
    train = rows_of(task.train, streamed=task.streamed)

    def vote(bank: Rows, known: Labels, queries: Rows, n_classes: int) -> Iterable[Scores]:
        return neighbor_votes(knn, bank_of(bank), known, bank_of(queries), n_classes)

    def ridge(bank: Rows, known: Labels, queries: Rows, n_classes: int) -> Iterable[Scores]:
        return fit_head("ridge", "none", bank, known, n_classes, settings).slabs(queries)

    for variant, probe, are_probabilities in (
        (knn, vote, True),
        (closed_form("ridge", "none"), ridge, False),
    ):
        if held_out(variant) not in wanted:
            continue
        start = time.perf_counter()
        rows = np.flatnonzero(groups != "")
        by_group = np.concatenate([np.flatnonzero(groups == name) for name in _names(groups)])
        outcome = make_outcome(
            held_out(variant).name,
            _slabs(probe, train, labels, groups, len(task.classes)),
            labels[by_group],
            are_probabilities=are_probabilities,
            seconds=0.0,
            backend="numpy",
            details={"groups": len(_names(groups))},
            places=variant.k,
        )
        back = np.argsort(by_group)
        outcome = replace(
            outcome,
            predicted=outcome.predicted[back],
            rank=outcome.rank[back],
            log_probability=outcome.log_probability[back],
            confidence=outcome.confidence[back],
            seconds=time.perf_counter() - start,
        )
        n_train = len(labels) - round(len(rows) / len(_names(groups)))  # a fit's, on average
        scored = score_rows(
            outcome, labels[rows], len(task.classes), n_train, groups[rows], held_out=True
        )
        yield Part(scored, outcome, "train", rows)


def _slabs(
    probe: Probe, train: Rows, labels: Labels, groups: Groups, n_classes: int
) -> Iterator[Scores]:
    """Scores of each group's images by what all others taught, one group after the other."""
    for name in _names(groups):
        held_out = groups == name
        yield from probe(
            part(train, ~held_out), labels[~held_out], part(train, held_out), n_classes
        )


def _names(groups: Groups) -> list[str]:
    return [str(name) for name in np.unique(groups) if name]
