"""A data set's index: one row per image, checked, and all that later stages need of it."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cache.errors import ProbelineError
from cache.files import write_durably
from cache.fingerprint import fingerprint
from pipeline.datasets.imported import imported_samples
from pipeline.datasets.index_checks import (
    check_classes,
    check_expected,
    check_readable,
    check_splits,
    digest_files,
    duplicates_across_splits,
    find_unreadable,
    groups_across_splits,
    skipped_remark,
)
from pipeline.datasets.roots import Root
from pipeline.datasets.sources import dataset_root, list_samples
from pipeline.paths import SPLITS, index_path
from pipeline.study import Dataset

_METADATA = b"probeline.index"


@dataclass(frozen=True)
class Index:
    """A data set's images.

    Attributes
    ----------
    name : str
    classes : tuple of str
        Class names; a label is a position in it. Taken from the train split.
    remarks : tuple of str
        What the checks found that is not an error, e.g. duplicates across splits.
    table : DataFrame
        Columns path, offset, bytes, sha256, class, label, split, group, label_set; sorted by
        path. `group` (site, camera, patient) and `label_set` (further labels) may be null.
    skipped : mapping of str to str
        Images left out because they can't be read (`on_bad_image: skip`), and what is wrong.
    pad : bool
        Whether images are padded with black to a square before anything else.
    """

    name: str
    classes: tuple[str, ...]
    remarks: tuple[str, ...]
    table: pd.DataFrame
    skipped: Mapping[str, str] = field(default_factory=dict)
    pad: bool = False

    def split(self, split: str) -> pd.DataFrame:
        """The rows of one split, in order."""
        return self._splits[split]

    def labels(self, split: str) -> NDArray[np.int64]:
        """Ndarray of shape (n_samples,): label of each image of a split."""
        return self.split(split)["label"].to_numpy(np.int64)

    def samples_digest(self, split: str) -> str:
        """SHA-256 of the split's ordered ids, contents and labels: the data part of a key."""
        return self._digests[split]

    @cached_property
    def names_digest(self) -> str:
        """SHA-256 of class names and groups, which no cell depends on but scores do."""
        groups = [self.split(s)["group"].fillna("").tolist() for s in SPLITS]
        return fingerprint([list(self.classes), groups])

    @cached_property
    def _splits(self) -> dict[str, pd.DataFrame]:
        return {s: self.table[self.table["split"] == s].reset_index(drop=True) for s in SPLITS}

    @cached_property
    def _digests(self) -> dict[str, str]:
        columns = ["path", "bytes", "sha256", "label"]
        return {s: fingerprint(self.split(s)[columns].to_numpy().tolist()) for s in SPLITS}


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
    check_splits(name, samples)
    classes = tuple(sorted(samples.loc[samples["split"] == "train", "class"].unique()))
    check_classes(name, samples, classes)
    check_expected(name, dataset, samples, classes)
    samples["label"] = samples["class"].map({c: i for i, c in enumerate(classes)}).astype("int64")
    samples["label_set"] = pd.Series([None] * len(samples), dtype=object)
    samples["sha256"] = digest_files(name, samples, root) if root is not None else ""
    if root is not None and dataset.on_bad_image == "error":
        check_readable(name, samples, root)
    order = ["path", "offset", "bytes", "sha256", "class", "label", "split", "group", "label_set"]
    duplicates = duplicates_across_splits(samples) if root is not None else ()
    remarks = (*skipped_remark(skipped), *duplicates, *groups_across_splits(samples))
    return Index(name, classes, remarks, samples[order], skipped, dataset.pad)


def write_index(index: Index) -> None:
    """Store an index durably; the same data set gives the same bytes."""
    schema = pa.schema(
        [
            ("path", pa.string()),
            ("offset", pa.int64()),
            ("bytes", pa.int64()),
            ("sha256", pa.string()),
            ("class", pa.string()),
            ("label", pa.int64()),
            ("split", pa.string()),
            ("group", pa.string()),
            ("label_set", pa.list_(pa.int64())),
        ],
        metadata={
            _METADATA: json.dumps(
                {
                    "classes": index.classes,
                    "remarks": index.remarks,
                    "skipped": dict(index.skipped),
                    "pad": index.pad,
                }
            ).encode()
        },
    )
    buffer = io.BytesIO()
    table = pa.Table.from_pandas(index.table, schema=schema, preserve_index=False)
    pq.write_table(
        table.replace_schema_metadata(schema.metadata),
        buffer,
        compression="zstd",
        write_page_checksum=True,
    )
    write_durably(index_path(index.name), buffer.getvalue())


def read_index(name: str) -> Index:
    """Read a stored index.

    Raises
    ------
    ProbelineError
        When it is absent or damaged.
    """
    path = index_path(name)
    try:
        table = pq.read_table(path, page_checksum_verification=True)
        facts: dict[str, Any] = json.loads(table.schema.metadata[_METADATA])
        return Index(
            name,
            tuple(facts["classes"]),
            tuple(facts["remarks"]),
            table.to_pandas(),
            facts["skipped"],
            facts.get("pad", False),
        )
    except FileNotFoundError:
        raise ProbelineError(
            str(path),
            f"data set {name} is not indexed yet",
            remedy=f"run `dvc repro` (or `python -m stages.index {name}`)",
        ) from None
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise ProbelineError(
            str(path),
            "is not an index",
            found=str(error),
            remedy=f"delete it and run `dvc repro` (or `python -m stages.index {name}`)",
        ) from None
