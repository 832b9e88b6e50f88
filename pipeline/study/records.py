"""What a protocol's record on a cell depends on; light enough for `status`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pipeline.datasets.index import Index
from pipeline.models.transforms import VIEW_RULES
from pipeline.study import metrics, protocol_list
from pipeline.study.protocol_list import protocol_named
from pipeline.study.schema import Study

RECORD_FORMAT = 3
"""Part of every record's key: raised when the protocols' numbers or their storage change.

3: a class without a vote is no hit of top-5 accuracy, and calibration errors are computed from
float64. All probes are scored again from cached features and neighbours; fine-tuning is not.
"""

_FORMAT_WITHOUT_METRICS = 2
"""Of records of protocols that classify nothing, which that did not concern."""

Fingerprints = Callable[[str], Mapping[str, str]]
"""Of one model's cells on the data set named, and of the names of its classes and groups:
``{"train": ..., "val": ..., "names": ...}``; with what seeds the data set's views and draws, as
``seeds`` (where nothing says it: the row)."""


def protocols_of(study: Study) -> tuple[str, ...]:
    """The protocols that a study asks for; each has a stage and a folder of records."""
    return tuple(p.name for p in protocol_list.PROTOCOLS if p.is_wanted(study))


def is_asked(study: Study, protocol: str, dataset: str, model: str) -> bool:
    """Whether the study asks for a protocol's record on this cell; else it is *not run*.

    A cell that is not run is no gap. Fine-tuning leaves some out, as it is too heavy for all; on a
    data set without train images there is nothing but transfer from another.
    """
    return protocol_named(protocol).is_asked(study, dataset, model)


def settings_of(study: Study, protocol: str) -> dict[str, Any]:
    """The settings that a protocol's numbers depend on."""
    return {
        Study.model_fields[name].serialization_alias or name: getattr(study, name).to_key()
        for name in protocol_named(protocol).sections
    }


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
    of = protocol_named(protocol)
    cells = dict(fingerprints(dataset))
    seeds = cells.pop("seeds", "row")
    key: dict[str, Any] = {
        "format": RECORD_FORMAT if of.classifies else _FORMAT_WITHOUT_METRICS,
        "protocol": protocol,
        "settings": settings_of(study, protocol) | of.settings(study, dataset),
        "rules": of.rules(),
        **cells,
    }
    if of.sources is not None:
        key["sources"] = {
            source: {name: fingerprints(source)[name] for name in ("train", "names")}
            for source in of.sources(study, dataset)
        }
    if of.classifies and (names := metrics.names_in_keys()):
        key["metrics"] = names
    if of.drawn and seeds != "row":
        key["draws"] = seeds
    if views := of.views(study):  # whose cells are not among those above
        key["views"] = {"count": views, **VIEW_RULES}
        if seeds != "row":
            key["views"]["seed"] = seeds
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
    of = protocol_named(protocol)
    if of.key is not None:
        return of.key(study, index, model)
    return record_key(study, protocol, index.name, fingerprints)
