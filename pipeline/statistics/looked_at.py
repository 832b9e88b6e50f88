"""Whose errors are looked at: the models that one protocol judged on the target's test images."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pipeline.statistics.arrays import Floats, Mask, Words
from pipeline.statistics.evidence import Evidence
from pipeline.statistics.remembered import remembered
from pipeline.statistics.single_images import Said
from pipeline.statistics.target_checks import deciding_protocol


@dataclass(frozen=True)
class Looked:
    """What the models say of one data set's test images.

    Attributes
    ----------
    dataset, variant : str
        The variant by its name in the cube.
    models : tuple of str
        The most accurate first; of equal ones the study's order.
    samples : ndarray of shape (n_judged,)
        Rows of val that all of them judged.
    labels : ndarray of shape (n_judged,)
    predicted : ndarray of shape (n_models, n_judged), int32
    confidence : ndarray of shape (n_models, n_judged), float64
        NaN where the variant gives no probabilities.
    classes : tuple of str
        A label is a position in it.
    digests : ndarray of shape (n_judged,) of str
        Of the images.
    """

    dataset: str
    variant: str
    models: tuple[str, ...]
    samples: NDArray[np.int64]
    labels: NDArray[np.int64]
    predicted: NDArray[np.int32]
    confidence: Floats
    classes: tuple[str, ...]
    digests: Words

    @cached_property
    def hits(self) -> Mask:
        """Shape (n_models, n_judged)."""
        right: Mask = self.predicted == self.labels
        return right

    def names(self, labels: NDArray[np.integer]) -> list[str]:
        """Classes of some labels."""
        return [self.classes[label] for label in labels]


@remembered
def looked_at(evidence: Evidence) -> tuple[Looked, ...] | str:
    """Each target with its models, by the protocol that decides; or why there is none.

    Where that answers once a draw, the one that judged the most models, of equal ones the first.
    Protocols that judge an image several times, by several draws of labels, are not asked.
    """
    targets = evidence.target
    found = [
        looked
        for dataset in targets
        if dataset in evidence.tests
        if (looked := _on(evidence, dataset)) is not None
    ]
    if found:
        return tuple(found)
    return (
        f"there are no outcomes of single images of {' and '.join(targets)}: its scores were "
        "imported, or no protocol judged it"
    )


def _on(evidence: Evidence, dataset: str) -> Looked | None:
    decides = deciding_protocol(evidence)
    names = sorted(evidence.headline.items(), key=lambda named: named[0] != decides)
    best: tuple[str, Said] | None = None
    for protocol, name in names:
        said = evidence.images.said(evidence.variants[name], dataset)
        if len(said.models) > (len(best[1].models) if best else 0):
            best = name, said
        if protocol == decides and said.models:
            break
    return None if best is None else _ordered(evidence, dataset, *best)


def _ordered(evidence: Evidence, dataset: str, variant: str, said: Said) -> Looked | None:
    judged = np.flatnonzero((said.predicted >= 0).all(axis=0))
    if not judged.size:
        return None
    labels = evidence.tests[dataset].labels[judged]
    predicted = said.predicted[:, judged]
    order = np.argsort(-np.count_nonzero(predicted == labels, axis=1), kind="stable")
    return Looked(
        dataset,
        variant,
        tuple(said.models[place] for place in order),
        judged,
        labels,
        predicted[order],
        said.confidence[:, judged][order].astype(np.float64),
        evidence.images.classes(dataset),
        np.array(evidence.images.digests(dataset), np.str_)[judged],
    )
