"""Which cells are fine-tuned, under which keys, and where each run is kept; needs no torch.

A run is remembered by its key alone, not by its name: a renamed one is found again, and so is one
that was taken out of params.yaml and put back. The record that all others read, one for each model
and data set as of every protocol, is put together from the runs that the study asks for.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cache.errors import CellMissingError
from cache.fingerprint import fingerprint
from cache.records import is_current_record
from pipeline.datasets.images import DECODER
from pipeline.datasets.index import Index
from pipeline.datasets.settings import Dataset
from pipeline.embeddings.provenance import recorded_card
from pipeline.finetuning.recipes import recipe_of, run_key
from pipeline.models.card import Card
from pipeline.models.cards import card_if_here
from pipeline.models.settings import Model
from pipeline.models.transforms import VIEW_RULES
from pipeline.project.paths import FINETUNING, record_path
from pipeline.study import metrics
from pipeline.study.finetune import FINETUNE, Run
from pipeline.study.schema import Study

FORMAT = 1
"""Part of every key: raised when what a run stores changes."""


def is_finetuned(study: Study, dataset: str, model: str) -> bool:
    """Whether the study asks for this cell: it is named, and there are images and a network."""
    asked = study.finetune
    return (
        asked.enabled
        and model in (asked.models or study.models)
        and dataset in (asked.datasets or study.datasets)
        and not _no_network(study.models[model])
        and not _no_images(study.datasets[dataset])
    )


def not_run(study: Study) -> list[str]:
    """What of the study is not fine-tuned, and why; a line for each model or data set."""
    asked = study.finetune
    if not study.models:
        return []
    if not asked.enabled:
        return ["all cells (`finetune.enabled` is false)"]
    models = {m: _no_network(entry) for m, entry in study.models.items()}
    datasets = {d: _no_images(entry) for d, entry in study.datasets.items()}
    for of, named, key in (
        (models, asked.models, "models"),
        (datasets, asked.datasets, "datasets"),
    ):
        for name in of:
            if named and name not in named:
                of[name] = f"not named in `finetune.{key}`"
    return [
        *(f"{model} on all data sets ({why})" for model, why in models.items() if why),
        *(f"all models on {dataset} ({why})" for dataset, why in datasets.items() if why),
    ]


def _no_network(entry: Model) -> str:
    """Why a model can't be trained; empty where it can."""
    imported = entry.weights == "imported"
    return "of imported embeddings there is no network to train" if imported else ""


def _no_images(entry: Dataset) -> str:
    """Why there is nothing to train on; empty where there is."""
    if not entry.has_images:
        return "of imported embeddings there are no images"
    return "it has test images only" if entry.test_only else ""


def keys_of(study: Study, index: Index, model: str) -> dict[str, dict[str, Any]]:
    """Everything that can change each run's numbers on one cell, by the run's name.

    Raises
    ------
    CellMissingError
        When nobody knows yet which weights the model has.
    """
    entry, card = study.models[model], _card(study, index.name, model)
    common = {
        "format": FORMAT,
        "decoder": DECODER,
        "views": VIEW_RULES,
        "train": index.samples_digest("train"),
        "val": index.samples_digest("val"),
        "names": index.names_digest,
        "pad": index.pad,
        **index.grey_key,
        "architecture": entry.architecture,
        "arguments": entry.arguments,
        "weights": card.weights,
        "feature": entry.feature,
        "transform": dict(card.transform),
        "seed": study.finetune.seed,
    }
    seed = study.fewshot.seed
    draws = {"draws": seed if index.seeds == "row" else {"seed": seed, "by": index.seeds}}
    return {
        name: common | {"run": run_key(run)} | (draws if run.few else {})
        for name, run in study.finetune.runs.items()
    }


def record_key(study: Study, index: Index, model: str) -> dict[str, Any]:
    """What the record on one cell is put together from; the first run is the headline.

    A metric that was added later stands in it, and not in the runs' keys: it is computed from what
    they have stored, as nobody wants to train again for it.
    """
    keys = keys_of(study, index, model)
    runs = [[name, fingerprint(key)] for name, key in keys.items()]
    key = {"format": FORMAT, "protocol": FINETUNE.name, "runs": runs}
    return key | ({"metrics": names} if (names := metrics.names_in_keys()) else {})


def epochs_of(run: Run) -> int:
    """How many epochs a run takes; they depend neither on the network nor on the images."""
    return recipe_of(run, share=1, transformer=False).epochs


def run_path(dataset: str, model: str, key: Mapping[str, Any]) -> Path:
    """What one run found: its scores, its outcomes, and how it went."""
    return record_path(FINETUNE.name, dataset, model).with_suffix("") / f"{_short(key)}.parquet"


def unfinished_path(key: Mapping[str, Any]) -> Path:
    """The folder that a killed run goes on from; neither DVC nor git looks at it."""
    return FINETUNING / f"{_short(key)}.partial"


def runs_to_do(study: Study, index: Index, model: str) -> list[str]:
    """Names of the runs of one cell that are not kept."""
    keys = keys_of(study, index, model)
    kept = {name: run_path(index.name, model, key) for name, key in keys.items()}
    return [name for name, key in keys.items() if not is_current_record(kept[name], key)]


def _short(key: Mapping[str, Any]) -> str:
    return fingerprint(key)[:32]


def _card(study: Study, dataset: str, model: str) -> Card:
    """By the weights on this machine, or where they are not here, by what extraction recorded."""
    entry = study.models[model]
    card = card_if_here(model, entry) or recorded_card(dataset, model, entry)
    if card is None:
        raise CellMissingError(
            f"model {model} on data set {dataset}",
            "can't be named before it was loaded once: its weights are not known yet",
            remedy=f"run `dvc repro` (or `python -m stages.extract {dataset}`)",
        )
    return card
