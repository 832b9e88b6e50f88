"""From the runs of a cell to its record, which has the form that every protocol's has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cache.records import Record, is_current_record, read_record, write_record
from cache.removal import discard
from pipeline.datasets.index import Index
from pipeline.finetuning.cells import keys_of, record_key, run_path, unfinished_path
from pipeline.probes.scoring import score_rows, stored_outcome
from pipeline.probes.task import groups_of
from pipeline.project.paths import record_path
from pipeline.study import metrics
from pipeline.study.finetune import FINETUNE
from pipeline.study.schema import Study


def put_together(study: Study, index: Index, model: str) -> None:
    """Write one cell's record from its runs, which are all there."""
    path, key = record_path(FINETUNE.name, index.name, model), record_key(study, index, model)
    for of in keys_of(study, index, model).values():
        # A run that was stored, and stopped before it removed what it was continued from.
        discard(unfinished_path(of))
    if is_current_record(path, key):
        return
    scores: list[dict[str, Any]] = []
    tables = []
    for name, of in keys_of(study, index, model).items():
        record = _kept(index, model, of)
        details = {k: v for k, v in record.scores[0]["details"].items() if k != "history"}
        rows = _with_later_metrics(record, index)
        scores += [row | {"variant": name, "details": details} for row in rows]
        tables.append(_renamed(record.outcomes(), name))
    images = len(index.split("val"))
    outcomes = pa.concat_tables(tables, promote_options="permissive").unify_dictionaries()
    write_record(path, key=key, scores=scores, outcomes=outcomes, group_rows=images)


def _kept(index: Index, model: str, key: Mapping[str, Any]) -> Record:
    record = read_record(run_path(index.name, model, key))
    assert record is not None, "runs are stored before records"
    return record


def _with_later_metrics(record: Record, index: Index) -> list[dict[str, Any]]:
    """A run's rows, and those of metrics that were added after it, from its stored outcomes."""
    stored = {row["metric"]: row for row in record.scores}
    if set(metrics.names_in_keys()) <= set(stored):
        return record.scores
    first = record.scores[0]
    fresh = score_rows(
        stored_outcome(record.outcomes(), first),
        index.labels("val"),
        len(index.classes),
        first["n_train"],
        groups_of(index, "val"),
    )
    return [stored.get(row["metric"], row) for row in fresh]


def _renamed(outcomes: pa.Table, name: str) -> pa.Table:
    """The same outcomes under the name that the run has today."""
    variant = pa.array([name]).take(pa.array([0] * len(outcomes), pa.int32()))
    place = outcomes.schema.get_field_index("variant")
    return outcomes.set_column(place, "variant", pc.dictionary_encode(variant))
