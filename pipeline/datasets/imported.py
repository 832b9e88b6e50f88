"""Bring your own embeddings: plain files become cells like any other.

``probeline cache import`` checks files in the format of ``probeline cache export`` and keeps them
below ``data/imported/<data set>/<model>/``. In params.yaml the data set has ``source: imported``
(or images of its own, whose ids the files then repeat) and the model ``weights: imported``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cache.errors import ProbelineError
from cache.files import (
    explain_disk_errors,
    fsync_directory,
    not_through_links,
    sha256_file,
    write_durably,
)
from cache.fingerprint import fingerprint
from cache.lock import Lock
from cache.removal import discard
from cache.seals import read_sealed_json, require_digest, sealed_json
from pipeline.datasets.embedding_files import (
    Embeddings,
    Samples,
    mapped,
    read_embeddings,
    read_samples,
)
from pipeline.datasets.index import Index, former_index, read_index
from pipeline.datasets.samples import Found
from pipeline.datasets.settings import Dataset, Split
from pipeline.datasets.tables import refuse_two_spellings
from pipeline.models.card import Card
from pipeline.project.foreign_files import explain_reading
from pipeline.project.paths import (
    SPLITS,
    imported_folder,
    imported_path,
    index_path,
    name_path,
    provenance_path,
)
from pipeline.project.words import number_of

_BLOCK = 1 << 22
"""Numbers that are written in one go."""

DIGESTS = "digests.json"
"""Beside the files: their SHA-256, by name."""

_IMPORT = "import the embeddings again: probeline cache import"


@dataclass(frozen=True)
class Imported:
    """What was imported.

    Attributes
    ----------
    folder : Path
        That holds the copy.
    splits : mapping of str to Embeddings
        As they were read.
    changed : tuple of str or None
        The kept files that are others than before, without any if all are the same; None where
        there were none.
    warnings : tuple of str
        In what the samples differ from what the project has of the data set, and the like.
    """

    folder: Path
    splits: Mapping[Split, Embeddings]
    changed: tuple[str, ...] | None
    warnings: tuple[str, ...]


def import_embeddings(
    source: Path, dataset: str, model: str, declared: Sequence[str] = ()
) -> Imported:
    """Check a folder of embeddings and keep a copy of it for the study.

    Parameters
    ----------
    source : Path
        Holds for each of train and val either ``<split>.npy`` of shape (n_samples, n_features)
        and ``<split>.csv``, or ``<split>.parquet`` with one column per feature, or one column of
        lists. The table has a column class (or label), and may have columns id and group. Rows are
        kept in an order that follows from their ids, so that the kept files, whose digests name the
        cells, do not depend on the order of the source.
    dataset, model : str
    declared : sequence of str
        Names or patterns of a Parquet file's feature columns.

    Raises
    ------
    ProbelineError
        When anything does not fit; nothing is kept then.
    """
    folder = imported_path(dataset, model)
    splits = {split: read_embeddings(source, split, declared) for split in SPLITS}
    _refuse_other_features(source, splits)
    classes = [name for found in splits.values() for name in found.samples.classes]
    refuse_two_spellings(classes, f"{source}, classes of train and val")
    of_split = {split: embeddings.samples for split, embeddings in splits.items()}
    warnings = tuple(_warnings(dataset, model, of_split))
    former = _digests(folder)
    building = folder.with_name(f".{model}.partial")
    lock = Lock(folder.with_name(f".{model}.lock.partial"), str(folder))
    with lock, explain_disk_errors(folder):
        try:
            # Always the same name, and one owner: what a killed import left is taken over.
            discard(building)
            for split, embeddings in splits.items():
                samples = embeddings.samples
                order = _order(folder, split, samples.ids)
                _write_array(building / f"{split}.npy", embeddings.features, order)
                table = pd.DataFrame({"id": samples.ids, "class": samples.classes})
                if any(samples.groups):
                    table["group"] = pd.Series(samples.groups, dtype=object)
                rows = table.iloc[order].to_csv(index=False)
                write_durably(building / f"{split}.csv", rows.encode())
            digests = {p.name: sha256_file(p) for p in sorted(building.iterdir())}
            write_durably(building / DIGESTS, sealed_json(digests))
            changed = _changed(former, digests)
            if changed != ():  # before anything is replaced: a stage too many is no harm
                _make_stages_run(dataset, model, changed)
            if changed != () or not _same_file(folder / DIGESTS, building / DIGESTS):
                _replace(folder, building)
        finally:
            discard(building)
            if folder.is_dir():  # else what was there before is all that there is
                discard(_former(building))
    return Imported(folder, splits, changed, warnings)


def _replace(folder: Path, building: Path) -> None:
    """Put what was built in place; whatever ends this between two renames, one of both is there.

    But for SIGKILL: then both lie beside it, and the next import takes over.
    """
    former = _former(building)
    discard(former)
    try:
        if folder.exists():
            folder.rename(former)
        building.rename(folder)
    except BaseException:
        if former.exists() and not folder.exists():
            former.rename(folder)
        raise
    fsync_directory(folder.parent)
    discard(former)


def _former(building: Path) -> Path:
    return building.with_name(f"{building.name.removesuffix('.partial')}.former.partial")


def _same_file(one: Path, other: Path) -> bool:
    return one.is_file() and one.read_bytes() == other.read_bytes()


def _order(folder: Path, split: Split, ids: Sequence[str]) -> NDArray[np.intp]:
    """The rows in the order in which they are kept: ids as they lay there, then others by name."""
    try:
        before = {name: row for row, name in enumerate(read_samples(folder, split).ids)}
    except ProbelineError:
        before = {}
    last = len(before)
    ranked = sorted(range(len(ids)), key=lambda row: (before.get(ids[row], last), ids[row]))
    return np.array(ranked, dtype=np.intp)


def _write_array(path: Path, features: NDArray[np.float32], order: NDArray[np.intp]) -> None:
    """Write rows in some order, an array of any size without a second copy of it in memory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    layout = {"descr": "<f4", "fortran_order": False, "shape": features.shape}
    with open(path, "wb", opener=not_through_links) as file:
        np.lib.format.write_array_header_1_0(file, layout)
        step = max(1, _BLOCK // features.shape[1])
        file.writelines(
            features[order[start : start + step]].astype("<f4", copy=False).tobytes()
            for start in range(0, len(order), step)
        )
        file.flush()
        os.fsync(file.fileno())


def _changed(
    former: Mapping[str, str] | None, now: Mapping[str, str] | None
) -> tuple[str, ...] | None:
    """Which kept files are others than before; None where there were none."""
    if former is None or now is None:
        return None
    return tuple(sorted(n for n in former.keys() | now.keys() if former.get(n) != now.get(n)))


def _of_images(index: Index) -> bool:
    """Whether an index lists images, and does not read the tables of embeddings."""
    return any(any(index.digests(split)) for split in SPLITS)


def _make_stages_run(dataset: str, model: str, changed: Sequence[str] | None) -> None:
    """Take away an output of each stage that reads the kept files: DVC then runs it again.

    DVC does not know these files: it could watch them only for all data sets at once, and an import
    would have every image of the others read again.
    """
    index = former_index(dataset)
    tables = changed is None or any(name.endswith(".csv") for name in changed)
    if tables and not (index is not None and _of_images(index)):
        name_path(dataset).unlink(missing_ok=True)
    provenance_path(dataset, model).unlink(missing_ok=True)


def _refuse_other_features(source: Path, splits: Mapping[Split, Embeddings]) -> None:
    train, val = splits["train"], splits["val"]
    widths = {split: e.features.shape[1] for split, e in splits.items()}
    if len(set(widths.values())) > 1:
        raise ProbelineError(
            str(source),
            "train and val have different numbers of features",
            found=", ".join(f"{n} in {split}" for split, n in widths.items()),
            remedy="export both with the same model",
        )
    if train.columns != val.columns and len(train.columns) > 1:
        pairs = zip(train.columns, val.columns, strict=True)
        one, other = next((a, b) for a, b in pairs if a != b)
        raise ProbelineError(
            str(source),
            "train and val have different feature columns",
            found=f"{one} in train where val has {other}",
            remedy="export both with the same columns in the same order",
        )


def _digests(folder: Path) -> dict[str, str] | None:
    """What the kept files hold; None where there are none."""
    files = sorted(path for path in folder.glob("*.*") if path.name != DIGESTS)
    return {file.name: sha256_file(file) for file in files} if files else None


def require_as_imported(folder: Path) -> None:
    """Compare what was imported with the digests of then, the first time in a process.

    Raises
    ------
    CellCorruptError
        When a file is another one.
    """
    try:
        digests = read_sealed_json(folder / DIGESTS, _IMPORT)
    except FileNotFoundError:  # imported by an older version
        return
    for name, digest in digests.items():
        if (path := folder / name).exists():
            require_digest(path, str(digest), remedy=_IMPORT)


def samples_of_imported(dataset: str, entry: Dataset, root: None = None) -> Found:
    """The samples of a data set that has no images, as the first of its models lists them.

    `differing` compares all others with them, before their cells are made. Their paths are ids.
    """
    folders = _folders(dataset)
    if not folders:
        raise ProbelineError(
            f"data set {dataset}",
            "has no imported embeddings",
            expected=f"a folder {imported_folder(dataset)}/MODEL",
            remedy=f"probeline cache import FOLDER --dataset {dataset} --model MODEL",
        )
    tables = []
    require_as_imported(folders[0])
    for split in SPLITS:
        rows = read_samples(folders[0], split)
        columns = {"path": rows.ids, "class": rows.classes, "split": split, "group": rows.groups}
        tables.append(pd.DataFrame(columns).astype({"group": object}))
    samples = pd.concat(tables, ignore_index=True)
    return Found(samples.assign(offset=0, bytes=0))


def _folders(dataset: str) -> list[Path]:
    return sorted(imported_folder(dataset).glob("[!.]*/"))


def _warnings(dataset: str, model: str, splits: Mapping[Split, Samples]) -> Iterator[str]:
    """How a model's samples differ from the index, and from the other models'."""
    if both := sorted(set(splits["train"].ids) & set(splits["val"].ids)):
        yield f"{number_of(len(both), 'id is', 'ids are')} in train and in val, e.g. {both[0]}"
    index = read_index(dataset) if index_path(dataset).exists() else None
    others = [folder for folder in _folders(dataset) if folder.name != model]
    for split, samples in splits.items():
        refused = "`extract` refuses one of the two"
        if index is not None:
            how = differing(samples, samples_of_index(index, split), index.classes)
            if how:
                then = refused if _of_images(index) else "`dvc repro` indexes it anew"
                yield f"{split} differs from the index of {dataset}: {how}; {then}"
        for folder in others:
            try:
                how = differing(samples, read_samples(folder, split))
            except ProbelineError as error:
                how = f"its table can't be read: {error.problem}"
            if how:
                yield f"{split} differs from model {folder.name}: {how}; {refused}"


def samples_of_index(index: Index, split: str) -> Samples:
    """The samples of one split as the index lists them."""
    rows = index.split(split)
    return Samples(rows["path"].tolist(), rows["class"].tolist(), [None] * len(rows))


def differing(ours: Samples, theirs: Samples, numbered: Sequence[str] = ()) -> str:
    """In what the samples of one split differ from those that they must be; "" where they agree.

    Parameters
    ----------
    ours, theirs : Samples
        In any order.
    numbered : sequence of str
        Names of the classes 0, 1 and so on: a class that is the other's number agrees with it.
    """
    of_id = dict(zip(theirs.ids, theirs.classes, strict=True))
    own = set(ours.ids)
    missing = [name for name in theirs.ids if name not in own]
    surplus = [name for name in ours.ids if name not in of_id]
    if missing or surplus:
        said = [f"{len(own):,} ids where {len(of_id):,} are expected"]
        said += [f"{len(missing):,} are missing, e.g. {n}" for n in missing[:1]]
        said += [f"{len(surplus):,} are not among them, e.g. {n}" for n in surplus[:1]]
        return "; ".join(said)
    as_number = {name: str(number) for number, name in enumerate(numbered)}
    pairs = [(n, c, of_id[n]) for n, c in zip(ours.ids, ours.classes, strict=True)]
    wrong = [pair for pair in pairs if pair[1] != pair[2]]
    if not wrong or all(found == as_number.get(expected) for _, found, expected in pairs):
        return ""
    name, found, expected = wrong[0]
    return (
        f"{number_of(len(wrong), 'sample has', 'samples have')} another class, e.g. {name}: "
        f"{found} instead of {expected}"
    )


def imported_card(dataset: str, model: str) -> Card:
    """What the cells' keys need: the digest of the files stands for the weights.

    Raises
    ------
    ProbelineError
        When the model has no imported embeddings on the data set.
    """
    folder = imported_path(dataset, model)
    require_as_imported(folder)
    try:
        digests = {split: sha256_file(folder / f"{split}.npy") for split in SPLITS}
    except FileNotFoundError:
        raise ProbelineError(
            f"model {model} on data set {dataset}",
            "its embeddings are not imported",
            expected=f"the folder {folder}",
            remedy=f"probeline cache import FOLDER --dataset {dataset} --model {model}",
        ) from None
    train = folder / "train.npy"
    with explain_reading(str(train), "is damaged", "import the embeddings again"):
        columns = int(mapped(train).shape[1])
    return Card(fingerprint(digests), {}, columns, 0)
