"""Which models a study pre-trains, and whether their checkpoints are there; needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from cache.errors import CellCorruptError
from cache.files import sha256_file
from cache.fingerprint import differences
from cache.seals import read_sealed_json
from pipeline.datasets.images import DECODER
from pipeline.datasets.index import Index
from pipeline.datasets.samples import stratified_split
from pipeline.project.paths import checkpoint_path
from pipeline.study.pretraining import Pretrain
from pipeline.study.schema import Study

RECIPE = 1
"""Part of every checkpoint's key: raised when a method's numbers change."""

State = Literal["cached", "missing", "stale", "damaged"]


@dataclass(frozen=True)
class PretrainStatus:
    """How one checkpoint stands.

    Attributes
    ----------
    name : str
        Of the entry.
    state : {"cached", "missing", "stale", "damaged"}
    detail : str
        Why, in a few words.
    """

    name: str
    state: State
    detail: str = ""


def record_path(name: str) -> Path:
    """How a checkpoint was made, and what that cost. No dates: DVC hashes this."""
    return checkpoint_path(name).with_suffix(".json")


def unfinished_path(name: str) -> Path:
    """What an unfinished training is continued from; DVC and the readers pass it over."""
    return checkpoint_path(name).with_suffix(".training.partial")


def pretrain_key(entry: Pretrain, index: Index) -> dict[str, Any]:
    """Everything that can change a checkpoint; names can't, and the machine's part is recorded."""
    settings = entry.to_key(exclude={"dataset", "classes"})
    if entry.classes:  # else as before there was this setting
        settings["classes"] = sorted(entry.classes)
    return {
        "recipe": RECIPE,
        "decoder": DECODER,
        **index.grey_key,
        "settings": settings,
        "samples": index.samples_digest("train"),
    }


def pretrain_status(study: Study, name: str, index: Index) -> PretrainStatus:
    """How one entry's checkpoint stands, by its record and its bytes.

    Parameters
    ----------
    study : Study
    name : str
        Of an entry of `pretrain`.
    index : Index
        Of that entry's data set.
    """
    record = read_training(name)
    if record is None or not checkpoint_path(name).is_file():
        begun = unfinished_path(name).exists()
        return PretrainStatus(name, "missing", "begun, not whole" if begun else "")
    changed = differences(record["key"], pretrain_key(study.pretrain[name], index))
    if changed:
        return PretrainStatus(name, "stale", "; ".join(changed))
    if sha256_file(checkpoint_path(name)) != record["weights"]:
        return PretrainStatus(name, "damaged", "its bytes are not those that were written")
    return PretrainStatus(name, "cached")


def read_training(name: str) -> dict[str, Any] | None:
    """The record of a training; None where there is none, or a damaged one."""
    try:
        record = read_sealed_json(record_path(name))
    except (FileNotFoundError, CellCorruptError):
        return None
    whole = isinstance(record.get("key"), dict) and isinstance(record.get("weights"), str)
    return record if whole else None


def training_samples(entry: Pretrain, index: Index) -> pd.DataFrame:
    """The images that an entry is trained on: a seeded share of each of its classes of train.

    Of two shares with one seed, the smaller one's images are among the larger one's, unless
    images have groups; then whole groups are taken.
    """
    train = index.split("train")
    if entry.classes:
        train = train[train["class"].isin(entry.classes)].reset_index(drop=True)
    if entry.share == 1:
        return train
    parts = stratified_split(train["class"], entry.share, entry.seed, train["group"])
    chosen: pd.DataFrame = train[pd.Series(parts == "val")].reset_index(drop=True)
    return chosen
