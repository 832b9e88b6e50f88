"""What an index checks before any GPU time is spent."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence

import pandas as pd

from cache.errors import ProbelineError
from pipeline.datasets.settings import Dataset, Split
from pipeline.datasets.tables import MISSING_AS_TEXT
from pipeline.project.paths import SPLITS
from pipeline.project.words import number_of


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
            if split == "val" and (why := _why_nothing_to_test(samples)):
                raise ProbelineError(
                    f"data set {name}",
                    "the val split is empty: no class can give an image to it",
                    expected="a class with two images (of two groups) that differ",
                    found=why[0],
                    remedy=f"{why[1]}; or name the splits yourself (folders train/ and val/, or a "
                    "column of the table)",
                )
            raise ProbelineError(
                f"data set {name}",
                f"the {split} split is empty",
                expected="images in both train and val",
                found=", ".join(f"{counts[s]} in {s}" for s in SPLITS),
                remedy="add images, correct the split names, or leave the split to `val_fraction`",
            )


def _why_nothing_to_test(samples: pd.DataFrame) -> tuple[str, str] | None:
    """Why `val_fraction` leaves a val split empty, and what to do about it; None if it does not."""
    classes = samples["class"].nunique()
    grouped = samples["group"].notna() & (samples["group"] != "")
    if classes == len(samples):
        found = f"{len(samples):,} images of as many classes, e.g. {samples['class'].iloc[0]}"
        return found, "name the column of the classes in `columns: {label: …}`, or add images"
    if grouped.any() and samples["group"].nunique() <= classes:
        groups = samples["group"].nunique()
        found = f"{groups:,} {'group' if groups == 1 else 'groups'} for {classes:,} classes"
        return found, "a group stays in one split: correct `columns.group`, or leave it out"
    if "sha256" in samples and samples["sha256"].nunique() <= classes:
        found = f"{len(samples):,} images, of which {samples['sha256'].nunique():,} differ"
        return found, "copies stay in one split: put the images there that are meant"
    return None


def check_classes(name: str, samples: pd.DataFrame, classes: tuple[str, ...]) -> None:
    """Refuse classes without train images, and a single class."""
    only_val = sorted(set(samples["class"]) - set(classes))
    if only_val:
        raise ProbelineError(
            f"data set {name}",
            f"{len(only_val)} classes have images in val but none in train",
            expected="every class in train",
            found=", ".join(only_val[:10]),
            remedy="add train images of these classes, or take the classes out; or count their val "
            f"images as errors: `missing_classes: {{train: [{', '.join(only_val[:10])}]}}`",
        )
    if len(classes) < 2:
        raise ProbelineError(
            f"data set {name}",
            "there is only one class",
            expected="at least two",
            found=", ".join(classes),
            remedy="arrange the images in one folder per class; where a table says the classes: "
            f"`source: manifest` and `manifest: FILE.csv` in datasets.{name}",
        )


def check_missing_classes(name: str, dataset: Dataset, samples: pd.DataFrame) -> None:
    """Refuse a class that is declared missing from a split, and is not; or is nowhere."""
    there = {split: Counter(samples.loc[samples["split"] == split, "class"]) for split in SPLITS}
    pairs: tuple[tuple[Split, Split], ...] = (("train", "val"), ("val", "train"))
    for split, other in pairs:
        for missing in getattr(dataset.missing_classes, split):
            found = {s: there[s][missing] for s in (split, other)}
            if found[split] or not found[other]:
                raise ProbelineError(
                    f"data set {name}",
                    f"class {missing} is declared missing from {split}"
                    + (", and is there" if found[split] else ", and is nowhere"),
                    expected=f"no {split} image of it, and {other} images",
                    found=f"{found[split]:,} in {split}, {found[other]:,} in {other}",
                    remedy=f"correct datasets.{name}.missing_classes; of a known data set, compare "
                    "the lists with the published ones",
                )


def check_expected(
    name: str,
    dataset: Dataset,
    samples: pd.DataFrame,
    classes: tuple[str, ...],
    unlimited: Mapping[str, int] | None = None,
) -> None:
    """Refuse counts other than those that the study expects.

    Parameters
    ----------
    name : str
    dataset : Dataset
    samples : DataFrame
    classes : tuple of str
    unlimited : mapping of str to int, optional
        Images of each split before the limit: what a known data set's counts are of.
    """
    counts = Counter(samples["split"])
    found = {"train": counts["train"], "val": counts["val"], "classes": len(classes)}
    for what, number in found.items():
        expected = getattr(dataset.expected, what)
        before = (unlimited or {}).get(what, number)
        if expected is not None and expected not in (number, before):
            raise ProbelineError(
                f"data set {name}",
                "has other counts than expected",
                expected=f"{expected:,} {what}",
                found=f"{before:,} {what}"
                + (f", {number:,} within the limit" if before != number else ""),
                remedy=f"complete the data set, or correct datasets.{name}.expected",
            )


def skipped_remark(skipped: Mapping[str, str]) -> tuple[str, ...]:
    """A line on the images that were left out, if any."""
    if not skipped:
        return ()
    some = "; ".join(f"{path} ({what})" for path, what in list(skipped.items())[:3])
    number = number_of(len(skipped), "image")
    verb = "is" if len(skipped) == 1 else "are"
    return (f"{number} can't be read and {verb} left out, e.g. {some}",)


def several_pictures(samples: pd.DataFrame) -> tuple[str, ...]:
    """A line on files that hold more than one picture, if any."""
    several = samples[samples["has_more"]]
    if several.empty:
        return ()
    number = number_of(len(several), "file holds", "files hold")
    return (
        f"{number} several pictures (frames of an animation, pages of a TIFF), e.g. "
        f"{several['path'].iloc[0]}: the first alone is the image",
    )


def duplicates_across_splits(samples: pd.DataFrame) -> tuple[str, ...]:
    """A line on val images whose bytes are in train too, if any."""
    in_train = set(samples.loc[samples["split"] == "train", "sha256"])
    val = samples[samples["split"] == "val"]
    shared = val[val["sha256"].isin(in_train)]
    if shared.empty:
        return ()
    number = number_of(len(shared), "val image is", "val images are")
    return (
        f"{number} byte for byte in train too, e.g. {shared['path'].iloc[0]}: "
        "scores on them measure memory",
    )


def repeated_images(samples: pd.DataFrame) -> tuple[str, ...]:
    """A line on images that one split holds more than once, if any."""
    again = samples[samples.duplicated(["split", "sha256"])]
    if again.empty:
        return ()
    number = f"{len(again):,} images are copies" if len(again) > 1 else "1 image is a copy"
    return (
        f"{number} of others, byte for byte in train or val once more, e.g. "
        f"{again['path'].iloc[0]}: copies stay in one split and weigh double there",
    )


def two_labels(samples: pd.DataFrame) -> tuple[str, ...]:
    """A line on images whose bytes are in several classes, if any."""
    classes = samples.groupby("sha256")["class"].nunique()
    several = samples[samples["sha256"].isin(classes.index[classes > 1])]
    if several.empty:
        return ()
    one = several[several["sha256"] == several["sha256"].iloc[0]].drop_duplicates("class")
    both = (one["path"] + " (" + one["class"] + ")").iloc[:2]
    number = number_of(int((classes > 1).sum()), "image is", "images are")
    return (
        f"{number} byte for byte in several classes, e.g. "
        f"{' and '.join(both)}: one label of each is wrong",
    )


def untrained_classes(
    samples: pd.DataFrame, declared: Sequence[str], classes: Sequence[str]
) -> tuple[str, ...]:
    """A line on classes that are declared to have no train images, if any."""
    if not declared:
        return ()
    images = int(samples["class"].isin(declared).sum())
    return (
        f"{len(declared)} of {len(classes)} classes {'has' if len(declared) == 1 else 'have'} no "
        f"train image, as declared ({', '.join(declared[:5])}): {images} val "
        f"{'image counts as an error' if images == 1 else 'images count as errors'} of a head with "
        f"all {len(classes)} classes",
    )


def odd_classes(samples: pd.DataFrame, classes: Sequence[str]) -> tuple[str, ...]:
    """Lines on classes without val images, and on names that differ in capitals or spaces alone."""
    found = []
    tested = set(samples.loc[samples["split"] == "val", "class"])
    if untested := [c for c in classes if c not in tested]:
        one = len(untested) == 1
        found.append(
            f"{len(untested)} of {len(classes)} classes {'has' if one else 'have'} no val image, "
            f"e.g. {untested[0]}: {'it is' if one else 'they are'} learnt, and never tested"
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
    if missing := [name for name in classes if name in MISSING_AS_TEXT]:
        found.append(
            f"a class is called {missing[0]}, as programs write a label that is missing: if it is "
            "none, take these images out"
        )
    there = set(classes)
    joined = [n for n in classes if len(parts := _JOINED.split(n)) > 1 and there.issuperset(parts)]
    if joined:
        found.append(
            f"{number_of(len(joined), 'class is', 'classes are')} called like several others "
            f"together, e.g. {joined[0]}: an image has one class here, so these are classes of "
            "their own"
        )
    return tuple(found)


_JOINED = re.compile(r"\s*[;|,/+&]\s*")
"""Between the labels of an image that has several."""


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
