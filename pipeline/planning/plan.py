"""What `dvc repro` is going to cost: images, forward passes, disk and time, before it starts."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cache.seals import read_sealed_json
from pipeline.datasets.index import Index, former_index
from pipeline.embeddings.cells import cell_status, needed_splits, samples_of
from pipeline.embeddings.to_run import ToRun
from pipeline.finetuning.planning import FinetunePlan, plan_finetuning
from pipeline.models.cards import card_if_here, loading_part
from pipeline.models.settings import Model
from pipeline.models.zoo import known_columns
from pipeline.project.paths import PROVENANCE
from pipeline.study.schema import Study

UNKNOWN = math.nan

_BYTES = {"float16": 2, "float32": 4}

Probed = Mapping[str, tuple[float, int]]
Counts = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class DatasetPlan:
    """What one data set still needs; NaN is what nobody knows yet.

    Attributes
    ----------
    name : str
    train, val : float
        Images; unknown where the data set is not indexed and declares no `expected` counts.
    missing : int
        Models without current embeddings.
    passes : float
        Images to run through networks; entries that differ only in their feature share one. Rows
        that cells hold, and those that a stopped run has done, are not run again.
    size : float
        Bytes of the missing embeddings; unknown where a model's number of features is.
    seconds : float
        Of forward passes, at the rates measured in this project; unknown where a model never ran.
    """

    name: str
    train: float
    val: float
    missing: int
    passes: float
    size: float
    seconds: float


def plan(study: Study, probed: Probed, counted: Counts) -> list[DatasetPlan]:
    """What every data set of a study still needs; imports no torch and reads no image.

    Parameters
    ----------
    study : Study
    probed : mapping of str to (float, int)
        Seconds per image and features per image, of models that this project has not run yet.
    counted : mapping of str to mapping
        Images in ``train`` and ``val`` of each data set.
    """
    rates = {name: _measured_rate(name) for name in study.models}
    columns = {name: columns_of(name, entry) for name, entry in study.models.items()}
    for name, (seconds, width) in probed.items():
        rates[name] = seconds if math.isnan(rates[name]) else rates[name]
        columns[name] = width if math.isnan(columns[name]) else columns[name]
    indexes = {name: former_index(name) for name in study.datasets}
    missing = {name: without_cells(study, name) for name in study.datasets}
    there = {n: (index, missing[n]) for n, index in indexes.items() if index is not None}
    to_run = ToRun(study, there)
    return [
        _dataset_plan(study, name, index, missing[name], rates, columns, counted[name], to_run)
        for name, index in indexes.items()
    ]


def without_rate(study: Study) -> list[str]:
    """Models that never ran in this project, so that nobody knows how long they take."""
    return [name for name in study.models if math.isnan(_measured_rate(name))]


def finetune_plan(study: Study, probed: Probed, counted: Counts) -> FinetunePlan:
    """What fine-tuning still needs; imports no torch. Parameters as of `plan`."""
    train = {name: counts["train"] for name, counts in counted.items()}

    def rate(model: str) -> float:
        measured = _measured_rate(model)
        return probed.get(model, (UNKNOWN, 0))[0] if math.isnan(measured) else measured

    return plan_finetuning(study, functools.cache(former_index), train, functools.cache(rate))


def without_cells(study: Study, name: str) -> list[str]:
    """Models whose embeddings of a data set are still to be computed."""
    index = former_index(name)
    return [
        model
        for model in study.models
        if index is None or cell_status(study, index, model).state != "cached"
    ]


def _dataset_plan(
    study: Study,
    name: str,
    index: Index | None,
    missing: Sequence[str],
    rates: Mapping[str, float],
    columns: Mapping[str, float],
    counts: Mapping[str, float],
    to_run: ToRun,
) -> DatasetPlan:
    test_only = study.datasets[name].test_only
    images = {model: _images(study, study.models[model], counts, test_only) for model in missing}
    networks: dict[str, list[str]] = {}
    for model in missing:
        networks.setdefault(_network(study.models[model]), []).append(model)
    run = {
        models[-1]: images[models[-1]] if index is None else to_run.images(name, models)
        for models in networks.values()
    }
    stored = _BYTES[study.extraction.storage]
    return DatasetPlan(
        name,
        counts["train"],
        counts["val"],
        missing=len(missing),
        passes=sum(run.values()),
        size=sum(images[model] * columns[model] * stored for model in missing),
        seconds=sum(count * rates[model] for model, count in run.items() if count),
    )


def _images(study: Study, entry: Model, counts: Mapping[str, float], test_only: bool) -> float:
    """Images that a model sees, augmented views included; none of imported embeddings."""
    if entry.weights == "imported":
        return 0
    splits = needed_splits(study, entry, test_only=test_only)
    return sum(counts[samples_of(split)[0]] for split in splits)


def _network(entry: Model) -> str:
    return json.dumps(loading_part(entry, without_feature=True), sort_keys=True)


def columns_of(name: str, entry: Model) -> float:
    """Features per image: measured, or known of the zoo's backbones."""
    card = card_if_here(name, entry)
    return known_columns(entry.architecture, entry.feature) if card is None else card.columns


def _measured_rate(model: str) -> float:
    """Seconds that an image took this model, over all data sets where it ran."""
    images = seconds = 0.0
    for path in sorted(PROVENANCE.glob(f"*/{model}.json")):
        try:
            splits = read_sealed_json(path)["splits"].values()
            images += sum(split["images"] for split in splits)
            seconds += sum(split["seconds"] for split in splits)
        except (ValueError, KeyError, TypeError, AttributeError):
            continue  # damaged: the next extraction writes it anew
    return seconds / images if images else UNKNOWN
