"""What a protocol's record on a cell depends on; light enough for `status`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pipeline import metrics
from pipeline.classifiers.tuning import rules_of
from pipeline.datasets.index import Index
from pipeline.finetuning import cells as finetuning
from pipeline.models.transforms import VIEW_RULES
from pipeline.study import Study

RECORD_FORMAT = 2
"""Part of every record's key: raised when the protocols' numbers or their storage change."""

Fingerprints = Callable[[str], Mapping[str, str]]
"""Of one model's cells on the data set named, and of the names of its classes and groups:
``{"train": ..., "val": ..., "names": ...}``."""


def protocols_of(study: Study) -> tuple[str, ...]:
    """The protocols that a study asks for; each has a stage and a folder of records."""
    asked = {
        "knn": True,
        "linear": True,
        "fewshot": bool(study.fewshot.shots or study.fewshot.fractions),
        "finetune": any(
            finetuning.is_finetuned(study, dataset, model)
            for dataset in study.datasets
            for model in study.models
        ),
        "transfer": bool(study.transfer.sources),
        "predictors": bool(study.predictors.names),
    }
    return tuple(protocol for protocol, wanted in asked.items() if wanted)


def is_asked(study: Study, protocol: str, dataset: str, model: str) -> bool:
    """Whether the study asks for a protocol's record on this cell; else it is *not run*.

    A cell that is not run is no gap. Fine-tuning leaves some out, as it is too heavy for all; on a
    data set without train images there is nothing but transfer from another.
    """
    if study.datasets[dataset].test_only:
        return protocol == "transfer"
    return protocol != finetuning.PROTOCOL or finetuning.is_finetuned(study, dataset, model)


def settings_of(study: Study, protocol: str) -> dict[str, Any]:
    """The settings that a protocol's numbers depend on."""
    sections = {"knn": ("neighbors", "knn"), "transfer": ("transfer", "neighbors", "knn", "linear")}
    return {name: getattr(study, name).model_dump() for name in sections.get(protocol, (protocol,))}


def record_key(
    study: Study, protocol: str, dataset: str, fingerprints: Fingerprints
) -> dict[str, Any]:
    """Everything that a protocol's record on one cell depends on.

    Parameters
    ----------
    study : Study
    protocol : str
    dataset : str
        That is tested on.
    fingerprints : callable
        Of the model's cells.
    """
    settings = settings_of(study, protocol)
    if protocol == "fewshot":  # other data sets' coarse classes change nothing here
        settings["fewshot"]["coarse"] = study.fewshot.coarse.get(dataset, {})
    key = {
        "format": RECORD_FORMAT,
        "protocol": protocol,
        "settings": settings,
        "rules": rules_of(protocol),
        **fingerprints(dataset),
    }
    if protocol == "transfer":
        others = [source for source in study.transfer.sources if source != dataset]
        key["sources"] = {
            source: {name: fingerprints(source)[name] for name in ("train", "names")}
            for source in others
        }
    if protocol != "predictors" and (names := metrics.names_in_keys()):
        key["metrics"] = names
    views = _views(study, protocol)
    if views:
        key["views"] = {"count": views, **VIEW_RULES}
    return key


def key_on(
    study: Study, protocol: str, index: Index, model: str, fingerprints: Fingerprints
) -> dict[str, Any]:
    """The key of any protocol's record on one cell; fine-tuning reads images, and no embeddings.

    Raises
    ------
    CellMissingError
        When the cell can't be named yet.
    """
    if protocol == finetuning.PROTOCOL:
        return finetuning.record_key(study, index, model)
    return record_key(study, protocol, index.name, fingerprints)


def _views(study: Study, protocol: str) -> int:
    """Augmented views of train that a protocol reads, whose cells are not among those above."""
    if protocol in ("linear", "transfer") and "sgd" in study.linear.heads:
        return study.extraction.views
    if protocol == "predictors" and "alignment" in study.predictors.names:
        return min(2, study.extraction.views)
    return 0
