"""Data sets described by a CSV file with a row per image."""

from __future__ import annotations

import io
from pathlib import Path, PurePosixPath

import pandas as pd

from cache.errors import ProbelineError
from pipeline.datasets.roots import Entry, Root
from pipeline.datasets.samples import sample_table
from pipeline.datasets.settings import Dataset
from pipeline.machine.environment import expand_path
from pipeline.project.paths import SPLITS


def samples_of_manifest(name: str, dataset: Dataset, root: Root) -> pd.DataFrame:
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
    return sample_table(
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
