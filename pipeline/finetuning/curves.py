"""How fine-tuning went: each run's loss, accuracy on the hold-out and learning rate by epoch."""

from __future__ import annotations

import json
from typing import Any

from cache.errors import ProbelineError
from cache.files import write_durably
from cache.records import read_record
from pipeline.datasets.index import Index, read_index
from pipeline.finetuning.cells import is_finetuned, keys_of, run_path
from pipeline.project.paths import FINETUNE_PLOT
from pipeline.study.schema import Study

Rows = list[dict[str, Any]]

PLOTTED = ("epoch", "train_loss", "holdout_top1", "run")


def read_curves(study: Study) -> Rows:
    """A row for each epoch of each kept run that the study asks for.

    Returns
    -------
    list of dict
        Keys dataset, model, run, and those of an epoch of `pipeline.finetuning.run.Finetuned`.
    """
    rows: Rows = []
    for dataset in study.datasets:
        models = [m for m in study.models if is_finetuned(study, dataset, m)]
        index = read_index(dataset) if models else None
        for model in models:
            assert index is not None
            rows += _of_cell(study, index, model)
    return rows


def plot_rows(study: Study) -> Rows:
    """Means over models, for `dvc plots`.

    Returns
    -------
    list of dict
        Keys of `PLOTTED`; run is ``run on data set``. Accuracies are null without a hold-out. A
        plot of nothing has one row of nulls: DVC stumbles over none.
    """
    places: dict[tuple[str, str, int], Rows] = {}
    for row in read_curves(study):
        places.setdefault((row["run"], row["dataset"], row["epoch"]), []).append(row)
    return [
        {
            "epoch": epoch,
            "train_loss": _mean(rows, "train_loss"),
            "holdout_top1": _mean(rows, "holdout_top1"),
            "run": f"{run} on {dataset}",
        }
        for (run, dataset, epoch), rows in places.items()
    ] or [dict.fromkeys(PLOTTED)]


def write_plot(study: Study) -> None:
    """Keep `plot_rows` where DVC expects them, whether or not anything was trained."""
    write_durably(FINETUNE_PLOT, (json.dumps(plot_rows(study), indent=0) + "\n").encode())


def _mean(rows: Rows, name: str) -> float | None:
    known = [row[name] for row in rows if row[name] is not None]
    return round(sum(known) / len(known), 5) if known else None


def _of_cell(study: Study, index: Index, model: str) -> Rows:
    try:
        keys = keys_of(study, index, model)
    except ProbelineError:  # a clone that knows nothing of the model's weights
        return []
    found = []
    for run, key in keys.items():
        record = read_record(run_path(index.name, model, key))
        if record is not None:
            named = {"dataset": index.name, "model": model, "run": run}
            found += [named | epoch for epoch in record.scores[0]["details"]["history"]]
    return found
