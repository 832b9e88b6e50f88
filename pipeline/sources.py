"""From params.yaml's description of a data set to its list of labelled files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cache.errors import ProbelineError
from pipeline import digits
from pipeline.environment import expand_path
from pipeline.images import SUFFIXES
from pipeline.paths import SPLITS
from pipeline.roots import Entry, Root, open_root
from pipeline.study import Dataset


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
    assert dataset.path is not None  # the schema demands it
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
        samples = _from_manifest(name, dataset, root)
    else:
        samples = _from_folders(name, dataset, root)
    samples = samples.sort_values("path", kind="stable").reset_index(drop=True)
    if samples["split"].isna().all():
        samples["split"] = stratified_split(samples["class"], dataset.val_fraction, dataset.seed)
    if dataset.limit_per_class is not None:
        keep = _limited(samples, dataset.limit_per_class, dataset.seed)
        samples = samples[keep].reset_index(drop=True)
    return samples


def stratified_split(classes: pd.Series, val_fraction: float, seed: int) -> NDArray[np.object_]:
    """A seeded split of every class: round(fraction * n) to val, at least one and not all.

    A class of one image goes to train.
    """
    rng = np.random.default_rng(seed)
    split = np.full(len(classes), "train", dtype=object)
    for _, rows in sorted(classes.groupby(classes).indices.items()):
        count = min(max(round(val_fraction * len(rows)), 1), len(rows) - 1)
        split[rng.permutation(rows)[:count]] = "val"
    return split


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


def entries_of(samples: pd.DataFrame) -> list[Entry]:
    """The files that an index's rows name."""
    columns = (samples["path"], samples["offset"], samples["bytes"])
    return [Entry(p, int(o), int(b)) for p, o, b in zip(*columns, strict=True)]


def _limited(samples: pd.DataFrame, limit: int, seed: int) -> NDArray[np.bool_]:
    """At most `limit` images of each class in each split, by a seeded draw."""
    rng = np.random.default_rng(seed)
    keep = np.zeros(len(samples), dtype=bool)
    for _, rows in sorted(samples.groupby(["split", "class"]).indices.items()):
        keep[rng.permutation(rows)[:limit]] = True
    return keep


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
    has_splits = tops <= folder_to_split.keys() and len(found_splits) == 2
    if not has_splits and (len(found_splits) == 2 or tops <= folder_to_split.keys()):
        raise ProbelineError(
            f"data set {name}",
            "split folders and others are mixed"
            if len(found_splits) == 2
            else "there are images of one split only",
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
    return _table(
        images,
        [p[depth] for p in parts],
        [folder_to_split[p[0]] if has_splits else None for p in parts],
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


def _from_manifest(name: str, dataset: Dataset, root: Root) -> pd.DataFrame:
    """A CSV file with a row per image, paths relative to the CSV's own folder."""
    place = f"data set {name}: {dataset.manifest}"
    entries = {entry.path: entry for entry in root.entries()}
    table, base = _read_manifest(name, dataset, root, entries)
    wanted = [dataset.columns.path, dataset.columns.label, *dataset.filter]
    wanted += [c for c in (dataset.columns.group,) if c is not None]
    if dataset.columns.split is not None and "split" in dataset.columns.model_fields_set:
        wanted.append(dataset.columns.split)  # only the default name may be absent
    for column in wanted:
        if column not in table.columns:
            raise ProbelineError(
                place,
                f"has no column {column!r}",
                expected=f"columns {', '.join(wanted)}",
                found=f"columns {', '.join(table.columns)}",
                remedy=f"name the right columns in datasets.{name}.columns or .filter",
            )
    for column, values in dataset.filter.items():
        allowed = [str(v) for v in (values if isinstance(values, list) else [values])]
        kept = table[table[column].isin(allowed)]
        if kept.empty:
            raise ProbelineError(
                f"params.yaml: datasets.{name}.filter.{column}",
                "no row of the manifest passes",
                expected=f"one of {', '.join(sorted(table[column].unique())[:20])}",
                found=", ".join(allowed),
                remedy="correct the filter",
            )
        table = kept
    for column in (dataset.columns.path, dataset.columns.label):
        blank = int((table[column].str.strip() == "").sum())
        if blank:
            raise ProbelineError(
                place,
                f"{blank} rows have nothing in column {column!r}",
                remedy="complete these rows, or take them out",
            )
    paths = [str(PurePosixPath(base, p)) for p in table[dataset.columns.path]]
    missing = [p for p in paths if p not in entries]
    if missing:
        raise ProbelineError(
            place,
            f"{len(missing)} of {len(paths)} images named there do not exist",
            found=", ".join(missing[:3]) + (" …" if len(missing) > 3 else ""),
            remedy="paths are relative to the manifest's folder; correct them or add the files",
        )
    if len(set(paths)) != len(paths):
        twice = pd.Series(paths)[pd.Series(paths).duplicated()].unique()
        raise ProbelineError(
            place,
            f"{len(twice)} images are named more than once",
            found=", ".join(twice[:3]),
            remedy="keep one row for each image",
        )
    group = dataset.columns.group
    return _table(
        [entries[p] for p in paths],
        table[dataset.columns.label].tolist(),
        _manifest_splits(place, dataset, table),
        table[group].tolist() if group else None,
    )


def _read_manifest(
    name: str, dataset: Dataset, root: Root, entries: dict[str, Entry]
) -> tuple[pd.DataFrame, str]:
    """The CSV and the folder, inside the root, that its paths start from."""
    assert dataset.manifest is not None  # the schema demands it
    if dataset.manifest in entries:
        data, base = (
            root.read(entries[dataset.manifest]),
            str(PurePosixPath(dataset.manifest).parent),
        )
    else:
        place = f"params.yaml: datasets.{name}.manifest"
        path = expand_path(dataset.manifest, place)
        if not path.is_file():
            raise ProbelineError(
                place,
                "there is no such file",
                expected="a CSV file inside `path`, or elsewhere",
                found=dataset.manifest,
                remedy="correct `manifest`",
            )
        data, base = Path(path).read_bytes(), "."
    try:
        table = pd.read_csv(io.BytesIO(data), dtype=str, keep_default_na=False)
        if not isinstance(table.index, pd.RangeIndex):  # pandas would shift all columns
            raise pd.errors.ParserError("rows have more fields than the header")
        return table.fillna(""), base  # rows with fewer fields
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ProbelineError(
            f"data set {name}: {dataset.manifest}",
            "is not a CSV file",
            found=str(error),
            remedy="save it as comma-separated UTF-8 with a header line",
        ) from None


def _manifest_splits(place: str, dataset: Dataset, table: pd.DataFrame) -> list[str | None]:
    column = dataset.columns.split
    if column is None or column not in table.columns:
        return [None] * len(table)
    names = {value: split for split in SPLITS for value in dataset.splits[split]}
    unknown = sorted(set(table[column]) - names.keys())
    if unknown:
        raise ProbelineError(
            place,
            f"column {column!r} has values that name no split",
            expected=f"train: {', '.join(dataset.splits['train'])}; "
            f"val: {', '.join(dataset.splits['val'])}",
            found=", ".join(unknown[:5]),
            remedy="filter those rows out, or say which split they are with `splits`",
        )
    return [names[value] for value in table[column]]


def _table(
    entries: list[Entry],
    classes: list[str],
    splits: list[str | None],
    groups: Sequence[str | None] | None = None,
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "path": [e.path for e in entries],
            "offset": [e.offset for e in entries],
            "bytes": [e.size for e in entries],
            "class": classes,
            "split": pd.Series(splits, dtype=object),
            "group": np.array(groups or [None] * len(entries), dtype=object),
        }
    )
