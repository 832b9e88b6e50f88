"""What learns from a few shots: prototypes, ridge, logistic regression.

A classifier learns from a draw's images alone: what it normalises with are their statistics, never
those of the test split or of undrawn train images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.heads.inner_splits import Groups
from pipeline.heads.linear_solvers import LogisticSolver, computed_like
from pipeline.heads.logistic import log_probabilities
from pipeline.heads.normalization import Features, Normalizer, centre_and_scale, unit_length
from pipeline.heads.ridge import choose, fit_ridge
from pipeline.heads.ridge import scores as ridge_scores
from pipeline.heads.selection import choose_c
from pipeline.heads.slabs import Rows, part, slabs
from pipeline.heads.tuning import FINE, FIXED_PENALTY, LONE_SHARE, ROUGH

Labels = NDArray[np.integer]


@dataclass(frozen=True)
class Scores:
    """What a classifier says of the queries.

    Attributes
    ----------
    score : callable
        From some queries to their scores, of shape (n_some, n_classes). Larger is likelier; -inf
        for a class without a shot.
    queries : Rows of shape (n_queries, n_features)
    n_classes : int
    log_probabilities : bool
        Whether the scores are natural logarithms of probabilities.
    details : dict
        What was selected, and whether it converged.
    """

    score: Callable[[Features], NDArray[np.float64]]
    queries: Rows
    n_classes: int
    log_probabilities: bool
    details: dict[str, Any]

    def slabs(self) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        """Scores of all queries, a slab of them at a time."""
        for rows in slabs(len(self.queries), max(self.queries.shape[1], self.n_classes)):
            yield rows, self.score(self.queries[rows])

    @property
    def values(self) -> NDArray[np.float64]:
        """Of all queries at once, shape (n_queries, n_classes)."""
        return np.concatenate([values for _, values in self.slabs()])


Classifier = Callable[[Features, Labels, Rows, int, Groups | None], Scores]
"""(shots, their labels, queries, number of classes, the shots' groups) -> scores."""


def prototypes(
    shots: Features,
    labels: Labels,
    queries: Rows,
    n_classes: int,
    groups: Groups | None = None,
) -> Scores:
    """Nearest class mean of centred unit vectors (CL2N, Wang et al. 2019, arXiv 1911.04623).

    The centre is the mean of the shots. Probabilities are softmax(-‖x - prototype‖²), as in
    prototypical networks (Snell et al. 2017); nothing calibrates them.
    """
    centre = shots.mean(axis=0, dtype=np.float64).astype(np.float32)
    (known,) = unit_length(shots - centre)
    order = np.argsort(labels, kind="stable")
    present, starts = np.unique(labels[order], return_index=True)
    of_classes = np.split(order, starts[1:])
    means = np.stack([known[rows].mean(axis=0, dtype=np.float64) for rows in of_classes])

    def score(some: Features) -> NDArray[np.float64]:
        (unknown,) = unit_length(some - centre)
        # ‖x‖² is common to all classes, so it leaves the softmax.
        scores = 2 * unknown @ means.T - np.square(means).sum(axis=1)
        scores -= scores.max(axis=1, keepdims=True)
        scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
        values = np.full((len(some), n_classes), -np.inf)
        values[:, present] = scores
        return values

    return Scores(score, queries, n_classes, True, {})


def logistic_over(cs: Sequence[float], seed: int, backend: str = "numpy") -> Classifier:
    """Multinomial logistic regression, features divided by one scalar of the shots.

    C is chosen among the shots by `pipeline.heads.selection.choose_c`, which divides no
    group: 1 below five shots a class.
    """

    def classify(
        shots: Features,
        labels: Labels,
        queries: Rows,
        n_classes: int,
        groups: Groups | None = None,
    ) -> Scores:
        classes = labels.astype(np.int64)
        normalizer = Normalizer.fit("none", shots)
        wide = part(part(shots, normalize=normalizer), dtype=np.float64)
        solver = LogisticSolver(backend, wide, n_classes)
        choice = choose_c(
            shots,
            classes,
            cs,
            centre_and_scale,
            partial(solver.open_path, tolerance=ROUGH),
            groups=groups,
            seed=seed,
            place=solver.place,
        )
        fit = solver.open_path(solver.train, classes, tolerance=FINE)(choice.c)
        details = {
            "C": choice.c,
            "scheme": choice.scheme,
            "by_group": choice.by_group,
            "converged": bool(fit.converged),
        }

        def score(some: Features) -> NDArray[np.float64]:
            return log_probabilities(fit, normalizer(some))

        return Scores(score, queries, n_classes, True, details)

    return classify


def ridge_over(penalties: Sequence[float], backend: str = "numpy") -> Classifier:
    """Ridge to ±1 targets, λ by exact leave-one-out among the shots; it gives no probabilities.

    Features are divided by one scalar of the shots, so that λ means the same for every model. Where
    many shots are the only ones of their class, they tell nothing of λ: it is 1 then, as C is.
    """

    def classify(
        shots: Features,
        labels: Labels,
        queries: Rows,
        n_classes: int,
        groups: Groups | None = None,
    ) -> Scores:
        normalizer = Normalizer.fit("none", shots)
        known = part(shots, normalize=normalizer)
        tried = (FIXED_PENALTY,) if lone_share(labels, groups) > LONE_SHARE else penalties
        fits, judged = fit_ridge(
            known, labels.astype(np.int64), n_classes, tried, groups, computed_like(backend)
        )
        place = choose(judged)
        fit, absent = fits[place], np.setdiff1d(np.arange(n_classes), labels)
        details = {"lambda": fit.penalty, "leave_one_out_top1": judged[place].accuracy}

        def score(some: Features) -> NDArray[np.float64]:
            values = ridge_scores(fit, normalizer(some))
            values[:, absent] = -np.inf
            return values

        return Scores(score, queries, n_classes, False, details)

    return classify


def lone_share(labels: Labels, groups: Groups | None = None) -> float:
    """Share of images of whose class there is no other, or none outside their own group."""
    others = np.bincount(labels)[labels] - 1
    if groups is not None and len(set(groups)) > 1:  # a single group divides nothing
        _, own, sizes = np.unique(
            np.stack([labels.astype(str), groups]), axis=1, return_inverse=True, return_counts=True
        )
        others -= np.where(groups == "", 0, sizes[own.ravel()] - 1)
    return float(np.mean(others == 0))
