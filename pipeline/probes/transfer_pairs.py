"""Which data sets of a study are tested on which, and which are not: for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from pipeline.datasets.index import Index
from pipeline.datasets.shared_classes import SharedClasses
from pipeline.probes.held_out_groups import obstacle
from pipeline.probes.knn_variants import neighbors_of
from pipeline.probes.task import groups_of
from pipeline.study.schema import Study
from pipeline.study.transfer import transferred_knn


def describe_pairs(study: Study, indexes: Mapping[str, Index]) -> Iterator[str]:
    """A line for each source and target, and for each source with groups.

    Parameters
    ----------
    study : Study
    indexes : mapping of str to Index
        Of all data sets of the study.
    """
    for name in study.transfer.sources:
        source = indexes[name]
        for target, index in indexes.items():
            if target != name:
                yield f"{name} -> {target}: {_pair(study, source, index)}"
        groups = groups_of(source, "train")
        if groups is not None:
            k = neighbors_of(transferred_knn(study)[0])
            found = obstacle(source.labels("train"), groups, k)
            yield f"{name}, leaving out groups in turn: " + (
                f"not tested, {found}" if found else f"{len(np.unique(groups))} groups"
            )


def _pair(study: Study, source: Index, target: Index) -> str:
    shared = SharedClasses.of(source.classes, target.classes)
    labels = target.labels("val")
    if found := shared.obstacle(labels):
        return f"not tested, {found}"
    said = f"{len(shared.names)} shared classes"
    left_out = np.count_nonzero(shared.from_target[labels] < 0)
    if left_out:
        said += f", {left_out} val images of other classes left out"
    bank = np.count_nonzero(shared.from_source[source.labels("train")] >= 0)
    for variant in transferred_knn(study):
        if neighbors_of(variant) > bank:
            said += f"; no knn_{variant.name}, there are {bank} train images of these classes"
    return said
