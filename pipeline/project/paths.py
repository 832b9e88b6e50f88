"""Where everything lies, relative to the project's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from cache.cell import CellAddress
from pipeline.project.names import checked_name

PARAMS = Path("params.yaml")
STUDIES = Path("studies")
DATA = Path("data")
RAW = DATA / "raw"
SECTIONS = DATA / "study"
INDEX = DATA / "index"
WEIGHTS = DATA / "weights"
WEIGHTS_LOCK = Path("weights.lock.json")
CARDS = DATA / "cards"
CHECKPOINTS = DATA / "checkpoints"
IMPORTED = DATA / "imported"
EMBEDDINGS = DATA / "embeddings"
CELLS = DATA / "cells"
NEIGHBORS = DATA / "neighbors"
FINETUNING = DATA / "finetuning"
PROVENANCE = DATA / "provenance"
FORMER = DATA / "former"
RESULTS = Path("results")
SCORES = Path("scores")
MACHINE = Path(".probeline")
SCORES_CSV = RESULTS / "scores.csv"
SCORES_NC = RESULTS / "scores.nc"
CORRELATION_NC = RESULTS / "correlation.nc"
SIMILARITY_NC = RESULTS / "similarity.nc"
STATISTICS = RESULTS / "statistics"
METRICS_JSON = RESULTS / "metrics.json"
PLOTS = RESULTS / "plots"
FINETUNE_PLOT = PLOTS / "finetune.json"
REPORT = Path("report") / "index.html"
SUMMARY = Path("report") / "summary.md"

SPLITS: tuple[Literal["train"], Literal["val"]] = ("train", "val")
"""Every data set has these two. Nothing is ever tuned on ``val``."""


def index_path(dataset: str) -> Path:
    """The data set's table of images."""
    return INDEX / f"{_dataset(dataset)}.parquet"


def section_path(section: str) -> Path:
    """A section of params.yaml as a file of its own, by which DVC sees its changes."""
    return SECTIONS / f"{checked_name(section, 'section')}.json"


def dataset_section_path(dataset: str) -> Path:
    """One data set's part of that section: a change of it concerns no other."""
    return SECTIONS / "datasets" / f"{_dataset(dataset)}.json"


def name_path(dataset: str) -> Path:
    """What makes DVC refuse other names at once, by .dvcignore; see dvc.yaml."""
    return DATA / "names/of/letters/digits/and/underscores" / _dataset(dataset) / "name"


def imported_path(dataset: str, model: str) -> Path:
    """The embeddings of a model that were brought from elsewhere."""
    return imported_folder(dataset) / _model(model)


def imported_folder(dataset: str) -> Path:
    """A folder for each model whose embeddings of the data set were brought from elsewhere."""
    return IMPORTED / _dataset(dataset)


def checkpoint_path(pretrained: str) -> Path:
    """The weights of a model that this study pre-trained; its record is beside it, as .json."""
    return CHECKPOINTS / f"{checked_name(pretrained, 'pre-trained model')}.safetensors"


def cell_address(dataset: str, model: str, split: str) -> CellAddress:
    """The place of one split's embeddings."""
    return CellAddress(EMBEDDINGS / _dataset(dataset) / f"{_model(model)}.zarr", split)


def cells_path(dataset: str) -> Path:
    """Digests of the data set's embeddings, by which DVC sees their changes."""
    return CELLS / f"{_dataset(dataset)}.json"


def neighbors_folder(dataset: str, model: str) -> Path:
    """The nearest train images of a model's val and train images, a file for each space."""
    return NEIGHBORS / _dataset(dataset) / _model(model)


def neighbors_path(dataset: str, model: str, metric: str, normalization: str) -> Path:
    """The nearest train images of a model's val and train images, in one space."""
    return neighbors_folder(dataset, model) / f"{metric}_{normalization}.parquet"


def provenance_path(dataset: str, model: str) -> Path:
    """How and by what the embeddings were computed, and what that cost."""
    return PROVENANCE / _dataset(dataset) / f"{_model(model)}.json"


def records_folder(protocol: str, dataset: str) -> Path:
    """A protocol's outcomes on one data set, a file for each model."""
    return RESULTS / protocol / _dataset(dataset)


def record_path(protocol: str, dataset: str, model: str) -> Path:
    """A protocol's outcome on one cell."""
    return records_folder(protocol, dataset) / f"{_model(model)}.parquet"


def former_folder(protocol: str, dataset: str, model: str) -> Path:
    """Records of a cell that others have replaced; of no deeper folders, see `own_folders`."""
    return FORMER / f"{protocol}-{_dataset(dataset)}" / _model(model)


def _dataset(name: str) -> str:
    return checked_name(name, "data set")


def _model(name: str) -> str:
    return checked_name(name, "model")
