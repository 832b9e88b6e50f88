"""From params.yaml's description of a data set to its list of labelled files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import pandas as pd

from cache.errors import ProbelineError
from pipeline.datasets import digits
from pipeline.datasets.cifar import write_cifar_tar
from pipeline.datasets.class_folders import samples_of_folders
from pipeline.datasets.doors import location, open_root
from pipeline.datasets.images import HEIF_SUFFIXES, NEEDS_HEIF, SUFFIXES, can_read_heif
from pipeline.datasets.known import known_dataset
from pipeline.datasets.known_layouts import read_layout
from pipeline.datasets.labels import clean_label
from pipeline.datasets.ledger import (
    FILTERED,
    OTHER_SPLIT,
    UNLISTED,
    UNREADABLE_FILE,
    UNREADABLE_FOLDER,
    Ledger,
    PassedOver,
    other_suffix,
)
from pipeline.datasets.library_sets import library_tar
from pipeline.datasets.manifests import samples_of_manifest
from pipeline.datasets.parquet_images import ParquetImages, samples_of_parquet
from pipeline.datasets.parts import find_parts
from pipeline.datasets.picture_tar import INDEX, LEFT
from pipeline.datasets.roots import Entry, Kept, Listing, Root
from pipeline.datasets.settings import Dataset
from pipeline.datasets.shards import Shards, samples_of_shards
from pipeline.datasets.tables import NOTES
from pipeline.machine.environment import expand_path
from pipeline.project.paths import RAW, SPLITS

_AS_CONVERTED = Dataset.model_validate(
    {
        "source": "manifest",
        "path": "converted",
        "role": "in_domain",
        "manifest": INDEX,
        "splits": {split: [split] for split in SPLITS},
    }
)
"""How the tar files are read that were made of a library's data set."""


def dataset_root(name: str, dataset: Dataset) -> Root:
    """The folder or tar file with the data set's images; a built-in one is made if absent.

    Raises
    ------
    ProbelineError
        When it does not exist.
    """
    place = f"params.yaml: datasets.{name}.path"
    if dataset.source.startswith("builtin:"):
        builtin = dataset.source.removeprefix("builtin:")
        if builtin not in digits.SHIFTS:
            raise ProbelineError(
                f"params.yaml: datasets.{name}.source",
                "there is no such built-in data set",
                expected=f"one of {', '.join(digits.SHIFTS)}",
                found=builtin,
                remedy="choose one of these, or use `source: folder` with your own images",
            )
        return open_root(digits.write_tar(builtin), place)
    if dataset.is_of_library:
        return open_root(library_tar(name, dataset), place)
    assert dataset.path is not None  # the schema demands it
    if dataset.source == "webdataset":
        found = find_parts(location(dataset.path, place), ".tar", place, dataset.leave_out)
        return Shards(found, dataset.leave_out)
    if dataset.source == "parquet":
        found = find_parts(location(dataset.path, place), ".parquet", place, dataset.leave_out)
        return ParquetImages(name, dataset, found)
    if dataset.known_as is not None and known_dataset(dataset.known_as).layout == "cifar100":
        folder = expand_path(dataset.path, place)
        return open_root(write_cifar_tar(folder, RAW / f"{dataset.known_as}.tar"), place)
    where, named = location(dataset.path, place), dataset.source == "manifest"
    return open_root(where, place, dataset.leave_out, named)


@dataclass(frozen=True)
class Listed:
    """What a data set's source holds.

    Attributes
    ----------
    samples : DataFrame
        Columns path, offset, bytes, class, split, group (None where not given); sorted by path.
        What the source does not split is split later, when its bytes are known (`splits`).
        The order is that which everything downstream keeps.
    passed_over : tuple of PassedOver
        What is no sample of it.
    remarks : tuple of str
        What is worth knowing of the classes' names.
    """

    samples: pd.DataFrame
    passed_over: tuple[PassedOver, ...] = ()
    remarks: tuple[str, ...] = ()


def list_source(name: str, dataset: Dataset, root: Root) -> Listed:
    """All samples of a data set, and what is passed over.

    Raises
    ------
    ProbelineError
        When the source does not hold a usable data set.
    """
    kept = Kept(root)
    _refuse_unreadable(name, dataset, kept.listing())
    if dataset.source not in ("manifest", "parquet"):  # whose paths are text
        _check_names(name, kept.entries())
    filtered: list[list[str]] = []
    if dataset.source == "manifest":
        samples, filtered = samples_of_manifest(name, dataset, root)  # which may name hidden files
    elif dataset.is_of_library:
        samples, _ = samples_of_manifest(name, _AS_CONVERTED, kept)
    elif isinstance(root, ParquetImages):
        samples, filtered = samples_of_parquet(name, dataset, root)
    elif isinstance(root, Shards):
        samples = samples_of_shards(name, dataset, root)
    elif dataset.known_as is not None:
        known = known_dataset(dataset.known_as)
        samples = read_layout(known.layout, known.arguments, kept)
    else:
        samples = samples_of_folders(name, dataset, kept.listing())
    _refuse_heif(name, samples["path"].tolist())
    notes: tuple[str, ...] = samples.attrs.get(NOTES, ())
    samples["class"], remarks = clean_classes(samples["class"], f"data set {name}")
    samples = samples.sort_values("path", kind="stable").reset_index(drop=True)
    passed = _passed_over(dataset, root, kept.listing(), samples["path"], filtered)
    return Listed(samples, passed, (*notes, *remarks))


def clean_classes(names: pd.Series, where: str) -> tuple[pd.Series, tuple[str, ...]]:
    """Class names by the one rule for them, and a remark where it makes one name of several."""
    clean = {text: clean_label(text, where) for text in sorted(set(names))}
    spellings: dict[str, list[str]] = {}
    for text, name in clean.items():
        spellings.setdefault(name, []).append(text)
    several = [texts for texts in spellings.values() if len(texts) > 1]
    if not several:
        return names.map(clean), ()
    some = ", ".join(text.encode("unicode_escape").decode() for text in several[0])
    return names.map(clean), (
        f"{len(several)} of {len(spellings)} class names are spelled in several ways, e.g. "
        f"'{some}': they differ in spaces at their ends or in Unicode's form, and are one class",
    )


def _passed_over(
    dataset: Dataset,
    root: Root,
    listing: Listing,
    samples: Iterable[str],
    filtered: Sequence[Sequence[str]],
) -> tuple[PassedOver, ...]:
    """What is listed and no sample, beside what listing itself passes over."""
    passed = Ledger()
    passed.add_all(listing.ledger)
    passed.add_paths(FILTERED, (spelled[0] for spelled in filtered))
    if isinstance(root, Shards | ParquetImages):  # whose other members belong to samples
        return passed.passed_over()
    known = {*samples, *(path for spelled in filtered for path in spelled)}
    own = {INDEX, LEFT} if dataset.is_of_library else {dataset.manifest}
    for entry in listing.entries:
        if dataset.is_of_library and entry.path == LEFT:
            for split, images in json.loads(root.read(entry)).items():
                passed.add(OTHER_SPLIT, split, images)
        if entry.path in known or entry.path in own:
            continue
        if PurePosixPath(entry.path).suffix.lower() in SUFFIXES:
            passed.add(UNLISTED, entry.path)
        elif dataset.known_as is None:  # whose lists and tables lie beside the images
            passed.add(other_suffix(entry.path), entry.path)
    return passed.passed_over()


def _refuse_unreadable(name: str, dataset: Dataset, listing: Listing) -> None:
    """Refuse what the system does not let one read, unless such images may be skipped."""
    lost = listing.ledger.passed_over(of=(UNREADABLE_FOLDER, UNREADABLE_FILE))
    if lost and dataset.on_bad_image == "error":
        raise ProbelineError(
            f"data set {name}",
            "not all of it can be read",
            expected="folders and files that this account may read",
            found="; ".join(map(str, lost)),
            remedy="make them readable (chmod -R u+rX), name them in `leave_out`, or say "
            f"`on_bad_image: skip` in datasets.{name}",
        )


def _refuse_heif(name: str, paths: list[str]) -> None:
    """Refuse HEIC files before any is read, where the package for them is not there."""
    found = [p for p in paths if PurePosixPath(p).suffix.lower() in HEIF_SUFFIXES]
    endings = ", ".join(f"'*{e}'" for e in sorted({PurePosixPath(p).suffix for p in found}))
    if found and not can_read_heif():
        raise ProbelineError(
            f"data set {name}",
            f"{len(found):,} HEIC image{'s need' if len(found) > 1 else ' needs'} the package "
            "`pillow-heif`",
            found=", ".join(found[:3]) + (" …" if len(found) > 3 else ""),
            remedy=f"{NEEDS_HEIF}; or leave them out: `leave_out: [{endings}]` in datasets.{name}",
        )


def _check_names(name: str, entries: list[Entry]) -> None:
    """Refuse names that an index can't hold: surrogates stand for undecodable bytes."""
    paths = [e.path for e in entries if PurePosixPath(e.path).suffix.lower() in SUFFIXES]
    odd = [path for path in paths if any("\ud800" <= c <= "\udfff" for c in path)]
    if odd:
        raise ProbelineError(
            f"data set {name}",
            f"{len(odd)} file names are not UTF-8 text",
            found=", ".join(p.encode(errors="backslashreplace").decode() for p in odd[:3]),
            remedy="rename the files, e.g. with convmv",
        )
