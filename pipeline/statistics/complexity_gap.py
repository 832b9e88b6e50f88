"""Supervised against self-supervised models, by how complex the problem is."""

from __future__ import annotations

import numpy as np
import xarray as xr

from pipeline.statistics.arrays import Floats
from pipeline.statistics.complexities import (
    ALL_CLASSES,
    NO_COMPLEXITIES,
    Complexities,
    complexities,
)
from pipeline.statistics.evidence import Evidence
from pipeline.statistics.labels_seen import left_out, unseen_weights
from pipeline.statistics.panel import MEAN
from pipeline.statistics.supervision_contrasts import (
    gap_variables,
    gaps_of,
    interval_words,
    with_mean,
)
from pipeline.statistics.table import tabled, withheld

DEFINITION = (
    "supervised minus self-supervised: accuracy beyond chance c, (a - c) / (1 - c), compared "
    "within backbones, where pre-training has not seen labels of the tested classes; the same "
    "labelled and test images as problems of few classes, of all, and of coarse ones. A task "
    "`one - another` is the change of the difference from the other to the one"
)


def complexity_gap(evidence: Evidence) -> xr.Dataset:
    """The difference on every problem, and its changes from simpler ones to all classes.

    Changes are paired by models, images and draws: each model's score on one problem less that on
    the other, beyond chance, is compared as scores are.

    Returns
    -------
    Dataset
        Dimensions head, group (all backbones, single ones, and differences between them), dataset
        (with ``mean``, over those that have any simpler problem, where all of them have the task)
        and task (``2_classes``, ..., ``all_classes``, ``coarse``, ``all_classes - 2_classes``, ...,
        ``all_classes - coarse``); variables classes (an image is judged among; of the mean their
        geometric mean), chance, difference, low, high, supervised and self_supervised (models),
        claim. Classes and chance are NaN of changes.
    """
    found = complexities(evidence)
    if found is None:
        return withheld(DEFINITION, NO_COMPLEXITIES)
    tables = [with_mean(evidence, found.datasets, found.corrected),
              with_mean(evidence, found.datasets, found.corrected_draws)]  # fmt: skip
    groups = gaps_of(evidence, *(_with_changes(found, table) for table in tables))
    if isinstance(groups, str):
        return withheld(DEFINITION, groups)
    tasks = [*found.tasks, *(f"{ALL_CLASSES} - {task}" for task in _simpler(found))]
    datasets = [*found.datasets, MEAN]
    variables = gap_variables(groups, (len(found.heads), len(datasets), len(tasks)))
    shape = variables["difference"].shape
    told = {
        name: np.where(np.isfinite(variables["difference"]), np.broadcast_to(of, shape), np.nan)
        for name, of in _circumstances(evidence, found, len(tasks)).items()
    }
    return tabled(
        {"head": found.heads, "group": groups, "dataset": datasets, "task": tasks},
        told | variables,
        definition=DEFINITION,
        budget=found.budget.name,
        shots=found.budget.shots or 0,
        interval=interval_words(evidence),
        **left_out(evidence, found.datasets),
    )


def _simpler(found: Complexities) -> list[str]:
    return [task for task in found.tasks if task != ALL_CLASSES]


def _with_changes(found: Complexities, table: Floats) -> Floats:
    """Columns of tasks (axis 3), with those of the changes behind them."""
    whole = table[:, :, :, [found.tasks.index(ALL_CLASSES)]]
    simpler = table[:, :, :, [found.tasks.index(task) for task in _simpler(found)]]
    return np.concatenate([table, whole - simpler], axis=3)


def _circumstances(evidence: Evidence, found: Complexities, n_tasks: int) -> dict[str, Floats]:
    """Classes and chance, shape (n_datasets + 1, n_tasks)."""
    weights = unseen_weights(evidence, found.datasets)
    counted = weights != 0
    # Rounded: the mean of equal numbers is that number.
    classes = np.round(np.exp(weights[counted] @ np.log(found.classes[counted])), 9)
    whole = {
        "classes": np.vstack([found.classes, classes]),
        "chance": np.vstack([found.chance, weights[counted] @ found.chance[counted]]),
    }
    room = np.full((len(weights) + 1, n_tasks - len(found.tasks)), np.nan)
    return {name: np.hstack([of, room]) for name, of in whole.items()}
