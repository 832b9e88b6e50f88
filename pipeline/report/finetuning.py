"""The report's section on fine-tuning: what the runs gained, and how they went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import xarray as xr

from pipeline.finetuning.cells import not_run
from pipeline.finetuning.curves import read_curves
from pipeline.finetuning.words import run_words
from pipeline.report.columns import Head, head
from pipeline.report.formats import percent, points, seconds
from pipeline.report.grouping import by_group, coloring
from pipeline.report.inputs import Inputs
from pipeline.report.panels import Cell, Table
from pipeline.report.stated import Drawn, Rows, Shown, Spec, choice, short
from pipeline.report.theme import finish
from pipeline.statistics.written import counted
from pipeline.study.budget import Budget
from pipeline.study.finetune import FINETUNE, Run
from pipeline.study.linear import LINEAR
from pipeline.study.variant import Variant

MEASURES = {
    "holdout_top1": "accuracy on the hold-out",
    "train_loss": "loss on the images trained on",
    "holdout_loss": "loss on the hold-out",
    "learning_rate": "learning rate",
}
MOST_POINTS = 20_000
"""Of all curves in the page; longer ones are thinned. results/finetune/ has them whole."""
FEWEST_POINTS = 5
"""Of a thinned curve, its ends among them."""


@dataclass(frozen=True)
class Finetuning(Shown):
    """What the section says; without choices where there are no curves.

    Attributes
    ----------
    table : Table
        A row for each run and data set.
    """

    table: Table


def figures(inputs: Inputs) -> Drawn:
    """Curves of every run, a line for each model."""
    rows = curve_rows(inputs)
    return {"finetune_curves": (_figure(inputs, rows), rows)} if rows else {}


def section(inputs: Inputs) -> Finetuning:
    """The words beside the figure."""
    table = _table(inputs)
    rows = curve_rows(inputs)
    choices = (
        choice("run", "Run", (row["run"] for row in rows)),
        choice("dataset", "Data set", (row["dataset"] for row in rows)),
        choice("measure", "Shows", _measured(rows), MEASURES.__getitem__),
        coloring(inputs),
    )
    return Finetuning(_withheld(inputs, table), choices if rows else (), table)


def curve_rows(inputs: Inputs) -> Rows:
    """Rows of `read_curves` with five digits, thinned to what a page can hold."""
    rows = read_curves(inputs.study)
    curves: dict[tuple[str, str, str], Rows] = {}
    for row in rows:
        curves.setdefault((row["dataset"], row["model"], row["run"]), []).append(row)
    most = max(FEWEST_POINTS, MOST_POINTS // max(1, len(curves)))
    return [_short(row) for curve in curves.values() for row in _thinned(curve, most)]


def _thinned(curve: Rows, most: int) -> Rows:
    if len(curve) <= most:
        return curve
    kept = set(np.linspace(0, len(curve) - 1, most).round().astype(int).tolist())
    return [row for place, row in enumerate(curve) if place in kept or row["chosen"]]


def _short(row: dict[str, Any]) -> dict[str, Any]:
    fields = ("dataset", "model", "run", "epoch", "chosen", *MEASURES)
    return {
        name: value if isinstance(value := row[name], bool | str) or value is None else short(value)
        for name in fields
    }


def _measured(rows: Rows) -> list[str]:
    return [name for name in MEASURES if any(row[name] is not None for row in rows)]


def _withheld(inputs: Inputs, table: Table) -> str:
    study = inputs.study
    if not study.models:
        return "Not run: the study names no model of its own."
    if not study.finetune.enabled:
        return "Not run: `finetune.enabled` is false in params.yaml. These cells are no gaps."
    if not table.rows:
        left = not_run(study)
        why = f"Not run: {'; '.join(left)}." if left else "No cell that is asked for has a score."
        return f"Nothing was fine-tuned. {why}"
    return ""


def _table(inputs: Inputs) -> Table:
    said = (
        Head("Run"), Head("Data set"), Head("Best model"), Head("Mean of models, %"),
        head("few_shot_head"), Head("Linear probe, %"), Head("Training, s"),
    )  # fmt: skip
    rows = []
    for name, run in inputs.study.finetune.runs.items():
        words = run_words(run)
        for dataset in inputs.datasets():
            if (row := _summary(inputs, name, run, dataset)) is not None:
                rows.append((Cell(name, words), *row))
                words = ""  # once for each run
    return Table("What the runs reached", FINETUNE.name, said, tuple(rows))


def _summary(inputs: Inputs, name: str, run: Run, dataset: str) -> tuple[Cell, ...] | None:
    """Means over the models that the run has scored; none where it has scored none."""
    variant = Variant(protocol=FINETUNE.name, called=name).full_name
    if variant not in inputs.variants:
        return None
    own = inputs.scored["value"].sel(dataset=dataset, model=list(inputs.study.models))
    scores = own.sel(variant=variant).values
    has = np.isfinite(scores)
    if not has.any():
        return None
    spent = inputs.cube["seconds"].sel(
        variant=variant, dataset=dataset, metric=inputs.metric, model=list(inputs.study.models)
    )
    best = int(np.nanargmax(scores))
    return (
        Cell(dataset),
        Cell(list(inputs.study.models)[best], percent(float(scores[best]))),
        Cell(points(float(scores[has].mean())), counted(int(has.sum()), "model")),
        _beside(inputs, own, has, _fewshot_head(inputs, run)),
        _beside(inputs, own, has, inputs.headline.get(LINEAR.name)),
        Cell(seconds(float(spent.mean()))),
    )


def _fewshot_head(inputs: Inputs, run: Run) -> str | None:
    """The few-shot variant that learns from as many labels; None where there is none."""
    if not run.few:
        return None
    budget = Budget(shots=run.shots, share=run.fraction)
    asked = (n for n, v in inputs.variants.items() if v.budget == budget and not v.task)
    return next(asked, None)


def _beside(
    inputs: Inputs, own: xr.DataArray, has: np.ndarray[Any, np.dtype[np.bool_]], variant: str | None
) -> Cell:
    """Mean of another variant over the same models."""
    if variant is None:
        return Cell("–")
    mean = float(own.sel(variant=variant).values[has].mean())
    return Cell(points(mean), inputs.variants[variant].short_label)


def _figure(inputs: Inputs, rows: Rows) -> Spec:
    color, _, groups = by_group(inputs)
    base = (
        alt.Chart()
        .transform_filter("datum.run == run && datum.dataset == dataset")
        .transform_calculate(group="groups[by][datum.model]", shown="datum[measure]")
        .transform_filter("datum.shown != null")
        .encode(
            x=alt.X(
                "epoch:Q",
                title="Epoch",
                scale=alt.Scale(zero=False, nice=False),
                axis=alt.Axis(grid=False, tickMinStep=1),
            ),
            y=alt.Y(
                "shown:Q",
                title=None,
                scale=alt.Scale(zero=False),
                axis=alt.Axis(tickCount=5, format="~g"),
            ),
            color=color,
            detail="model:N",
        )
    )
    tooltip = [
        alt.Tooltip("model:N"),
        alt.Tooltip("epoch:Q"),
        alt.Tooltip("holdout_top1:Q", format=".1%", title="hold-out"),
        alt.Tooltip("train_loss:Q", format=".3~r", title="loss"),
        alt.Tooltip("learning_rate:Q", format=".3~r", title="learning rate"),
    ]
    figure = alt.layer(
        base.mark_line(strokeWidth=1.5, opacity=0.8),
        base.transform_filter("datum.chosen")
        .mark_point(filled=True, size=70, opacity=1)
        .encode(tooltip=tooltip),
        data=alt.NamedData(name="rows"),
    ).properties(width="container", height=320)
    first = rows[0]
    return finish(
        figure, run=first["run"], dataset=first["dataset"], measure=_measured(rows)[0], **groups
    )
