"""What an index checks before any GPU time is spent."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence

import pandas as pd

from cache.errors import ProbelineError
from pipeline.datasets.settings import Dataset
from pipeline.project.paths import SPLITS


def check_splits(name: str, samples: pd.DataFrame, *, test_only: bool = False) -> None:
    """Refuse an empty split; and train images of a data set that is said to have none."""
    counts = Counter(samples["split"])
    if test_only and counts["train"]:
        raise ProbelineError(
            f"data set {name}",
            "has train images",
            expected="test images only, as `test_only` says",
            found=f"{counts['train']:,} in train",
            remedy="leave out `test_only`, or name the folder of the test images alone as `path`",
        )
    if test_only and counts["val"]:
        return
    for split in SPLITS:
        if counts[split] == 0:
            raise ProbelineError(
                f"data set {name}",
                f"the {split} split is empty",
                expected="images in both train and val",
                found=", ".join(f"{counts[s]} in {s}" for s in SPLITS),
                remedy="add images, correct the split names, or leave the split to `val_fraction`",
            )


def check_classes(name: str, samples: pd.DataFrame, classes: tuple[str, ...]) -> None:
    """Refuse classes without train images, and a single class."""
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


def check_expected(
    name: str, dataset: Dataset, samples: pd.DataFrame, classes: tuple[str, ...]
) -> None:
    """Refuse counts other than those that the study expects."""
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


def skipped_remark(skipped: Mapping[str, str]) -> tuple[str, ...]:
    """A line on the images that were left out, if any."""
    if not skipped:
        return ()
    some = "; ".join(f"{path} ({what})" for path, what in list(skipped.items())[:3])
    return (f"{len(skipped)} images can't be read and are left out, e.g. {some}",)


def duplicates_across_splits(samples: pd.DataFrame) -> tuple[str, ...]:
    """A line on val images whose bytes are in train too, if any."""
    in_train = set(samples.loc[samples["split"] == "train", "sha256"])
    val = samples[samples["split"] == "val"]
    shared = val[val["sha256"].isin(in_train)]
    if shared.empty:
        return ()
    return (
        f"{len(shared)} val images are byte for byte in train too, e.g. {shared['path'].iloc[0]}: "
        "scores on them measure memory",
    )


def two_labels(samples: pd.DataFrame) -> tuple[str, ...]:
    """A line on images whose bytes are in several classes, if any."""
    classes = samples.groupby("sha256")["class"].nunique()
    several = samples[samples["sha256"].isin(classes.index[classes > 1])]
    if several.empty:
        return ()
    one = several[several["sha256"] == several["sha256"].iloc[0]].drop_duplicates("class")
    both = (one["path"] + " (" + one["class"] + ")").iloc[:2]
    return (
        f"{int((classes > 1).sum())} images are byte for byte in several classes, e.g. "
        f"{' and '.join(both)}: one label of each is wrong",
    )


def odd_classes(samples: pd.DataFrame, classes: Sequence[str]) -> tuple[str, ...]:
    """Lines on classes without val images, and on names that differ in capitals or spaces alone."""
    found = []
    tested = set(samples.loc[samples["split"] == "val", "class"])
    if untested := [c for c in classes if c not in tested]:
        found.append(
            f"{len(untested)} of {len(classes)} classes have no val image, e.g. {untested[0]}: "
            "they are learnt, and never tested"
        )
    alike: dict[str, list[str]] = {}
    for name in classes:
        alike.setdefault(_as_spoken(name), []).append(name)
    if several := next((names for names in alike.values() if len(names) > 1), None):
        capitals = len({name.casefold() for name in several}) == 1
        found.append(
            f"classes differ in {'their capitals' if capitals else 'spaces or hyphens'} alone, "
            f"e.g. {several[0]} and {several[1]}"
        )
    return tuple(found)


def _as_spoken(name: str) -> str:
    """What is left of a name without capitals, widths, and what stands between words."""
    return re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFKC", name).casefold())


def groups_across_splits(samples: pd.DataFrame) -> tuple[str, ...]:
    """A line on groups with images in both splits, if any; a seeded split makes none."""
    named = samples[samples["group"].notna() & (samples["group"] != "")]
    splits = named.groupby("group")["split"].nunique()
    shared = splits.index[splits > 1]
    if shared.empty:
        return ()
    return (
        f"{len(shared)} of {len(splits)} groups have images in both splits, e.g. {shared[0]}: "
        "scores say little of new groups",
    )
