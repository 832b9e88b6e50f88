"""How many labels are enough: choosing the best model from a few-shot score."""

from __future__ import annotations

import numpy as np
import xarray as xr

from pipeline.results.cube import comparable
from pipeline.statistics.budgets import NO_CURVES, curves
from pipeline.statistics.enough_images import choices, cost_of
from pipeline.statistics.evidence import Evidence
from pipeline.statistics.table import blank, fill, tabled, withheld
from pipeline.study.linear import LINEAR


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
    values = blank(found.axes, ("labels", "regret", "regret_high", "p_best", "models", "draws"))
    for h, d, b in np.ndindex(values["regret"].shape):
        of_all = table.sel(dataset=found.datasets[d]).values
        scores = found.draws[:, h, d, b]
        drawn = np.isfinite(scores).any(axis=0)
        models = np.isfinite(of_all) & np.isfinite(scores[:, drawn]).all(axis=1)
        if not drawn.any() or models.sum() < 2:
            continue
        best, regret = choices(scores[models][:, drawn].T, of_all[models])
        counts = {"labels": found.labels[d, b], "models": models.sum(), "draws": drawn.sum()}
        fill(values, (h, d, b), counts | cost_of(best, regret))
    return tabled(found.axes, values, definition=definition, target=truth)
