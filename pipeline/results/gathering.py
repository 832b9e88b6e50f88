"""All scores of a study as one table; cells that nobody has scored stay visible."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from cache.files import sha256_bytes, sha256_file
from pipeline.project.paths import PARAMS, RESULTS, SCORES, index_path
from pipeline.study import metrics, protocol_list
from pipeline.study.records import is_asked, protocols_of
from pipeline.results.costs import recorded_costs
from pipeline.results.current import Current
from pipeline.results.foreign_scores import load_foreign, refuse_shared
from pipeline.results.score_table import (
    COLUMNS,
    DATASET_WORDS,
    MODEL_WORDS,
    typed,
)
from pipeline.results.variant_table import asked_table
from pipeline.study.schema import Study
from pipeline.study.seen import Seen, seen_cells


@dataclass(frozen=True)
class Missing:
    """A cell that the study names and nobody has scored."""

    model: str
    dataset: str
    protocol: str


def gather(study: Study) -> tuple[pd.DataFrame, list[Missing]]:
    """The scores of every cell that the study names, those imported, and the cells without any.

    Returns
    -------
    scores : DataFrame
        One row per model, data set, protocol, variant, metric and seed; see
        `pipeline.results.score_table.COLUMNS`.
    missing : list of Missing
        Of the study's own.

    Raises
    ------
    ProbelineError
        When a data set with records has no index, which tells whether they are current; when
        imported scores do not fit together, or to the study's own.
    """
    computed, missing = _computed(study)
    foreign = load_foreign(study)
    refuse_shared({str(PARAMS): computed, str(SCORES): foreign})
    if foreign.empty:
        return computed, missing
    parts = [computed, foreign] if len(computed) else [foreign]  # pandas: empty ones turn types
    return typed(pd.concat(parts, ignore_index=True)), missing


def records_digest() -> str:
    """Of every protocol's records: other outcomes of the same scores are another digest.

    Stages that read outcomes depend on the file which holds it, and not on the folders: DVC walks
    each folder that a stage depends on up to nine times.
    """
    files = (file for p in protocol_list.PROTOCOLS for file in (RESULTS / p.name).rglob("*.parquet"))
    lines = [f"{file.as_posix()} {sha256_file(file)}" for file in sorted(files)]
    return sha256_bytes("\n".join(lines).encode())


def _computed(study: Study) -> tuple[pd.DataFrame, list[Missing]]:
    current, asked = Current(study), asked_table(study)
    costs = functools.cache(lambda dataset, model: recorded_costs(dataset, model, study.models[model]))
    seen = functools.cache(lambda: _seen(study, current))
    rows, missing = [], []
    for protocol in protocols_of(study):
        for dataset, entry in study.datasets.items():
            for model, its in study.models.items():
                if not is_asked(study, protocol, dataset, model):
                    continue
                record = current.record(protocol, dataset, model)
                if record is None:
                    missing.append(Missing(model, dataset, protocol))
                    continue
                known = {
                    "model": model,
                    "dataset": dataset,
                    "protocol": protocol,
                    **{word: getattr(its, word) for word in MODEL_WORDS},
                    **{word: getattr(entry, word) or "" for word in DATASET_WORDS},
                    **costs(dataset, model),
                    "seen": seen().get((model, dataset), ""),
                }
                for score in record.scores:
                    details = json.dumps(score["details"], sort_keys=True)
                    # A record that answers the study has no other variants than it asks for.
                    label = asked[protocol, score["variant"]].label
                    told = {**score, **metrics.ends_of(score), "details": details, "label": label}
                    rows.append({**known, **told})
    return typed(pd.DataFrame(rows, columns=list(COLUMNS))), missing


def _seen(study: Study, current: Current) -> Mapping[tuple[str, str], Seen]:
    """What the models saw; a data set without index has no scores, and no classes yet."""
    return seen_cells(
        study, lambda name: current.index(name).classes if index_path(name).exists() else ()
    )
