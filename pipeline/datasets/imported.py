"""Bring your own embeddings: plain files become cells like any other.

``probeline cache import`` checks files in the format of ``probeline cache export`` and keeps them
below ``data/imported/<data set>/<model>/``. In params.yaml the data set has ``source: imported``
(or images of its own, whose ids the files then repeat) and the model ``weights: imported``.
"""

from __future__ import annotations

import io
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cache.errors import ProbelineError
from cache.files import explain_disk_errors, fsync_directory, sha256_file, write_durably
from cache.fingerprint import fingerprint
from pipeline.models.cards import Card
from pipeline.project.paths import SPLITS, imported_folder, imported_path


@dataclass(frozen=True)
class Embeddings:
    """One split of imported embeddings.

    Attributes
    ----------
    features : ndarray of shape (n_samples, n_features), float32
    ids : list of str
    classes : list of str
        Class name of each row.
    """

    features: NDArray[np.float32]
    ids: list[str]
    classes: list[str]


def import_embeddings(source: Path, dataset: str, model: str) -> Path:
    """Check a folder of embeddings and keep a copy of it for the study.

    Parameters
    ----------
    source : Path
        Holds for each of train and val either ``<split>.npy`` of shape (n_samples, n_features)
        and ``<split>.csv``, or ``<split>.parquet`` with one column per feature. The table has a
        column class (or label), and may have a column id.
    dataset, model : str

    Returns
    -------
    Path
        The folder that holds the copy.

    Raises
    ------
    ProbelineError
        When anything does not fit; nothing is kept then.
    """
    folder = imported_path(dataset, model)
    splits = {split: read_embeddings(source, split) for split in SPLITS}
    widths = {split: e.features.shape[1] for split, e in splits.items()}
    if len(set(widths.values())) > 1:
        raise ProbelineError(
            str(source),
            "train and val have different numbers of features",
            found=", ".join(f"{n} in {split}" for split, n in widths.items()),
            remedy="export both with the same model",
        )
    building = folder.with_name(f".{model}.{os.getpid()}.partial")
    with explain_disk_errors(folder):
        try:
            for split, embeddings in splits.items():
                buffer = io.BytesIO()
                np.save(buffer, embeddings.features)
                write_durably(building / f"{split}.npy", buffer.getvalue())
                table = pd.DataFrame({"id": embeddings.ids, "class": embeddings.classes})
                write_durably(building / f"{split}.csv", table.to_csv(index=False).encode())
            shutil.rmtree(folder, ignore_errors=True)
            building.rename(folder)
            fsync_directory(folder.parent)
        finally:
            shutil.rmtree(building, ignore_errors=True)
    return folder


def imported_samples(dataset: str) -> pd.DataFrame:
    """The samples of a data set that has no images, as the first of its models lists them.

    Returns
    -------
    DataFrame
        Columns path (the id), offset, bytes, class, split, group, as for images.
    """
    of_models = imported_folder(dataset)
    folders = sorted(of_models.glob("[!.]*/"))
    if not folders:
        raise ProbelineError(
            f"data set {dataset}",
            "has no imported embeddings",
            expected=f"a folder {of_models}/MODEL",
            remedy=f"probeline cache import FOLDER --dataset {dataset} --model MODEL",
        )
    tables = []
    for split in SPLITS:
        rows = read_embeddings(folders[0], split)
        tables.append(pd.DataFrame({"path": rows.ids, "class": rows.classes, "split": split}))
    samples = pd.concat(tables, ignore_index=True)
    return samples.assign(offset=0, bytes=0, group=None)


def imported_card(dataset: str, model: str) -> Card:
    """What the cells' keys need: the digest of the files stands for the weights.

    Raises
    ------
    ProbelineError
        When the model has no imported embeddings on the data set.
    """
    folder = imported_path(dataset, model)
    try:
        digests = {split: sha256_file(folder / f"{split}.npy") for split in SPLITS}
        columns = int(np.load(folder / "train.npy", mmap_mode="r").shape[1])
    except FileNotFoundError:
        raise ProbelineError(
            f"model {model} on data set {dataset}",
            "its embeddings are not imported",
            expected=f"the folder {folder}",
            remedy=f"probeline cache import FOLDER --dataset {dataset} --model {model}",
        ) from None
    return Card(fingerprint(digests), {}, columns, 0)


def read_embeddings(folder: Path, split: str) -> Embeddings:
    """Read and check one split of a folder; see `import_embeddings` for its form.

    Raises
    ------
    ProbelineError
        When the files are absent or do not fit together.
    """
    npy, csv, parquet = (folder / f"{split}{suffix}" for suffix in (".npy", ".csv", ".parquet"))
    place = str(folder / split)
    try:
        if parquet.exists():
            table = pd.read_parquet(parquet)
            named = [c for c in table.columns if c not in ("id", "label", "class")]
            features = table[named].to_numpy(np.float32)
        else:
            features = np.load(npy, allow_pickle=False).astype(np.float32)
            table = pd.read_csv(csv, dtype=str, keep_default_na=False)
    except FileNotFoundError as error:
        raise ProbelineError(
            place,
            "there are no embeddings of this split",
            expected=f"{split}.npy and {split}.csv, or {split}.parquet",
            found=f"no {Path(error.filename).name} in {folder}",
            remedy="see `probeline cache import --help`",
        ) from None
    except (ValueError, TypeError, OSError) as error:
        raise ProbelineError(
            place,
            "can't be read as embeddings",
            found=str(error)[:300],
            remedy="save a plain numeric array of shape (samples, features)",
        ) from None
    return _checked(place, features, table)


def _checked(place: str, features: NDArray[np.float32], table: pd.DataFrame) -> Embeddings:
    if features.ndim != 2 or len(features) != len(table) or features.size == 0:
        raise ProbelineError(
            place,
            "embeddings and table do not fit together",
            expected="one row of features for each row of the table, at least one",
            found=f"features of shape {features.shape}, {len(table)} rows in the table",
            remedy="export both from the same run",
        )
    if not np.isfinite(features).all():
        row = int(np.argmin(np.isfinite(features).all(axis=1)))
        raise ProbelineError(
            place,
            "a feature is not a finite number",
            found=f"row {row}",
            remedy="export that row again, or leave it out",
        )
    column = "class" if "class" in table.columns else "label"
    if column not in table.columns:
        raise ProbelineError(
            place,
            "the table has no column class (or label)",
            found=f"columns {', '.join(map(str, table.columns))}",
            remedy="add a column with each row's class",
        )
    split = Path(place).name
    numbered = [f"{split}/{row:08d}" for row in range(len(table))]
    ids = table["id"].astype(str).tolist() if "id" in table.columns else numbered
    if len(set(ids)) != len(ids):
        twice = pd.Series(ids)[pd.Series(ids).duplicated()].iloc[0]
        raise ProbelineError(
            place,
            "an id is given twice",
            found=str(twice),
            remedy="keep one row for each sample",
        )
    return Embeddings(features, ids, table[column].astype(str).tolist())
