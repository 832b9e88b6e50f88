"""Leave-one-group-out on the train split: how well a probe does in a site that it never saw."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from pipeline.heads.linear_heads import fit_head
from pipeline.heads.normalization import Features
from pipeline.neighbors.banks import ArrayBank
from pipeline.probes.knn_variants import neighbors_of
from pipeline.probes.protocol import Task, read_features
from pipeline.probes.scoring import make_outcome, score_rows
from pipeline.probes.transfer_scores import Part
from pipeline.probes.transfer_votes import neighbor_votes
from pipeline.study.linear import Linear, closed_form
from pipeline.study.transfer import held_out
from pipeline.study.variant import Variant

Labels = NDArray[np.int64]
Groups = NDArray[np.str_]
Scores = NDArray[np.float64]
Probe = Callable[[Features, Labels, Features, int], Scores]
"""(other groups' features, their labels, the group's features, number of classes) -> scores."""

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


def hold_out_groups(task: Task, knn: Variant, settings: Linear) -> Iterator[Part]:
    """A kNN variant and ridge, each group of train judged by what all others taught.

    Statistics for normalising come from the other groups, too. Yields nothing where there is an
    `obstacle`. Beside the usual metrics (over all images left out) there are the worst group's
    accuracy and the mean over groups.
    """
    labels = task.train.labels()
    groups = task.train_groups
    if groups is None or obstacle(labels, groups, neighbors_of(knn)):
        return
    train = read_features(task.train)

    def vote(bank: Features, known: Labels, queries: Features, n_classes: int) -> Scores:
        return neighbor_votes(knn, ArrayBank(bank), known, queries, n_classes)

    def ridge(bank: Features, known: Labels, queries: Features, n_classes: int) -> Scores:
        return fit_head("ridge", "none", bank, known, n_classes, settings).scores(queries)

    for variant, probe, are_probabilities in (
        (knn, vote, True),
        (closed_form("ridge", "none"), ridge, False),
    ):
        start = time.perf_counter()
        scores = _scores(probe, train, labels, groups, len(task.classes))
        rows = np.flatnonzero(groups != "")
        outcome = make_outcome(
            held_out(variant).name,
            scores[rows],
            labels[rows],
            are_probabilities=are_probabilities,
            seconds=time.perf_counter() - start,
            backend="numpy",
            details={"groups": len(_names(groups))},
        )
        n_train = len(labels) - round(len(rows) / len(_names(groups)))  # a fit's, on average
        scored = score_rows(
            outcome, labels[rows], len(task.classes), n_train, groups[rows], held_out=True
        )
        yield Part(scored, outcome, "train", rows)


def _scores(
    probe: Probe, train: Features, labels: Labels, groups: Groups, n_classes: int
) -> Scores:
    scores = np.empty((len(train), n_classes))
    for name in _names(groups):
        held_out = groups == name
        scores[held_out] = probe(train[~held_out], labels[~held_out], train[held_out], n_classes)
    return scores


def _names(groups: Groups) -> list[str]:
    return [str(name) for name in np.unique(groups) if name]
