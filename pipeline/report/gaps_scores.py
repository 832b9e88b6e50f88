"""Scores that are not there: missing, without a value, not asked for, or out of reach."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.embeddings.unavailable import unavailable
from pipeline.finetuning.cells import not_run
from pipeline.report.gap import Gap
from pipeline.report.inputs import Inputs
from pipeline.report.once import once
from pipeline.study.finetune import FINETUNE
from pipeline.study.predictors import PREDICTORS
from pipeline.study.protocol_list import protocol_label
from pipeline.study.records import is_asked
from pipeline.study.transfer import TRANSFER


@once
def missing_cells(inputs: Inputs) -> Gap:
    """Cells of which the study asks for a score that is not there."""
    places: list[str] = []
    cells = 0
    for protocol, dataset, asked in _asked(inputs):
        cell = inputs.scored["value"].sel(variant=inputs.headline[protocol], dataset=dataset)
        cells += int(asked.sum())
        places += [
            f"{protocol_label(protocol)} of {inputs.models[place]} on {dataset}"
            for place in np.flatnonzero(asked & np.isnan(cell.values))
        ]
    return Gap(
        "Cells without a score",
        "The study names them and no result was there. They are never filled in: each "
        "statistic uses the models that have both scores, and says how many.",
        tuple(places),
        cells,
    )


def _asked(inputs: Inputs) -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
    """Each protocol with each data set that it can score, and whose scores are asked for.

    Or may be imported. Transfer does not reach its source.
    """
    for protocol, variant in inputs.headline.items():
        of = inputs.cube["asked"].sel(variant=variant) == 1
        reached = protocol == TRANSFER.name
        for dataset in inputs.scored_datasets(protocol) if reached else inputs.datasets():
            yield protocol, dataset, of.sel(dataset=dataset).values


def without_weights(inputs: Inputs) -> Gap:
    """Models that were left out, because their weights were not to be had."""
    cells = [(d, m) for d in inputs.study.datasets for m in inputs.study.models]
    return Gap(
        "Models without weights",
        "Their weights could not be fetched when the study ran, so they have no embeddings and no "
        "score there. `probeline models fetch`, then `dvc repro`, mends that.",
        tuple(f"{m} on {d}: {reason}" for d, m in cells if (reason := unavailable(d, m))),
        len(cells),
    )


def not_fine_tuned(inputs: Inputs) -> Gap:
    """Cells that the study leaves out of fine-tuning."""
    study = inputs.study
    cells = [(d, m) for d in study.datasets for m in study.models]
    return Gap(
        "Cells that are not fine-tuned",
        "The study does not ask for them, in its section `finetune`: they are not run, and no "
        "gap. Statistics on fine-tuning are of the other cells.",
        tuple(not_run(study)),
        len(cells),
        concerned=sum(not is_asked(study, FINETUNE.name, d, m) for d, m in cells),
    )


def transferability(inputs: Inputs) -> pd.DataFrame:
    """The rows of scores.csv that transferability metrics have."""
    rows = inputs.scores
    return rows[(rows["protocol"] == PREDICTORS.name) & (rows["metric"] == "promise")]


def undefined_predictors(inputs: Inputs) -> Gap:
    """Transferability metrics that were computed and have no value."""
    rows = transferability(inputs)
    places = [
        f"{row['label']} of {row['model']} on {row['dataset']}"
        + (f": {reason}" if (reason := json.loads(row["details"] or "{}").get("reason")) else "")
        for row in rows[rows["value"].isna()].to_dict("records")
    ]
    return Gap(
        "Transferability metrics without a value",
        "They were computed and are undefined for these models: they count as missing, and "
        "what is said of such a predictor is of the other models.",
        tuple(places),
        len(rows),
        "value",
    )


def only_test_images(inputs: Inputs) -> Gap:
    """Data sets on which nothing is trained."""
    only = [name for name, entry in inputs.study.datasets.items() if entry.test_only]
    reached = inputs.scored_datasets(TRANSFER.name) if TRANSFER.name in inputs.headline else []
    lost = "(not scored: `transfer.sources` has no data set with classes of the same names)"
    return Gap(
        "Data sets with test images only",
        "They have no train images: only transfer from another data set scores them. All else is "
        "not run there, and no gap.",
        tuple(name if name in reached else f"{name} {lost}" for name in only),
        len(inputs.study.datasets) if only else 0,
        "data set",
    )
