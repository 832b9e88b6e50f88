"""What a statistic returns that has nothing to say of a study."""

from __future__ import annotations

import xarray as xr


def withheld(definition: str, reason: str) -> xr.Dataset:
    """No variables; what the statistic would be, and why there is none of it here.

    Parameters
    ----------
    definition : str
    reason : str
        Without a subject: the report says "Withheld: REASON."
    """
    return xr.Dataset(attrs={"definition": definition, "withheld": reason})
