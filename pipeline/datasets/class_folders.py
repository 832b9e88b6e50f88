"""Folders as classes: which folders are splits, which are classes, and what is asked."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from cache.errors import ProbelineError
from pipeline.datasets.image_kinds import SUFFIXES
from pipeline.datasets.labels import clean_label
from pipeline.datasets.ledger import Ledger, describe, other_suffix
from pipeline.datasets.roots import Entry, Kept, Listing
from pipeline.datasets.samples import Found, sample_table
from pipeline.datasets.settings import Dataset, Split
from pipeline.datasets.split_words import (
    FURTHER,
    refuse_two_words,
    says_splits,
    split_words,
    splits_text,
)
from pipeline.project.paths import SPLITS
from pipeline.project.words import leave_out_text, yaml_text


def samples_of_folders(name: str, dataset: Dataset, root: Kept) -> Found:
    """One folder per class, below train/ and val/ or at the top.

    Raises
    ------
    ProbelineError
        When the folders hold no images, or it is not clear which are splits and which are
        classes, or a class folder holds no image.
    """
    listing = root.listing()
    images = [e for e in listing.entries if PurePosixPath(e.path).suffix.lower() in SUFFIXES]
    if not images:
        raise _no_images(name, dataset, listing)
    splits = _splits_of(name, dataset, {e.path.split("/")[0] for e in images})
    depth = 1 if splits else 0
    parts = [tuple(e.path.split("/")) for e in images]
    _refuse_loose(name, [e.path for e, p in zip(images, parts, strict=True) if len(p) < depth + 2])
    _refuse_a_folder_around_all(name, dataset, [p[depth:-1] for p in parts], bool(splits))
    levels = _levels(name, dataset, [p[depth:-1] for p in parts])
    folders = ["/".join(p[depth:-1][:levels]) for p in parts]
    _refuse_empty_classes(name, listing, images, splits, set(folders))
    split = [splits[p[0]] if splits else None for p in parts]
    return Found(sample_table(images, folders, split))


def _no_images(name: str, dataset: Dataset, listing: Listing) -> ProbelineError:
    others = Ledger()
    others.add_all(listing.ledger)
    for entry in listing.entries:
        others.add(other_suffix(entry.path), entry.path)
    there = describe(others.passed_over()).removeprefix("left out: ")
    return ProbelineError(
        f"params.yaml: datasets.{name}.path",
        "there are no images in this folder",
        expected="CLASS/IMAGE.jpg, or train/CLASS/IMAGE.jpg and val/CLASS/IMAGE.jpg",
        found=f"no file ending in {' '.join(sorted(SUFFIXES))} below {dataset.path}"
        + (f"; but {there}" if there else ""),
        remedy=_what_else(name, [entry.path for entry in listing.entries]),
    )


def _what_else(name: str, paths: Sequence[str]) -> str:
    """What to do about a folder with other files than images, by what these are."""
    endings = Counter(PurePosixPath(path).suffix.lower() for path in paths)
    for source, ending in (("webdataset", ".tar"), ("parquet", ".parquet")):
        if endings[ending]:
            return f"if the images are in the {ending} files: `source: {source}` in datasets.{name}"
    if any(PurePosixPath(path).name in _CIFAR for path in paths):
        return (
            "these are CIFAR's own files: `source: torchvision:CIFAR10` (or CIFAR100), with the "
            f"folder around cifar-10-batches-py as `path`, in datasets.{name}"
        )
    if endings.most_common(1)[:1] and endings.most_common(1)[0][0] == "":
        return (
            "images are known by their ending here: give it to them; or name them in a table, "
            f"whatever they are called (`source: manifest` in datasets.{name})"
        )
    if any(archive in endings for archive in (".zip", ".gz", ".tgz", ".7z", ".rar")):
        return "unpack the archives in it"
    return "correct the path, convert the images to PNG, or arrange them in one folder per class"


_CIFAR = ("data_batch_1", "test_batch", "batches.meta")


def _splits_of(name: str, dataset: Dataset, tops: set[str]) -> dict[str, Split]:
    """The split of each folder at the top; empty where these are the classes."""
    words = split_words(dataset)
    if not words:  # `splits` without any word: no folder is a split
        return {}
    found = {top: words[top.casefold()] for top in sorted(tops) if top.casefold() in words}
    refuse_two_words(name, dataset, found, "folders", lambda _, others: leave_out_text(*others))
    wanted: set[Split] = {"val"} if dataset.test_only else set(SPLITS)
    kinds = set(found.values())
    if found.keys() == tops and kinds >= wanted:
        return found
    if says_splits(dataset):
        alike = found
    else:
        alike = {t: s for t in sorted(tops) if (s := found.get(t) or _like_split(t))}
    only_splits = alike.keys() == tops
    many = set(alike.values()) >= wanted and 2 * len(alike) >= len(tops)
    if only_splits or many or kinds >= wanted:
        raise _unclear_splits(name, dataset, tops, alike, only_splits=only_splits)
    return {}


def _unclear_splits(
    name: str, dataset: Dataset, tops: set[str], alike: Mapping[str, Split], *, only_splits: bool
) -> ProbelineError:
    both = set(alike.values()) == set(SPLITS)
    problem = (
        "split folders and others are mixed" if not only_splits
        else "there are images of one split only" if not both
        else "these folders look like splits"
    )  # fmt: skip
    others = sorted(tops - alike.keys())
    of = {split: [top for top, its in alike.items() if its == split] for split in SPLITS}
    if says_splits(dataset) and both:
        remedy = f"leave the others out, `{leave_out_text(*others)}`; or name them in `splits`, too"
    else:
        own = f"{dataset.path}/{min(tops)}" if len(tops) == 1 else ""
        remedy = (
            (f"leave the others out, `{leave_out_text(*others)}`; or " if others else "")
            + (f"name the folder of the class folders, `path: {own}`; or " if own else "")
            + f"say which folders are splits, `{splits_text(of)}`; or that none is, and that all "
            "are classes, `splits: {train: [], val: []}`"
        )
    return ProbelineError(
        f"data set {name}",
        problem,
        expected="images below train/ and val/ only, or one folder per class at the top",
        found=", ".join(sorted(tops)[:8])
        + (", …" if len(tops) > 8 else "")
        + (f"; `splits` names {', '.join(alike)}" if says_splits(dataset) and alike else ""),
        remedy=f"in datasets.{name}: {remedy}",
    )


def _like_split(folder: str) -> Split | None:
    """The split that a folder's name speaks of: train2017, images_val, my-TestSet."""
    words: dict[str, Split] = {
        **FURTHER, "train": "train", "training": "train",
        **dict.fromkeys(("val", "valid", "validation", "test"), "val"),
    }  # fmt: skip
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", folder)  # TestSet
    tokens = [t.removesuffix("set") for t in re.findall(r"[a-z]+", plain.casefold())]
    found = {words[token] for token in tokens if token in words}
    return found.pop() if len(found) == 1 else None


def _refuse_loose(name: str, loose: Sequence[str]) -> None:
    if loose:
        raise ProbelineError(
            f"data set {name}",
            f"{len(loose):,} images lie in no class folder",
            expected="CLASS/IMAGE.jpg below the data set's folder, or below its train and val",
            found=", ".join(loose[:3]) + (" …" if len(loose) > 3 else ""),
            remedy="move them into the folder of their class; or say the class of each in a "
            f"table, `source: manifest` in datasets.{name}",
        )


def _refuse_a_folder_around_all(
    name: str, dataset: Dataset, folders: list[tuple[str, ...]], in_splits: bool
) -> None:
    """Refuse what looks like a single class, but is the folder of the classes' folders."""
    around = {folder[0] for folder in folders}
    within = sorted({folder[1] for folder in folders if len(folder) > 1})
    if dataset.class_folder is not None or len(around) != 1 or len(within) < 2:
        return
    (one,) = around
    ending = PurePosixPath(str(dataset.path)).suffix.lower()
    if in_splits:
        remedy = f"move the folders inside each {one} up, so that it is train/{within[0]}"
    elif ending == ".tar":
        remedy = f"make the tar of what is inside: tar -C {one} -cf NEW.tar ."
    elif ending == ".zip":
        remedy = f"make the zip of what is inside: (cd {one} && zip -r ../NEW.zip .)"
    else:
        remedy = f"name it: `path: {yaml_text(f'{dataset.path}/{one}')}` in datasets.{name}"
    raise ProbelineError(
        f"params.yaml: datasets.{name}.path",
        "there is a single folder in each split, which holds further ones" if in_splits
        else "there is a single folder at the top, which holds further ones",
        expected="one folder per class",
        found=f"{one}, with {', '.join(within[:5])}" + (", …" if len(within) > 5 else ""),
        remedy=f"if the classes are inside, {remedy}",
    )  # fmt: skip


def _levels(name: str, dataset: Dataset, folders: Sequence[tuple[str, ...]]) -> int | None:
    """How many folders name a class: one, or (None) all that an image lies in."""
    if dataset.class_folder is not None:
        return 1 if dataset.class_folder == "first" else None
    below = {folder[1:] for folder in folders}
    if len(below) == 1:  # none; or the same below every class, as in CLASS/images/
        return 1
    deep = sorted({"/".join(folder) for folder in folders if len(folder) > 1})
    words = {part for folder in folders for part in folder[1:]}
    splits = ", which look like splits" if any(map(_like_split, words)) else ""
    first = deep[0].split("/")[0]
    raise ProbelineError(
        f"data set {name}",
        f"there are folders below the class folders{splits}",
        expected="CLASS/IMAGE.jpg",
        found=", ".join(deep[:4]) + (f" and {len(deep) - 4:,} more" if len(deep) > 4 else ""),
        remedy=f"say what the class is, in datasets.{name}: `class_folder: first` ({first}) or "
        f"`class_folder: path` ({deep[0]}); or leave folders out: "
        f"`{leave_out_text(deep[0].split('/')[1])}`",
    )


def _refuse_empty_classes(
    name: str,
    listing: Listing,
    images: Sequence[Entry],
    splits: Mapping[str, Split],
    classes: set[str],
) -> None:
    """Refuse class folders without any image: their class would be missing unseen."""
    depth = 1 if splits else 0
    known = {clean_label(c.split("/")[0], f"data set {name}: folder {c}") for c in classes}
    empty: dict[str, list[str]] = {}
    for folder in listing.folders:
        parts = folder.split("/")
        if len(parts) == depth + 1 and (not splits or parts[0] in splits):
            label = clean_label(parts[-1], f"data set {name}: folder {folder}")
            if label not in known:
                empty.setdefault(label, []).append(folder)
    if not empty:
        return
    others = Ledger()
    others.add_all(listing.ledger)
    there = {e.path for e in images}
    for entry in listing.entries:
        if entry.path not in there:
            others.add(other_suffix(entry.path), entry.path)
    held = []
    for label, folders in list(empty.items())[:5]:
        what = [str(p) for folder in folders for p in others.passed_over(folder)]
        held.append(f"{label} ({', '.join(what) or 'empty'})")
    raise ProbelineError(
        f"data set {name}",
        "1 class folder holds no image"
        if len(empty) == 1
        else f"{len(empty):,} class folders hold no image",
        expected="an image in every class folder",
        found="; ".join(held) + (" …" if len(empty) > 5 else ""),
        remedy="put the images back, convert them, or give them their ending; folders that are no "
        f"classes of this study: `{leave_out_text(*(f[0] for f in empty.values()))}` in "
        f"datasets.{name}",
    )
