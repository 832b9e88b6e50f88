"""Transferability metrics, from the cached train split alone; no probe is trained.

Every predictor is a number whose sign is declared, or undefined with a reason. Second moments are
summed in float64 over chunks of rows; what can't use all rows uses a seeded subsample. So memory
does not grow with the number of images (but for their labels): for d features, about eight arrays
of d x d in float64 and 25,600 rows in float32.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cache.cell import Cell, CellAddress
from pipeline.embeddings.cells import needed_splits
from pipeline.heads.linear_solvers import computed_like
from pipeline.probes.class_moments import ClassMoments, Parts, class_moments
from pipeline.probes.needs import predictors_need
from pipeline.probes.predictor_formulas import (
    Floats,
    alignment,
    alpha_req,
    cdnv,
    h_score,
    logme,
    logme_published,
    nc1,
    rankme,
    uniformity,
)
from pipeline.probes.protocol import run_protocol
from pipeline.probes.reading import read_parts, read_rows, subsample
from pipeline.probes.scoring import outcome_table
from pipeline.probes.similarity import label_cka
from pipeline.probes.task import Scored, Task, shape_of
from pipeline.project.words import number_of
from pipeline.study.metric import TRANSFERABILITY
from pipeline.study.predictors import NAME
from pipeline.study.protocol import Say
from pipeline.study.protocol_list import protocol_named
from pipeline.study.schema import Study

RANKME_ROWS = 25_600
UNIFORMITY_ROWS = 8_192
VIEWS = 2
"""Of those cached, that alignment reads."""


def score_all(study: Study, say: Say) -> tuple[int, int]:
    """Compute what the study misses."""
    return run_protocol(
        study,
        NAME,
        partial(run_predictors, study),
        lambda task: predictors_need(study, shape_of(task)),
        say=say,
    )


@dataclass(frozen=True)
class Prediction:
    """What one predictor says of one model on one data set.

    Attributes
    ----------
    value : float
        As its source defines it; NaN where undefined.
    sign : int
        +1 where a larger value promises a better model, -1 where a smaller one does, 0 where
        a transformation does (α-ReQ).
    promise : float
        The predictor itself: larger is better.
    rows : int
        Images that entered.
    reason : str
        Why it is undefined, or what was left out; else empty.
    """

    value: float
    sign: int
    promise: float
    rows: int
    reason: str = ""


@dataclass(frozen=True)
class Data:
    """What predictors read of one model on one train split.

    Attributes
    ----------
    labels : ndarray of shape (n_train,)
    parts : callable
        Gives all features in order, some rows at a time.
    take : callable
        From row numbers to these rows of the features.
    views : sequence of callable
        As `parts`, of each augmented view of the same images.
    seed : int
        Of the subsamples.
    backend : {"numpy", "torch"}
        That sums up the moments.
    """

    labels: NDArray[np.integer]
    parts: Parts
    take: Callable[[NDArray[np.int64]], Floats]
    views: Sequence[Parts] = ()
    seed: int = 0
    backend: str = "numpy"

    @cached_property
    def moments(self) -> ClassMoments:
        """First and second moments by class; computed for the first predictor that asks."""
        return class_moments(self.parts, self.labels, computed_like(self.backend))

    def subsample(self, limit: int) -> Floats:
        """At most so many rows of the features, a seeded draw."""
        return self.take(subsample(len(self.labels), limit, self.seed))


def run_predictors(study: Study, task: Task) -> Scored:
    """The task's predictors, of its train split.

    Two rows each, ``value`` and ``promise``: None where undefined, with the reason in the details.
    No image is judged. What several predictors share is in the seconds of the first.
    """
    splits = [s for s in needed_splits(study, study.models[task.model]) if "_view_" in s][:VIEWS]
    store = task.train.address.store
    views = [Cell.open(CellAddress(store, split)) for split in splits]
    data = Data(
        task.train.labels(),
        partial(read_parts, task.train),
        partial(read_rows, task.train),
        [partial(read_parts, view) for view in views],
        study.transferability.seed,
        task.backend,
    )
    rows = []
    for name in (variant.called for variant in task.wanted(study, protocol_named(NAME))):
        start = time.perf_counter()
        prediction = PREDICTORS[name](data)
        rows += _rows(name, prediction, data, time.perf_counter() - start)
    return Scored(rows, outcome_table([]))


def _rankme(data: Data) -> Prediction:
    """Its promise is the share of the dimensions: a rank of wide features is no merit."""
    features = data.subsample(RANKME_ROWS)
    found = _signed(+1, rankme(features), len(features), "all features are 0")
    return Prediction(found.value, +1, found.value / features.shape[1], found.rows, found.reason)


def _alpha_req(data: Data) -> Prediction:
    moments = data.moments
    covariance: NDArray[np.float64] = moments.scatter / moments.rows
    value = alpha_req(np.linalg.eigvalsh(covariance).astype(np.float64))
    reason = "" if np.isfinite(value) else "fewer than five positive eigenvalues"
    return Prediction(value, 0, -abs(value - 1), moments.rows, reason)


def _h_score(data: Data) -> Prediction:
    return _signed(+1, h_score(data.moments), data.moments.rows, "constant features")


def _logme(data: Data) -> Prediction:
    moments = data.moments
    return _signed(+1, logme(moments), moments.rows, "the evidence has no finite maximum")


def _logme_published(data: Data) -> Prediction:
    moments = data.moments
    value = logme_published(moments)
    return _signed(+1, value, moments.rows, "features of 0, or as many as images without noise")


def _collapse(measure: Callable[[ClassMoments], float], data: Data) -> Prediction:
    value, counts = measure(data.moments), data.moments.counts
    single = int((counts == 1).sum())
    left_out = f"{number_of(single, 'class', 'classes')} of one image left out" if single else ""
    rows = int(counts.sum()) - single
    if np.isfinite(value):
        return Prediction(value, -1, -value, rows, left_out)
    why = "; ".join(filter(None, (left_out, "fewer than two classes, or equal class means")))
    return _signed(-1, value, rows, why)


def _uniformity(data: Data) -> Prediction:
    features = data.subsample(UNIFORMITY_ROWS)
    return _signed(-1, uniformity(features), len(features), "fewer than two images")


def _alignment(data: Data) -> Prediction:
    side_by_side: Iterable[tuple[Floats, ...]] = zip(*(v() for v in data.views), strict=True)
    reason = f"{len(data.views)} views cached, {VIEWS} needed"
    return _signed(-1, alignment(side_by_side), len(data.labels), reason)


def _label_cka(data: Data) -> Prediction:
    reason = "fewer than four images, a single class, or features without spread"
    return _signed(+1, label_cka(data.moments), data.moments.rows, reason)


PREDICTORS: dict[str, Callable[[Data], Prediction]] = {
    "rankme": _rankme,
    "alpha_req": _alpha_req,
    "h_score": _h_score,
    "logme": _logme,
    "logme_published": _logme_published,
    "cdnv": partial(_collapse, cdnv),
    "nc1": partial(_collapse, nc1),
    "uniformity": _uniformity,
    "alignment": _alignment,
    "label_cka": _label_cka,
}
"""By the name in params.yaml."""


def _signed(sign: int, value: float, rows: int, otherwise: str) -> Prediction:
    if not np.isfinite(value):
        return Prediction(float("nan"), sign, float("nan"), rows, otherwise)
    return Prediction(value, sign, sign * value, rows)


def _rows(name: str, found: Prediction, data: Data, seconds: float) -> list[dict[str, Any]]:
    details: dict[str, Any] = {"sign": found.sign, "images": found.rows}
    if found.reason:
        details["reason"] = found.reason
    return [
        {
            "variant": name,
            "metric": metric,
            "value": value if np.isfinite(value) else None,
            "ci_low": None,
            "ci_high": None,
            "n_train": len(data.labels),
            "n_test": 0,
            "seed": data.seed,
            "seconds": round(seconds, 4),
            "backend": data.backend,
            "details": details,
        }
        for metric, value in zip(TRANSFERABILITY, (found.value, found.promise), strict=True)
    ]
