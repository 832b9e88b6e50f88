"""From params.yaml's description of a data set to its list of labelled files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

import pandas as pd

from cache.errors import ProbelineError
from pipeline.datasets.image_kinds import HEIF_SUFFIXES, NEEDS_HEIF, SUFFIXES, can_read_heif
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
from pipeline.datasets.roots import Entry, Kept, Listing, Root
from pipeline.datasets.samples import Found
from pipeline.datasets.settings import Dataset
from pipeline.datasets.source import Source
from pipeline.datasets.source_list import source_of
from pipeline.datasets.tables import NOTES


def dataset_root(name: str, dataset: Dataset) -> Root:
    """What holds the data set's images (a folder, an archive); what is made of others is made once.

    Raises
    ------
    ProbelineError
        When it does not exist.
    """
    source = source_of(dataset)
    assert source.open is not None  # nobody asks for images where there are none
    return source.open(name, dataset)


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


def list_source(name: str, dataset: Dataset, root: Root | None) -> Listed:
    """All samples of a data set, and what is passed over.

    Parameters
    ----------
    name : str
    dataset : Dataset
    root : Root or None
        None where there are no images.

    Raises
    ------
    ProbelineError
        When the source does not hold a usable data set.
    """
    source = source_of(dataset)
    if root is None:
        return Listed(source.samples(name, dataset, None).table)
    kept = Kept(root)
    _refuse_unreadable(name, dataset, kept.listing())
    if not source.paths_are_text:
        _check_names(name, kept.entries())
    found = source.samples(name, dataset, kept)
    samples = found.table
    _refuse_heif(name, samples["path"].tolist())
    notes: tuple[str, ...] = samples.attrs.get(NOTES, ())
    samples["class"], remarks = clean_classes(samples["class"], f"data set {name}")
    samples = samples.sort_values("path", kind="stable").reset_index(drop=True)
    passed = _passed_over(source, kept.listing(), samples["path"], found)
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
    source: Source, listing: Listing, samples: Iterable[str], found: Found
) -> tuple[PassedOver, ...]:
    """What is listed and no sample, beside what listing itself passes over."""
    passed = Ledger()
    passed.add_all(listing.ledger)
    passed.add_paths(FILTERED, (spelled[0] for spelled in found.filtered))
    if source.suffix:  # other members belong to samples
        return passed.passed_over()
    for split, images in found.other_splits.items():
        passed.add(OTHER_SPLIT, split, images)
    known = {*samples, *found.lists, *(path for spelled in found.filtered for path in spelled)}
    for entry in listing.entries:
        if entry.path in known:
            continue
        if PurePosixPath(entry.path).suffix.lower() in SUFFIXES:
            passed.add(UNLISTED, entry.path)
        elif not source.is_selective:  # whose lists and tables lie beside the images
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
