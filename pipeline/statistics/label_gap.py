"""Supervised against self-supervised models, by the number of labels: the differences."""

from __future__ import annotations

import numpy as np
import xarray as xr

from pipeline.statistics.evidence import Evidence
from pipeline.statistics.labels_seen import left_out
from pipeline.statistics.supervision_contrasts import gap_variables, interval_words
from pipeline.statistics.supervision_gaps import supervision_gaps
from pipeline.statistics.table import tabled, withheld

DEFINITION = (
    "supervised minus self-supervised: accuracy beyond chance, (a - 1/C) / (1 - 1/C), compared "
    "within backbones, where pre-training has not seen labels of the tested classes"
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
    variables = gap_variables(gaps.groups, gaps.shape)
    labels = np.broadcast_to(gaps.labels, variables["difference"].shape)
    known = np.where(np.isfinite(variables["difference"]), labels, np.nan)
    return tabled(
        {
            "head": gaps.curves.heads,
            "group": gaps.groups,
            "dataset": gaps.datasets,
            "budget": gaps.curves.axes["budget"],
        },
        {"labels": known} | variables,
        definition=DEFINITION,
        interval=interval_words(evidence),
        **left_out(evidence, gaps.curves.datasets),
    )
