"""How many images a data set has, before it is indexed: its folder is listed, no image is read."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

from cache.errors import ProbelineError
from pipeline.datasets.doors import is_there
from pipeline.datasets.index import Index
from pipeline.datasets.index_checks import check_classes, check_expected, check_splits
from pipeline.datasets.ledger import describe, in_order
from pipeline.datasets.settings import Dataset
from pipeline.datasets.source_list import source_of
from pipeline.datasets.sources import Listed, dataset_root, list_source
from pipeline.datasets.splits import with_splits


@dataclass(frozen=True)
class Counted:
    """Images of a data set; NaN is what nobody knows yet.

    Attributes
    ----------
    train, val, classes : float
    how : str
        By what they were counted: indexed, listed, as declared, or "".
    problem : ProbelineError or None
        What would stop the index stage.
    said : tuple of str
        What listing leaves out, and what else is worth knowing; of an indexed one, the index says.
    """

    train: float
    val: float
    classes: float
    how: str
    problem: ProbelineError | None = None
    said: tuple[str, ...] = ()


def count_images(name: str, dataset: Dataset, index: Index | None) -> Counted:
    """Count by the index, else by a list of the files, else by what the entry declares."""
    if index is not None:
        counts = Counter(index.rows["split"].to_pylist())
        return Counted(counts["train"], counts["val"], len(index.classes), "indexed")
    declared = _declared(dataset)
    source = source_of(dataset)
    if not source.is_planned:
        return declared  # what a library has is known once it is converted
    try:
        if dataset.known_as is not None and not is_there(name, dataset):
            return declared  # a person has to prepare it; `plan` says so elsewhere
        if source.preview is not None:
            listed = Listed(source.preview(name, dataset))
        else:
            listed = list_source(name, dataset, dataset_root(name, dataset))
        # By paths, as no digest is known before images are read: about as many of each split.
        divided = with_splits(listed.samples.assign(sha256=listed.samples["path"]), dataset)
        samples = divided.samples
        check_splits(name, samples, test_only=dataset.test_only)
        named_by = "val" if dataset.test_only else "train"
        classes = tuple(sorted(samples.loc[samples["split"] == named_by, "class"].unique()))
        check_classes(name, samples, classes)
        check_expected(name, dataset, samples, classes, divided.counts)
    except ProbelineError as error:
        return Counted(declared.train, declared.val, declared.classes, declared.how, error)
    counts = Counter(samples["split"])
    left = describe(in_order([*listed.passed_over, *divided.beyond]))
    return Counted(
        counts["train"],
        counts["val"],
        len(classes),
        "built in" if source.preview is not None else "listed",
        said=(*filter(None, [left]), *listed.remarks),
    )


def _declared(dataset: Dataset) -> Counted:
    said = dataset.expected
    train = 0 if dataset.test_only else said.train or math.nan
    how = "declared" if said.train or said.val else ""
    return Counted(train, said.val or math.nan, said.classes or math.nan, how)
