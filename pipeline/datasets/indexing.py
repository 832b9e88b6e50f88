"""Building a data set's index: its images are listed, read and checked."""

from __future__ import annotations

import pandas as pd

from pipeline.datasets.imported import imported_samples
from pipeline.datasets.index import Index, index_rows
from pipeline.datasets.index_checks import (
    check_classes,
    check_expected,
    check_readable,
    check_splits,
    digest_files,
    duplicates_across_splits,
    find_unreadable,
    groups_across_splits,
    odd_classes,
    skipped_remark,
    two_labels,
)
from pipeline.datasets.roots import Root
from pipeline.datasets.settings import Dataset
from pipeline.datasets.sources import dataset_root, list_samples
from pipeline.datasets.tables import NOTES


def build_index(name: str, dataset: Dataset) -> Index:
    """List, read and check a data set.

    Raises
    ------
    ProbelineError
        When the data set can't carry a study: counts other than expected, a class without train
        images, a single class, an empty split, empty or unreadable files.
    """
    if dataset.source == "imported":
        root: Root | None = None
        samples = imported_samples(name)
    else:
        root = dataset_root(name, dataset)
        samples = list_samples(name, dataset, root)
    skipped: dict[str, str] = {}
    if root is not None and dataset.on_bad_image == "skip":
        skipped = find_unreadable(name, samples, root)
        samples = samples[~samples["path"].isin(skipped)].reset_index(drop=True)
    check_splits(name, samples, test_only=dataset.test_only)
    named_by = "val" if dataset.test_only else "train"
    classes = tuple(sorted(samples.loc[samples["split"] == named_by, "class"].unique()))
    check_classes(name, samples, classes)
    check_expected(name, dataset, samples, classes)
    samples["label"] = samples["class"].map({c: i for i, c in enumerate(classes)}).astype("int64")
    samples["label_set"] = pd.Series([None] * len(samples), dtype=object)
    samples["sha256"] = digest_files(name, samples, root) if root is not None else ""
    if root is not None and dataset.on_bad_image == "error":
        check_readable(name, samples, root)
    order = ["path", "offset", "bytes", "sha256", "class", "label", "split", "group", "label_set"]
    remarks = (
        *skipped_remark(skipped),
        *samples.attrs.get(NOTES, ()),
        *(() if root is None else (*duplicates_across_splits(samples), *two_labels(samples))),
        *odd_classes(samples, classes),
        *groups_across_splits(samples),
    )
    return Index(name, classes, remarks, index_rows(samples[order]), skipped, dataset.pad)
