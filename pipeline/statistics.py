"""The statistics of a study, by name: each is one function of the evidence, and one tidy table.

Every statistic returns a labelled data set whose variables all have the same dimensions, so that it
is one table as well: `results/statistics/NAME.csv`. Its attributes say what was done
(``definition``, ``source``, ``interval``) and, where it has nothing to say, why (``withheld``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import xarray as xr

from pipeline.evidence import Evidence

STATISTICS: Mapping[str, Callable[[Evidence], xr.Dataset]] = {}
"""In the order in which the report speaks of them."""


def compute_statistics(evidence: Evidence) -> dict[str, xr.Dataset]:
    """All of `STATISTICS`."""
    return {name: statistic(evidence) for name, statistic in STATISTICS.items()}


def tidy(statistic: xr.Dataset) -> str:
    """A statistic as CSV: a row for each combination of labels that has any number."""
    if not statistic.data_vars:
        return ""
    table = statistic.to_dataframe()
    numbers = list(statistic.data_vars)
    return str(table.dropna(how="all", subset=numbers).reset_index().to_csv(index=False))


def withheld(definition: str, reason: str) -> xr.Dataset:
    """A statistic that has nothing to say of this study, and why."""
    return xr.Dataset(attrs={"definition": definition, "withheld": reason})
