"""Supervised against self-supervised models, on every head, data set and number of labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.statistics.arrays import Floats
from pipeline.statistics.budgets import NO_CURVES, Curves, curves
from pipeline.statistics.evidence import Evidence
from pipeline.statistics.panel import MEAN
from pipeline.statistics.remembered import remembered
from pipeline.statistics.supervision_contrasts import (
    Gap,
    gaps_of,
    with_mean,
)


@dataclass(frozen=True)
class SupervisionGaps:
    """All comparisons. Their columns are heads x data sets (the mean last) x numbers of labels.

    Attributes
    ----------
    curves : Curves
    groups : mapping of str to Gap
        By `ALL`, a backbone, or ``one backbone - another``; at least one.
    """

    curves: Curves
    groups: dict[str, Gap]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Heads, data sets with their mean, numbers of labels."""
        found = self.curves
        return len(found.heads), len(found.datasets) + 1, len(found.budgets)

    @property
    def datasets(self) -> list[str]:
        """Names of the data sets, and of their mean."""
        return [*self.curves.datasets, MEAN]

    @property
    def labels(self) -> Floats:
        """Labels a class, shape (n_datasets + 1, n_budgets); of the mean only shots have one."""
        of_mean = [np.nan if b.shots is None else b.shots for b in self.curves.budgets]
        return np.vstack([self.curves.labels, of_mean])


@remembered
def supervision_gaps(evidence: Evidence) -> SupervisionGaps | str:
    """Every comparison that the study allows, or why there is none."""
    found = curves(evidence)
    if found is None:
        return NO_CURVES
    # Shares come to other numbers of labels on every data set, so they have no mean.
    shares = [budget.shots is None for budget in found.budgets]
    tables = []
    for corrected in (found.corrected, found.corrected_draws):
        table = with_mean(evidence, found.datasets, corrected)
        table[:, :, -1, shares] = np.nan
        tables.append(table)
    groups = gaps_of(evidence, *tables)
    return groups if isinstance(groups, str) else SupervisionGaps(found, groups)
