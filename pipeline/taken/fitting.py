"""The head of a record, fitted once more: the same computation, so the very same numbers.

A record holds what was chosen (C, λ, k) and what the head said of every test image, but no weights:
kept for every model, data set and variant, those of ImageNet's size would be gigabytes that nobody
asks for, and studies from before would have none. One fit with the recorded C takes a fraction of
what choosing it took; it is compared with the stored outcome of every test image before it is used.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cache.cell import Cell
from cache.errors import ProbelineError
from pipeline.datasets.index import Index
from pipeline.heads.linear_heads import fit_head
from pipeline.neighbors.banks import CellBank
from pipeline.neighbors.preparation import Space
from pipeline.probes.knn_variants import voting_of
from pipeline.probes.scoring import Outcome
from pipeline.probes.task import groups_of, read_features
from pipeline.study.knn import TUNED
from pipeline.study.schema import Study
from pipeline.study.variant import Variant
from pipeline.taken.heads import LinearHead, NeighborHead, TakenHead

_OFFERED = ("numpy", "torch", "sklearn")
"""Backends that any machine has; another one's fit is compared with a fit by the first."""


def fit_again(
    study: Study, index: Index, variant: Variant, train: Cell, stored: Outcome
) -> TakenHead:
    """The head behind a stored outcome.

    Parameters
    ----------
    study : Study
    index : Index
    variant : Variant
        Logistic regression, ridge, or kNN.
    train : Cell
    stored : Outcome
        Of the same variant, with what it had selected.
    """
    if variant.head == TUNED.head:
        return _neighbors(index, variant, train, stored)
    settings = study.linear
    if variant.head == "logistic":
        settings = settings.model_copy(update={"c": [stored.details["C"]]})
    head = fit_head(
        variant.head,  # type: ignore[arg-type]  # the caller refused the others
        variant.normalization,
        read_features(train),
        train.labels().astype(np.int64),
        len(index.classes),
        settings,
        stored.backend if stored.backend in _OFFERED else _OFFERED[0],
        groups_of(index, "train"),
    )
    assert head.fit is not None
    return LinearHead(
        head.normalizer,  # type: ignore[arg-type]  # of `fit_head`
        head.fit.coefficients,
        head.fit.intercept,
        head.log_probabilities,
    )


def _neighbors(index: Index, variant: Variant, train: Cell, stored: Outcome) -> NeighborHead:
    if variant == TUNED:
        chosen = stored.details
        variant = replace(
            variant,
            distance=chosen["metric"],
            normalization=chosen["normalization"],
            k=chosen["k"],
            weighting=chosen["weighting"],
            temperature=chosen["temperature"],
        )
    space = Space.fit(CellBank(train), variant.normalization, variant.distance)
    empty = np.empty(0)
    return NeighborHead(
        train.read(),
        train.labels().astype(np.int64),
        empty if space.mean is None else space.mean,
        empty if space.deviation is None else space.deviation,
        space.unit,
        variant.distance == "cosine",
        voting_of(variant),
        len(index.classes),
    )


def require_the_same(head: TakenHead, val: Cell, stored: Outcome, place: str) -> int:
    """Refuse a head that says another class than the record of any test image; their number.

    Raises
    ------
    ProbelineError
        Says of how many.
    """
    said = head(read_features(val))
    differs = np.flatnonzero(said.predicted != stored.predicted)
    if len(differs):
        raise ProbelineError(
            place,
            "the head that was fitted again is not the one of the report",
            expected=f"the stored class of all {len(stored.predicted):,} test images",
            found=f"another one of {len(differs):,} (first {val.ids()[differs[0]]})",
            remedy="run the protocol again on this machine: delete its record, then `dvc repro`",
        )
    return len(stored.predicted)
