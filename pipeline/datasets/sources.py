"""From params.yaml's description of a data set to its list of labelled files."""

from __future__ import annotations

from pathlib import PurePosixPath

import pandas as pd

from cache.errors import ProbelineError
from pipeline.datasets import digits
from pipeline.datasets.cifar import write_cifar_tar
from pipeline.datasets.images import SUFFIXES
from pipeline.datasets.known import known_dataset
from pipeline.datasets.known_layouts import read_layout
from pipeline.datasets.library_sets import library_tar
from pipeline.datasets.manifests import samples_of_manifest
from pipeline.datasets.picture_tar import INDEX
from pipeline.datasets.roots import Entry, Root, open_root
from pipeline.datasets.samples import limited, sample_table, stratified_split
from pipeline.datasets.settings import Dataset
from pipeline.datasets.shards import Shards, samples_of_shards
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
        return Shards(expand_path(dataset.path, place), place)
    if dataset.known_as is not None and known_dataset(dataset.known_as).layout == "cifar100":
        folder = expand_path(dataset.path, place)
        return open_root(write_cifar_tar(folder, RAW / f"{dataset.known_as}.tar"), place)
    return open_root(expand_path(dataset.path, place), place)


def list_samples(name: str, dataset: Dataset, root: Root) -> pd.DataFrame:
    """All samples of a data set, in the order that everything downstream keeps.

    Returns
    -------
    DataFrame
        Columns path, offset, bytes, class, split, group (None where not given); sorted by path.

    Raises
    ------
    ProbelineError
        When the source does not hold a usable data set.
    """
    if dataset.source == "manifest":
        samples = samples_of_manifest(name, dataset, root)
    elif dataset.is_of_library:
        samples = samples_of_manifest(name, _AS_CONVERTED, root)
    elif isinstance(root, Shards):
        samples = samples_of_shards(name, dataset, root)
    elif dataset.known_as is not None:
        known = known_dataset(dataset.known_as)
        samples = read_layout(known.layout, known.arguments, root)
    else:
        samples = _from_folders(name, dataset, root)
    samples = samples.sort_values("path", kind="stable").reset_index(drop=True)
    if samples["split"].isna().all() and dataset.test_only:
        samples["split"] = "val"
    elif samples["split"].isna().all():
        samples["split"] = stratified_split(
            samples["class"], dataset.val_fraction, dataset.seed, samples["group"]
        )
    if dataset.limit_per_class is not None:
        keep = limited(samples, dataset.limit_per_class, dataset.seed)
        samples = samples[keep].reset_index(drop=True)
    return samples


def _check_names(name: str, entries: list[Entry]) -> None:
    """Refuse names that an index can't hold: surrogates stand for undecodable bytes."""
    odd = [e.path for e in entries if any("\ud800" <= c <= "\udfff" for c in e.path)]
    if odd:
        raise ProbelineError(
            f"data set {name}",
            f"{len(odd)} file names are not UTF-8 text",
            found=", ".join(p.encode(errors="backslashreplace").decode() for p in odd[:3]),
            remedy="rename the files, e.g. with convmv",
        )


def _from_folders(name: str, dataset: Dataset, root: Root) -> pd.DataFrame:
    """One folder per class, below train/ and val/ or at the top."""
    images = [e for e in root.entries() if PurePosixPath(e.path).suffix.lower() in SUFFIXES]
    if not images:
        raise ProbelineError(
            f"params.yaml: datasets.{name}.path",
            "there are no images in this folder",
            expected="CLASS/IMAGE.jpg, or train/CLASS/IMAGE.jpg and val/CLASS/IMAGE.jpg",
            found=f"no file ending in {' '.join(sorted(SUFFIXES))} below {dataset.path}",
            remedy="correct the path, or arrange the images in one folder per class",
        )
    _check_names(name, images)
    folder_to_split = {folder: split for split in SPLITS for folder in dataset.splits[split]}
    tops = {PurePosixPath(e.path).parts[0] for e in images}
    _refuse_two_folders_of_one_split(name, dataset, tops)
    found_splits = {folder_to_split[t] for t in tops if t in folder_to_split}
    wanted = {"val"} if dataset.test_only else set(SPLITS)
    has_splits = tops <= folder_to_split.keys() and found_splits >= wanted
    only_splits = tops <= folder_to_split.keys()
    if not has_splits and (only_splits or len(found_splits) >= len(wanted)):
        raise ProbelineError(
            f"data set {name}",
            "there are images of one split only"
            if only_splits
            else "split folders and others are mixed",
            expected="images below train/ and val/ only, or one folder per class at the top",
            found=", ".join(sorted(tops)[:8]),
            remedy="move the others away; or name the class folders' own folder as `path`; "
            f"or say which folders are splits with datasets.{name}.splits",
        )
    depth = 1 if has_splits else 0
    loose = [e.path for e in images if len(PurePosixPath(e.path).parts) < depth + 2]
    if loose:
        raise ProbelineError(
            f"data set {name}",
            f"{len(loose)} images lie in no class folder",
            expected="CLASS/IMAGE.jpg below the data set's folder"
            + (" train and val" if has_splits else ""),
            found=", ".join(loose[:3]) + (" …" if len(loose) > 3 else ""),
            remedy="move them into the folder of their class",
        )
    parts = [PurePosixPath(e.path).parts for e in images]
    _refuse_a_folder_around_all(name, dataset, [p[depth:-1] for p in parts])
    return sample_table(
        images,
        [p[depth] for p in parts],
        [folder_to_split[p[0]] if has_splits else None for p in parts],
    )


def _refuse_a_folder_around_all(
    name: str, dataset: Dataset, folders: list[tuple[str, ...]]
) -> None:
    """Refuse what looks like a single class, but is the folder of the classes' folders."""
    around = {folder[0] for folder in folders}
    within = sorted({folder[1] for folder in folders if len(folder) > 1})
    if len(around) == 1 and len(within) > 1:
        (one,) = around
        folder = dataset.path is not None and not dataset.path.endswith(".tar")
        raise ProbelineError(
            f"params.yaml: datasets.{name}.path",
            "there is a single folder at the top, which holds further ones",
            expected="one folder per class",
            found=f"{one}, with {', '.join(within[:5])}" + (", …" if len(within) > 5 else ""),
            remedy=f"if these are the classes: `path: {dataset.path}/{one}`"
            if folder
            else f"if these are the classes, make the tar of the folders inside {one}",
        )


def _refuse_two_folders_of_one_split(name: str, dataset: Dataset, tops: set[str]) -> None:
    """Refuse val/ beside test/ unless the study says that both are meant."""
    if "splits" in dataset.model_fields_set:
        return
    for split in SPLITS:
        both = sorted(tops & set(dataset.splits[split]))
        if len(both) > 1:
            raise ProbelineError(
                f"data set {name}",
                f"{len(both)} folders could be the {split} split",
                found=", ".join(both),
                remedy=f"say which, e.g. `splits: {{train: [train], {split}: [{both[0]}]}}`, and "
                "move the other away or name both",
            )
