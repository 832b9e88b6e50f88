"""A data set's index: one row per image, checked, and all that later stages need of it."""

from __future__ import annotations

import io
import json
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cache.errors import ProbelineError
from cache.files import sha256_bytes, write_durably
from cache.fingerprint import fingerprint
from pipeline.images import BadImageError, decode
from pipeline.paths import SPLITS, index_path
from pipeline.progress import Progress
from pipeline.roots import Entry, Root
from pipeline.sources import dataset_root, list_samples
from pipeline.study import Dataset

READABLE_SAMPLE = 64
"""Images decoded while indexing, to find a wrong or damaged folder before GPU time is spent."""

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
    """

    name: str
    classes: tuple[str, ...]
    remarks: tuple[str, ...]
    table: pd.DataFrame

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
    root = dataset_root(name, dataset)
    samples = list_samples(name, dataset, root)
    _check_splits(name, samples)
    classes = tuple(sorted(samples.loc[samples["split"] == "train", "class"].unique()))
    _check_classes(name, samples, classes)
    _check_expected(name, dataset, samples, classes)
    samples["label"] = samples["class"].map({c: i for i, c in enumerate(classes)}).astype("int64")
    samples["label_set"] = pd.Series([None] * len(samples), dtype=object)
    samples["sha256"] = _read_all(name, samples, root)
    _check_readable(name, samples, root)
    order = ["path", "offset", "bytes", "sha256", "class", "label", "split", "group", "label_set"]
    return Index(name, classes, _duplicates_across_splits(samples), samples[order])


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
            _METADATA: json.dumps({"classes": index.classes, "remarks": index.remarks}).encode()
        },
    )
    buffer = io.BytesIO()
    table = pa.Table.from_pandas(index.table, schema=schema, preserve_index=False)
    pq.write_table(table.replace_schema_metadata(schema.metadata), buffer, compression="zstd")
    write_durably(index_path(index.name), buffer.getbuffer())


def read_index(name: str) -> Index:
    """Read a stored index.

    Raises
    ------
    ProbelineError
        When it is absent or damaged.
    """
    path = index_path(name)
    try:
        table = pq.read_table(path)
        facts: dict[str, Any] = json.loads(table.schema.metadata[_METADATA])
    except FileNotFoundError:
        raise ProbelineError(
            str(path),
            f"data set {name} is not indexed yet",
            remedy=f"run `dvc repro` (or `python -m stages.index {name}`)",
        ) from None
    except (pa.ArrowInvalid, KeyError, TypeError, ValueError) as error:
        raise ProbelineError(
            str(path),
            "is not an index",
            found=str(error),
            remedy=f"delete it and run `dvc repro` (or `python -m stages.index {name}`)",
        ) from None
    return Index(name, tuple(facts["classes"]), tuple(facts["remarks"]), table.to_pandas())


def _check_splits(name: str, samples: pd.DataFrame) -> None:
    counts = Counter(samples["split"])
    for split in SPLITS:
        if counts[split] == 0:
            raise ProbelineError(
                f"data set {name}",
                f"the {split} split is empty",
                expected="images in both train and val",
                found=", ".join(f"{counts[s]} in {s}" for s in SPLITS),
                remedy="add images, correct the split names, or leave the split to `val_fraction`",
            )


def _check_classes(name: str, samples: pd.DataFrame, classes: tuple[str, ...]) -> None:
    only_val = sorted(set(samples["class"]) - set(classes))
    if only_val:
        raise ProbelineError(
            f"data set {name}",
            f"{len(only_val)} classes have images in val but none in train",
            expected="every class in train",
            found=", ".join(only_val[:10]),
            remedy="add train images of these classes, or take the classes out",
        )
    if len(classes) < 2:
        raise ProbelineError(
            f"data set {name}",
            "there is only one class",
            expected="at least two",
            found=", ".join(classes),
            remedy="arrange the images in one folder (or one label) per class",
        )


def _check_expected(
    name: str, dataset: Dataset, samples: pd.DataFrame, classes: tuple[str, ...]
) -> None:
    counts = Counter(samples["split"])
    found = {"train": counts["train"], "val": counts["val"], "classes": len(classes)}
    for what, number in found.items():
        expected = getattr(dataset.expected, what)
        if expected is not None and expected != number:
            raise ProbelineError(
                f"data set {name}",
                "has other counts than expected",
                expected=f"{expected:,} {what}",
                found=f"{number:,} {what}",
                remedy=f"complete the data set, or correct datasets.{name}.expected",
            )


def _read_all(name: str, samples: pd.DataFrame, root: Root) -> list[str]:
    """SHA-256 of every file, read once in order."""
    empty = samples.loc[samples["bytes"] == 0, "path"]
    if len(empty):
        raise ProbelineError(
            f"data set {name}",
            f"{len(empty)} image files are empty",
            expected="image files",
            found=", ".join(empty[:5]) + (" …" if len(empty) > 5 else ""),
            remedy="replace or delete them, then index the data set again",
        )
    digests = []
    with Progress(f"index {name}", len(samples), "images") as progress:
        for entry in entries_of(samples):
            digests.append(sha256_bytes(root.read(entry)))
            progress.advance()
    return digests


def entries_of(samples: pd.DataFrame) -> list[Entry]:
    """The files that an index's rows name."""
    columns = (samples["path"], samples["offset"], samples["bytes"])
    return [Entry(p, int(o), int(b)) for p, o, b in zip(*columns, strict=True)]


def _check_readable(name: str, samples: pd.DataFrame, root: Root) -> None:
    """Decode a seeded sample; list every file of it that is no image."""
    rng = np.random.default_rng(0)
    rows = rng.permutation(len(samples))[:READABLE_SAMPLE]
    bad = []
    for entry in entries_of(samples.iloc[np.sort(rows)]):
        try:
            decode(root.read(entry), entry.path)
        except BadImageError as error:
            bad.append(error)
    if bad:
        raise ProbelineError(
            f"data set {name}",
            f"{len(bad)} of {len(rows)} sampled files can't be read as images",
            expected="files that decode",
            found="; ".join(f"{e.place}: {e.problem} ({e.found})" for e in bad[:5]),
            remedy="replace or delete them, then index the data set again",
        )


def _duplicates_across_splits(samples: pd.DataFrame) -> tuple[str, ...]:
    in_train = set(samples.loc[samples["split"] == "train", "sha256"])
    val = samples[samples["split"] == "val"]
    shared = val[val["sha256"].isin(in_train)]
    if shared.empty:
        return ()
    return (
        f"{len(shared)} val images are byte for byte in train too, e.g. {shared['path'].iloc[0]}: "
        "scores on them measure memory",
    )
