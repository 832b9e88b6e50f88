"""Data sets described by a table with a row per image: CSV, TSV or Parquet."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

from cache.errors import ProbelineError
from pipeline.datasets.doors import location, open_path
from pipeline.datasets.folders import Folder
from pipeline.datasets.labels import shown
from pipeline.datasets.missing_files import Missing
from pipeline.datasets.remote import Remote, RemoteFolder
from pipeline.datasets.roots import Entry, Kept, Root
from pipeline.datasets.samples import Found, sample_table
from pipeline.datasets.settings import Dataset
from pipeline.datasets.split_words import refuse_two_words, split_words
from pipeline.datasets.tables import NOTES, Table, read_table, refuse_absent
from pipeline.project.paths import SPLITS
from pipeline.project.words import number_of, yaml_list, yaml_text


def open_named(name: str, dataset: Dataset) -> Root:
    """What holds the images; of a web server, too, as the table names them."""
    return open_path(name, dataset, named=True)


def samples_of_manifest(name: str, dataset: Dataset, root: Kept) -> Found:
    """A table with a row per image, paths relative to the table's own folder.

    Raises
    ------
    ProbelineError
        When a column, a value or an image is missing, or an image is named twice.
    """
    place = f"data set {name}: {dataset.manifest}"
    files = _Files(root)
    whole, base = _read_manifest(name, dataset, files)
    table, left, remarks = filtered_rows(name, dataset, whole)
    labels = table.labels(dataset.columns.label)
    entries = _entries(place, dataset, table, files, base)
    group = dataset.columns.group
    samples = sample_table(
        entries,
        labels,
        splits_of_column(name, place, dataset, table),
        table.groups(group) if group else None,
    )
    samples.attrs[NOTES] = (*table.notes, *table.merged_labels(dataset.columns.label), *remarks)
    cells = whole.columns[dataset.columns.path]
    filtered = [files.spellings(base, cells[row] or whole.row_name(row)) for row in left]
    return Found(samples, filtered, lists=[str(dataset.manifest)])


class _Files:
    """The files of a root by path.

    Those of a folder are looked at as they are named: a table is then as cheap as it is long,
    however many files lie there, and may name hidden ones.
    """

    def __init__(self, kept: Kept) -> None:
        self.root = root = kept.root
        self._of_archive: dict[str, Entry] | None = None
        if not isinstance(root, Folder) and not _is_unlisted(root):
            self._of_archive = {entry.path: entry for entry in kept.entries()}

    def find(self, path: str) -> Entry | None:
        """The file at a normalised path; None where there is none, or it leads out of the root."""
        if self._of_archive is not None:
            return self._of_archive.get(path)
        if path.startswith(("../", "/")) or "\0" in path:
            return None
        if isinstance(self.root, RemoteFolder):
            return self.root.entry(path)
        assert isinstance(self.root, Folder)
        file = self.root.path / path
        try:
            return Entry(path, 0, file.stat().st_size) if file.is_file() else None
        except OSError:  # a name longer than any can be, a folder that may not be searched
            return None

    def locate(self, base: str, path: str) -> Entry | None:
        """The file that a cell names: as it stands, or as Windows or an absolute path writes it."""
        return next(filter(None, map(self.find, self.spellings(base, path))), None)

    def spellings(self, base: str, path: str) -> list[str]:
        """The paths below the root that a cell may mean, the likeliest first."""
        spelled = dict.fromkeys((path, path.strip(), path.strip().replace("\\", "/")))
        if isinstance(self.root, Folder):
            spelled = dict.fromkeys(self._below_root(s) if s[:1] == "/" else s for s in spelled)
        return [posixpath.normpath(posixpath.join(base, s)) for s in spelled]

    def _below_root(self, path: str) -> str:
        """An absolute path as it is from the root; itself where it lies elsewhere."""
        assert isinstance(self.root, Folder)
        for top in (self.root.path.absolute(), self.root.path.resolve()):
            if PurePosixPath(path).is_relative_to(top):
                return str(PurePosixPath(path).relative_to(top))
        return path


def _is_unlisted(root: Root) -> bool:
    """Whether only a table can say what is there."""
    return isinstance(root, RemoteFolder) and root.is_named_by_a_table


def _entries(place: str, dataset: Dataset, table: Table, files: _Files, base: str) -> list[Entry]:
    """The image that each row names; every one once."""
    table.refuse_missing(dataset.columns.path)
    paths = [str(path) for path in table.columns[dataset.columns.path]]
    found = [files.locate(base, path) for path in paths]
    missing = [row for row, entry in enumerate(found) if entry is None]
    if missing:
        some = [paths[row] for row in missing[:20]]
        folder = files.root.path if isinstance(files.root, Folder) else None
        elsewhere = Missing(some, base, files.locate, folder, str(dataset.manifest))
        shown = ", ".join(f"{paths[row]} ({table.row_name(row)})" for row in missing[:3])
        raise ProbelineError(
            place,
            f"{len(missing):,} of {number_of(len(paths), 'image')} named there "
            f"{'does' if len(missing) == 1 else 'do'} not exist",
            expected="paths that begin "
            + ("in `path`" if base == "." else f"in {base}/, where the table is"),
            found=shown[:600] + (" …" if len(missing) > 3 else ""),
            remedy=_why_missing([paths[row] for row in missing[:1000]])
            + (elsewhere.remedy() or "correct them or add the files"),
        )
    entries = [entry for entry in found if entry is not None]
    first: dict[str, int] = {}
    twice = [row for row, entry in enumerate(entries) if first.setdefault(entry.path, row) != row]
    if twice:
        path = entries[twice[0]].path
        raise ProbelineError(
            place,
            f"{number_of(len({entries[row].path for row in twice}), 'image is', 'images are')} "
            "named more than once",
            found=f"{path} on {table.rows([first[path], twice[0]])}"
            + (", …" if len(twice) > 1 else ""),
            remedy="keep one row for each image",
        )
    return entries


def _why_missing(paths: Sequence[str]) -> str:
    """What all the missing paths have in common, as far as it tells why."""
    if all(PureWindowsPath(path).drive for path in paths):
        return "these are absolute paths of a Windows machine; "
    if all(path.startswith("/") for path in paths):
        return "these are absolute paths outside the data set's folder; "
    if all("\\" in path for path in paths):
        return "backslashes were read as Windows means them, too; "
    if all(part.startswith(".") for path in paths for part in path.split("/")[:1]):
        return "in an archive, names that begin with a dot are hidden and not read; "
    return ""


def filtered_rows(
    name: str, dataset: Dataset, table: Table
) -> tuple[Table, list[int], tuple[str, ...]]:
    """The rows that pass all filters, the numbers of the others, and what a filter asks in vain."""
    remarks = []
    left: list[int] = []
    at = list(range(len(table)))
    for column, values in dataset.filter.items():
        allowed = {str(v) for v in (values if isinstance(values, list) else [values])}
        cells = [(cell or "").strip() for cell in table.columns[column]]
        kept = [row for row, cell in enumerate(cells) if cell in allowed]
        if not kept:
            raise ProbelineError(
                f"params.yaml: datasets.{name}.filter.{column}",
                "no row of the manifest passes",
                expected=f"one of {', '.join(sorted(set(cells))[:20])}",
                found=", ".join(sorted(allowed)),
                remedy="correct the filter",
            )
        if vain := sorted(allowed - set(cells)):
            remarks.append(
                f"filter: {number_of(len(vain), 'value is', 'values are')} in no row of column "
                f"{column}, e.g. {shown(vain[0])}"
            )
        passes = set(kept)
        left += [row for number, row in enumerate(at) if number not in passes]
        at = [at[row] for row in kept]
        table = table.subset(kept)
    return table, left, tuple(remarks)


def _read_manifest(name: str, dataset: Dataset, files: _Files) -> tuple[Table, str]:
    """The table and the folder, inside the root, that its paths start from."""
    assert dataset.manifest is not None  # the schema demands it
    place = f"data set {name}: {dataset.manifest}"

    def choose(names: Sequence[str]) -> list[str]:
        return _columns(name, dataset, place, names)

    key = f"params.yaml: datasets.{name}.manifest"
    where = location(dataset.manifest, key)
    if isinstance(where, Remote):
        return read_table(where.read(), where.name, place, choose), "."
    on_this_disk = _is_unlisted(files.root) and where.is_file()
    inside = None if on_this_disk else files.find(posixpath.normpath(dataset.manifest))
    if inside is not None:
        table = read_table(files.root.read(inside), dataset.manifest, place, choose)
        return table, str(PurePosixPath(dataset.manifest).parent)
    if not where.is_file():
        raise ProbelineError(
            key,
            "there is no such file",
            expected="a table inside `path`, or elsewhere",
            found=dataset.manifest
            + (
                f", neither in {files.root.path.absolute()} nor in {Path.cwd()}"
                if isinstance(files.root, Folder) and not where.is_absolute()
                else ""
            ),
            remedy="correct `manifest`, or write it as a whole path",
        )
    return read_table(where, where.name, place, choose), "."


def _columns(name: str, dataset: Dataset, place: str, names: Sequence[str]) -> list[str]:
    """The columns to read, if they are there."""
    columns = dataset.columns
    wanted = [columns.path, columns.label, *dataset.filter]
    wanted += [c for c in (columns.group,) if c is not None]
    if columns.split is not None and (
        "split" in columns.model_fields_set or columns.split in names
    ):
        wanted.append(columns.split)  # only the default name may be absent
    refuse_absent(name, place, wanted, names)
    return wanted


def splits_of_column(name: str, place: str, dataset: Dataset, table: Table) -> list[str | None]:
    """The split that each row's word names; None for all where there is no such column.

    Raises
    ------
    ProbelineError
        When a word names none, or several words the same split and the study says none.
    """
    column = dataset.columns.split
    if column is None or column not in table.columns:
        return [None] * len(table)
    cells = [(cell or "").strip() for cell in table.columns[column]]
    words, distinct = split_words(dataset), sorted(set(cells))
    if unknown := [cell for cell in distinct if cell.casefold() not in words]:
        rows = [row for row, cell in enumerate(cells) if cell in unknown]
        raise ProbelineError(
            place,
            f"column {column!r} has values that name no split",
            expected="; ".join(f"{s}: {', '.join(dataset.splits[s])}" for s in SPLITS),
            found=", ".join(cell or "nothing" for cell in unknown[:5])
            + (", …" if len(unknown) > 5 else "")
            + f" on {table.rows(rows)}",
            remedy=_which_is_which(name, column, distinct, unknown),
        )

    def left_out(kept: list[str], others: list[str]) -> str:
        return f"filter: {{{yaml_text(column)}: {yaml_list(kept)}}}"

    found = {cell: words[cell.casefold()] for cell in distinct}
    refuse_two_words(name, dataset, found, f"values of column {column!r}", left_out)
    return [found[cell] for cell in cells]


def _which_is_which(name: str, column: str, there: Sequence[str], unknown: Sequence[str]) -> str:
    """What to do about words that name no split."""
    if unknown == [""]:
        kept = yaml_list(cell for cell in there if cell)
        return f"complete these rows, or leave them out: `filter: {{{yaml_text(column)}: {kept}}}`"
    return (
        f"say in datasets.{name} which value is which split, "
        "`splits: {train: [VALUE], val: [VALUE]}`; or that this column says none, "
        "`columns: {split: null}`"
    )
