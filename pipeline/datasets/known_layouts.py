"""How well-known data sets lie on the disk, as their authors give them out.

Each function reads one layout: from the files below a folder (or inside a tar file) to a table of
samples. The definitions of classes and splits are facts of arXiv 2407.12210 and its code.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from ruamel.yaml import YAML

from cache.errors import ProbelineError
from cache.fingerprint import load_json
from pipeline.datasets.cifar import write_cifar_tar
from pipeline.datasets.doors import open_path, open_root
from pipeline.datasets.image_kinds import SUFFIXES
from pipeline.datasets.known import PACKED, known_dataset
from pipeline.datasets.roots import Entry, Kept, Root
from pipeline.datasets.samples import Found, sample_table
from pipeline.datasets.settings import Dataset
from pipeline.machine.environment import expand_path
from pipeline.project.paths import RAW

_INAT_SUBSETS = Path(__file__).parent / "inat_subsets.yaml"

Files = Mapping[str, Entry]
"""By path below the root."""


def folders(
    root: Root, files: Files, *, train: str, val: str, leave_out: Sequence[str] = ()
) -> pd.DataFrame:
    """``SPLIT/CLASS/IMAGE``; further folders are left alone."""
    found = [
        (entry, PurePosixPath(path).parts)
        for path, entry in files.items()
        if PurePosixPath(path).suffix.lower() in SUFFIXES and path not in leave_out
    ]
    names = {train: "train", val: "val"}
    kept = [(entry, parts) for entry, parts in found if len(parts) == 3 and parts[0] in names]
    return sample_table(
        [entry for entry, _ in kept], [p[1] for _, p in kept], [names[p[0]] for _, p in kept]
    )


def test_folders(root: Root, files: Files) -> pd.DataFrame:
    """``CLASS/IMAGE``, test images only; the folders' names are WordNet ids, as ImageNet's."""
    found = [(entry, PurePosixPath(path)) for path, entry in files.items()]
    images = [(e, p) for e, p in found if len(p.parts) == 2 and p.suffix.lower() in SUFFIXES]
    return sample_table(
        [entry for entry, _ in images], [p.parts[0] for _, p in images], ["val"] * len(images)
    )


def numbered_test_folders(root: Root, files: Files) -> pd.DataFrame:
    """As `test_folders`, but the folders are named by the places (from 0) of ImageNet's classes.

    These are in the order of their WordNet ids.
    """
    from timm.data import ImageNetInfo  # which imports torch

    ids: list[str] = ImageNetInfo().label_names()
    table = test_folders(root, files)
    odd = sorted(set(table["class"]) - {str(place) for place in range(len(ids))})
    if odd:
        raise ProbelineError(
            odd[0],
            "is no class of ImageNet",
            expected=f"folders named 0 to {len(ids) - 1}",
            found=", ".join(odd[:5]),
            remedy="name the folder that holds them, as the data set was unpacked",
        )
    return table.assign(**{"class": [ids[int(number)] for number in table["class"]]})


def cub(root: Root, files: Files) -> pd.DataFrame:
    """CUB-200-2011: the official split; the whole image, without boxes."""
    tables = {
        name: dict(line.split(" ", 1) for line in _lines(root, files, f"{name}.txt"))
        for name in ("images", "image_class_labels", "classes", "train_test_split")
    }
    numbers = list(tables["images"])
    paths = [f"images/{tables['images'][n]}" for n in numbers]
    return sample_table(
        _entries(files, paths),
        [tables["classes"][tables["image_class_labels"][n]] for n in numbers],
        ["train" if tables["train_test_split"][n] == "1" else "val" for n in numbers],
    )


def voc_segmentation(root: Root, files: Files) -> pd.DataFrame:
    """PASCAL VOC 2012, segmentation: one label an image, the class that covers most pixels.

    Background (0) and void (255) do not count.
    """
    splits = {
        split: _lines(root, files, f"ImageSets/Segmentation/{split}.txt")
        for split in ("train", "val")
    }
    names = [name for split in splits.values() for name in split]
    masks = _entries(files, [f"SegmentationClass/{name}.png" for name in names])
    return sample_table(
        _entries(files, [f"JPEGImages/{name}.jpg" for name in names]),
        [_majority(root.read(mask), mask.path) for mask in masks],
        [split for split, members in splits.items() for _ in members],
    )


VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip


def _majority(mask: bytes, path: str) -> str:
    with Image.open(io.BytesIO(mask), formats=["PNG"]) as image:  # palette indices, not colours
        pixels = np.bincount(np.asarray(image).ravel(), minlength=256)[1:255]
    if pixels.max() == 0 or pixels.argmax() >= len(VOC_CLASSES):
        raise ProbelineError(
            path,
            "the mask shows no object class",
            expected=f"indices 1 to {len(VOC_CLASSES)}, 255 for void",
            found=f"most pixels of index {int(pixels.argmax()) + 1}",
            remedy="use the data set's own masks, unchanged",
        )
    return VOC_CLASSES[int(pixels.argmax())]


def caltech256(root: Root, files: Files) -> pd.DataFrame:
    """Caltech-256 with its clutter class; a random split that is not stratified, as published.

    Images in the order of their class and number; the first four fifths of NumPy's legacy
    permutation with seed 0 are train.
    """
    paths = sorted(p for p in files if p.endswith(".jpg") and len(PurePosixPath(p).parts) == 2)
    order = np.arange(len(paths))
    np.random.RandomState(0).shuffle(order)
    train = np.isin(np.arange(len(paths)), order[: int(0.8 * len(paths))])
    return sample_table(
        _entries(files, paths),
        [PurePosixPath(path).parts[0] for path in paths],
        ["train" if is_train else "val" for is_train in train],
    )


def domainnet(root: Root, files: Files, *, domain: str) -> pd.DataFrame:
    """A domain of DomainNet by its own lists; class names from the folders, 345 in all."""
    paths, splits = [], []
    for split, listed in (("train", "train"), ("val", "test")):
        members = [line.rsplit(" ", 1)[0] for line in _lines(root, files, f"{domain}_{listed}.txt")]
        paths += members
        splits += [split] * len(members)
    classes = [PurePosixPath(path).parts[1] for path in paths]
    return sample_table(_entries(files, paths), classes, splits)


def inat2021(root: Root, files: Files, *, level: str, subset: str | None = None) -> pd.DataFrame:
    """INaturalist 2021, train_mini and val, labelled by family, genus or species.

    The genus and species tasks are subsets of the chordates with as many classes as there are
    families in all (1,103); inat_subsets.yaml names their categories.
    """
    parts = {
        split: load_json(_text(root, files, f"{name}.json"))
        for split, name in (("train", "train_mini"), ("val", "val"))
    }
    kept = None if subset is None else set(_inat_subsets()[subset])
    column = {"species": "name"}.get(level, level)  # an epithet alone is no species
    named = {
        category["id"]: category[column]
        for category in parts["train"]["categories"]
        if kept is None or category["id"] in kept
    }
    paths, names, splits = [], [], []
    for split, part in parts.items():
        category_of = {a["image_id"]: a["category_id"] for a in part["annotations"]}
        for image in part["images"]:
            if (name := named.get(category_of[image["id"]])) is not None:
                paths.append(image["file_name"])
                names.append(name)
                splits.append(split)
    return sample_table(_entries(files, paths), names, splits)


@functools.cache
def _inat_subsets() -> dict[str, list[int]]:
    found: dict[str, list[int]] = YAML(typ="safe").load(_INAT_SUBSETS)
    return found


LAYOUTS: Mapping[str, Callable[..., pd.DataFrame]] = {
    "folders": folders,
    "test_folders": test_folders,
    "numbered_test_folders": numbered_test_folders,
    "cub": cub,
    "voc_segmentation": voc_segmentation,
    "caltech256": caltech256,
    "domainnet": domainnet,
    "inat2021": inat2021,
    "cifar100": functools.partial(folders, train="train", val="val"),
}


def read_layout(name: str, arguments: Mapping[str, Any], root: Root) -> pd.DataFrame:
    """All samples of a known data set.

    Parameters
    ----------
    name : str
        One of `LAYOUTS`.
    arguments : mapping
        Of its function.
    root : Root

    Raises
    ------
    ProbelineError
        When a file of the data set is not there.
    """
    files = {entry.path: entry for entry in root.entries()}
    return LAYOUTS[name](root, files, **arguments)


def open_known(name: str, dataset: Dataset) -> Root:
    """What holds the images of a data set ``known:NAME``."""
    assert dataset.known_as is not None
    if known_dataset(dataset.known_as).layout != PACKED:
        return open_path(name, dataset)
    place = f"params.yaml: datasets.{name}.path"
    folder = expand_path(str(dataset.path), place)
    return open_root(write_cifar_tar(folder, RAW / f"{dataset.known_as}.tar"), place)


def samples_of_known(name: str, dataset: Dataset, root: Kept) -> Found:
    """All samples of a data set ``known:NAME``; see `read_layout`."""
    assert dataset.known_as is not None
    known = known_dataset(dataset.known_as)
    return Found(read_layout(known.layout, known.arguments, root))


def _text(root: Root, files: Files, path: str) -> str:
    if path not in files:
        some = ", ".join(sorted({PurePosixPath(p).parts[0] for p in files})[:8])
        raise ProbelineError(
            path,
            "is not among the data set's files",
            expected=f"{path} in the folder that `path` names",
            found=some or "no file at all",
            remedy="name the folder that holds it, as the data set was unpacked",
        )
    return root.read(files[path]).decode("utf-8")


def _lines(root: Root, files: Files, path: str) -> list[str]:
    return [line.strip() for line in _text(root, files, path).splitlines() if line.strip()]


def _entries(files: Files, paths: Sequence[str]) -> list[Entry]:
    missing = [path for path in paths if path not in files]
    if missing:
        raise ProbelineError(
            missing[0],
            "images that the data set's own lists name are missing",
            expected=f"{len(paths):,} images",
            found=f"{len(paths) - len(missing):,}; these are missing: "
            + ", ".join(missing[:5])
            + (" …" if len(missing) > 5 else ""),
            remedy="unpack the data set again",
        )
    return [files[path] for path in paths]
