"""Building a data set's index: its images are listed, read and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from pipeline.datasets.grey import GreyScale
from pipeline.datasets.index import Index, index_rows
from pipeline.datasets.index_checks import (
    check_classes,
    check_expected,
    check_missing_classes,
    check_splits,
    duplicates_across_splits,
    groups_across_splits,
    odd_classes,
    repeated_images,
    several_pictures,
    skipped_remark,
    two_labels,
    untrained_classes,
)
from pipeline.datasets.ledger import in_order
from pipeline.datasets.reading import (
    ImageFacts,
    read_images,
    refuse_changed,
    refuse_faults,
    refuse_lost_classes,
    why_skipped,
)
from pipeline.datasets.settings import Dataset
from pipeline.datasets.sources import dataset_root, list_source
from pipeline.datasets.splits import with_splits


def build_index(
    name: str, dataset: Dataset, former: Index | None = None, *, resplit: bool = False
) -> Index:
    """List, read and check a data set.

    Parameters
    ----------
    name : str
    dataset : Dataset
    former : Index, optional
        What lies there so far. While its train images stay as they are, so do their views; and a
        split of the former kind stays that of the images that it knows.
    resplit : bool
        Split by the present rule in any case.

    Raises
    ------
    ProbelineError
        When the data set can't carry a study: counts other than expected, a class without train
        images that is not declared, or with some and declared, a single class, an empty split,
        empty or unreadable files.
    """
    root = dataset_root(name, dataset) if dataset.has_images else None
    state = None if root is None else root.state()
    listed = list_source(name, dataset, root)
    samples = listed.samples
    if samples["split"].notna().all() and dataset.limit_per_class is None:
        classes = _checked_classes(name, dataset, samples)  # before hours may go into reading
        if dataset.on_bad_image == "error":  # else counts are of the images that can be read
            check_expected(name, dataset, samples, classes)
    splitting: dict[str, Any] = {}
    counts: Mapping[str, int] = {}
    passed_over = listed.passed_over
    skipped: dict[str, str] = {}
    grey = None
    samples["sha256"] = ""
    if root is None and former is not None:
        samples = _as_before(samples, former)
    if root is not None:
        facts = read_images(name, samples, root)
        refuse_changed(name, state, root.state())
        faults = {p: f.fault for p, f in zip(samples["path"], facts, strict=True) if f.fault}
        if dataset.on_bad_image == "error":
            refuse_faults(name, faults, len(samples))
        samples["sha256"] = [f.sha256 for f in facts]
        samples["has_more"] = [f.examined is not None and f.examined.has_more for f in facts]
        if faults:
            skipped = why_skipped(faults)
            sound = ~samples["path"].isin(faults)
            refuse_lost_classes(name, samples["class"].tolist(), samples["class"][sound].tolist())
            samples = samples[sound].reset_index(drop=True)
        grey = _grey_scale(name, dataset, former, facts)
        divided = with_splits(samples, dataset, None if resplit else former)
        samples, splitting, counts = divided.samples, divided.splitting, divided.counts
        passed_over = in_order([*passed_over, *divided.beyond])
    classes = _checked_classes(name, dataset, samples)
    check_expected(name, dataset, samples, classes, counts)
    samples["label"] = samples["class"].map({c: i for i, c in enumerate(classes)}).astype("int64")
    samples["label_set"] = pd.Series([None] * len(samples), dtype=object)
    order = ["path", "offset", "bytes", "sha256", "class", "label", "split", "group", "label_set"]
    remarks = (
        *skipped_remark(skipped),
        *listed.remarks,
        *(() if root is None else (*several_pictures(samples), *_copies(samples))),
        *untrained_classes(samples, dataset.missing_classes.train, classes),
        *odd_classes(samples, classes),
        *groups_across_splits(samples),
    )
    rows = index_rows(samples[order])
    index = Index(
        name,
        classes,
        remarks,
        rows,
        skipped,
        dataset.pad,
        passed_over,
        grey,
        splitting=splitting,
    )
    if former is not None and former.samples_digest("train") == index.samples_digest("train"):
        return replace(index, seeds=former.seeds)
    return index


def _as_before(samples: pd.DataFrame, former: Index) -> pd.DataFrame:
    """The rows in the order of the former index, if they are the same.

    Embeddings are listed as the first of their models lists them, by name. Which one that is must
    not make the cells of all others stale.
    """
    places = {place: row for row, place in enumerate(zip(*_places(former.table), strict=True))}
    found = [places.get(place, -1) for place in zip(*_places(samples), strict=True)]
    if -1 in found or len(found) != len(places):
        return samples
    return samples.iloc[np.argsort(found)].reset_index(drop=True)


def _places(samples: pd.DataFrame) -> tuple[list[str], list[str]]:
    return samples["split"].tolist(), samples["path"].tolist()


def _copies(samples: pd.DataFrame) -> tuple[str, ...]:
    """What is worth knowing of images with the same bytes."""
    return (
        *duplicates_across_splits(samples),
        *repeated_images(samples),
        *two_labels(samples),
    )


def _checked_classes(name: str, dataset: Dataset, samples: pd.DataFrame) -> tuple[str, ...]:
    """The classes, in order of their labels."""
    check_splits(name, samples, test_only=dataset.test_only)
    check_missing_classes(name, dataset, samples)
    named_by = "val" if dataset.test_only else "train"
    named = set(samples.loc[samples["split"] == named_by, "class"])
    classes = tuple(sorted(named.union(dataset.missing_classes.train)))
    check_classes(name, samples, classes)
    return classes


def _grey_scale(
    name: str, dataset: Dataset, former: Index | None, facts: Sequence[ImageFacts]
) -> GreyScale | None:
    """What is white: as declared, or as sealed in the index of the same images, or decided now."""
    found = [(f.sha256, f.examined.deep) for f in facts if f.examined and f.examined.deep]
    deep = [its for _, its in found]
    if not deep or dataset.white is not None:
        return GreyScale.decide(name, deep, dataset.white, None)
    sealed = None
    if former is not None and former.grey is not None and not former.grey.declared:
        known = set(former.rows["sha256"].to_pylist())
        if any(digest in known for digest, _ in found):
            sealed = former.grey.white
    return GreyScale.decide(name, deep, None, sealed)
