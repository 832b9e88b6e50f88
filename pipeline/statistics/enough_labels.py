"""How many labels are enough: choosing the best model from a few-shot score."""

from __future__ import annotations

import numpy as np
import xarray as xr

from pipeline.results.cube import comparable
from pipeline.statistics.budgets import NO_CURVES, curves
from pipeline.statistics.enough_images import choices
from pipeline.statistics.evidence import Evidence
from pipeline.statistics.withheld import withheld
from pipeline.study.linear import LINEAR

NUMBERS = ("labels", "regret", "regret_high", "p_best", "models", "draws")


def enough_labels(evidence: Evidence) -> xr.Dataset:
    """What choosing a model by one draw of labels costs, and how often it is the best one.

    Returns
    -------
    Dataset
        Dimensions head, dataset and budget; variables labels (a class), regret (mean loss in
        accuracy against the best model with all labels), regret_high (its 95th percentile over
        draws), p_best (how often it is the best model, even if by one image), models and draws.
    """
    definition = (
        "choosing the model with the highest few-shot score, by one draw of the labels on all test "
        "images, against the linear probe with all labels"
    )
    found, truth = curves(evidence), evidence.headline.get(LINEAR.name)
    if found is None or truth is None:
        return withheld(definition, NO_CURVES if found is None else "no linear probe to choose for")
    table = comparable(evidence.cube, evidence.settings.metric).sel(variant=truth)
    shape = (len(found.heads), len(found.datasets), len(found.budgets))
    values = {name: np.full(shape, np.nan) for name in NUMBERS}
    for h, d, b in np.ndindex(shape):
        of_all = table.sel(dataset=found.datasets[d]).values
        scores = found.draws[:, h, d, b]
        drawn = np.isfinite(scores).any(axis=0)
        models = np.isfinite(of_all) & np.isfinite(scores[:, drawn]).all(axis=1)
        if not drawn.any() or models.sum() < 2:
            continue
        best, regret = choices(scores[models][:, drawn].T, of_all[models])
        told = (found.labels[d, b], regret.mean(), np.quantile(regret, 0.95), best.mean(),
                models.sum(), drawn.sum())  # fmt: skip
        for name, value in zip(NUMBERS, told, strict=True):
            values[name][h, d, b] = value
    dims = ("head", "dataset", "budget")
    return xr.Dataset(
        {name: (dims, value) for name, value in values.items()},
        coords={
            "head": found.heads,
            "dataset": found.datasets,
            "budget": [budget.name for budget in found.budgets],
        },
        attrs={"definition": definition, "target": truth},
    )
