"""Supervised against self-supervised models, by the number of labels: the differences."""

from __future__ import annotations

import numpy as np
import xarray as xr

from pipeline.statistics.evidence import Evidence
from pipeline.statistics.supervision_gaps import interval_words, supervision_gaps
from pipeline.statistics.withheld import withheld

DEFINITION = (
    "supervised minus self-supervised: accuracy beyond chance, (a - 1/C) / (1 - 1/C), compared "
    "within backbones"
)


def label_gap(evidence: Evidence) -> xr.Dataset:
    """The difference at every number of labels.

    Returns
    -------
    Dataset
        Dimensions head, group (all backbones, single ones, and differences between them), dataset
        (with ``mean``) and budget; variables labels (a class), difference, low, high, supervised
        and self_supervised (models), claim.
    """
    gaps = supervision_gaps(evidence)
    if isinstance(gaps, str):
        return withheld(DEFINITION, gaps)
    labels = np.broadcast_to(gaps.labels, gaps.shape)
    parts = [
        {
            "labels": np.where(np.isfinite(gap.value).reshape(gaps.shape), labels, np.nan),
            "difference": gap.value,
            "low": gap.value - gap.half,
            "high": gap.value + gap.half,
            "supervised": gap.left,
            "self_supervised": gap.right,
            "claim": np.where(np.isfinite(gap.value), gap.claim, "").astype(object),
        }
        for gap in gaps.groups.values()
    ]
    dims = ("head", "group", "dataset", "budget")
    return xr.Dataset(
        {
            name: (dims, np.stack([part[name].reshape(gaps.shape) for part in parts], axis=1))
            for name in parts[0]
        },
        coords={
            "head": gaps.curves.heads,
            "group": list(gaps.groups),
            "dataset": gaps.datasets,
            "budget": [budget.name for budget in gaps.curves.budgets],
        },
        attrs={"definition": DEFINITION, "interval": interval_words(evidence)},
    )
