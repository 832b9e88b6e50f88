"""Every column of stored statistics is one that somebody explained, and lies where they say."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from pipeline.statistics.registry import column_of


def check_columns(groups: Mapping[str, xr.Dataset]) -> None:
    """Of the groups of correlation.nc, by name ("" is not one of them)."""
    for statistic, table in groups.items():
        for name, values in table.variables.items() if statistic and table.data_vars else ():
            column = column_of(statistic, str(name))
            if column.unit == "text" or values.dtype.kind not in "fiub":
                continue
            numbers = values.values.astype(float)
            inside = numbers[np.isfinite(numbers)]
            low, high = column.range
            outside = inside[(inside < low - 1e-9) | (inside > high + 1e-9)]
            assert not len(outside), (statistic, name, outside)
