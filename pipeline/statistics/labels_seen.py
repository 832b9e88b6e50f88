"""Which cells may enter a comparison by labels: those whose labels pre-training has not seen.

A supervised model that was pre-trained on the labels of the very classes that a probe is tested on
has had them all, however few the probe is given: the difference to a self-supervised model is then
one of labels, by the study's design, and not of how they learned.
"""

from __future__ import annotations

import numpy as np

from pipeline.statistics.arrays import Floats
from pipeline.statistics.evidence import Evidence
from pipeline.statistics.panel import cluster_weights

ALL_SEEN = (
    "the supervised models were pre-trained on labels of the classes that every data set tests, "
    "so few labels to a probe are not few to them; pre-train on other classes (`classes` of "
    "`pretrain`), or add a data set with other ones"
)


def unseen_only(evidence: Evidence, datasets: list[str], table: Floats) -> Floats:
    """A table without the cells whose labels pre-training has seen: they are NaN.

    Parameters
    ----------
    evidence : Evidence
    datasets : list of str
    table : ndarray of shape (n_models, n_heads, n_datasets, ...)
    """
    seen = np.array([[(m, d) in evidence.labels_seen for d in datasets] for m in evidence.models])
    kept = table.copy()
    kept.swapaxes(1, 2)[seen] = np.nan
    return kept


def seen_datasets(evidence: Evidence, datasets: list[str]) -> list[str]:
    """Data sets with such a cell: their means over data sets are without them."""
    seen = {dataset for _, dataset in evidence.labels_seen}
    return [name for name in datasets if name in seen]


def unseen_weights(evidence: Evidence, datasets: list[str]) -> Floats:
    """Weights of the mean over data sets, clusters alike; 0 for those of `seen_datasets`.

    NaN where there is no other.
    """
    seen = seen_datasets(evidence, datasets)
    kept = [name for name in datasets if name not in seen]
    weights = np.zeros(len(datasets)) if kept else np.full(len(datasets), np.nan)
    if kept:
        weights[[name in kept for name in datasets]] = cluster_weights(evidence.cube, kept)
    return weights


def left_out(evidence: Evidence, datasets: list[str]) -> dict[str, str]:
    """An attribute of tables that says which cells are left out; none where all are compared."""
    models = [m for m in evidence.models if any((m, d) in evidence.labels_seen for d in datasets)]
    if not models:
        return {}
    words = (
        f"{', '.join(models)} on {', '.join(seen_datasets(evidence, datasets))}: pre-trained on "
        "labels of classes that are tested there, so few labels to a probe are not few to them"
    )
    return {"labels_seen": words}
