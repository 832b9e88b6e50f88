"""What would settle each open question, in sentences; see `power`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from pipeline.statistics.t_power import MOST, NUMBERS
from pipeline.statistics.tie_cost import POWER
from pipeline.statistics.written import counted, rounded
from pipeline.study.protocol_list import protocol_label


def to_settle_it(statistics: Mapping[str, xr.Dataset]) -> tuple[str, ...]:
    """What would settle each open question, a sentence each; empty where nothing is known.

    Parameters
    ----------
    statistics : mapping of str to Dataset
        With `power`.
    """
    table = statistics.get("power")
    if table is None or not table.data_vars:
        return ()
    said = []
    for place in range(table.sizes["question"]):
        row = table.isel(question=place)
        name = str(row["question"].item())
        kind, _, protocol = name.partition("/")
        said.append(
            settling(
                kind, str(row["first"].item()), str(row["second"].item()),
                {number: float(row[number]) for number in (*NUMBERS, "targets")}, protocol,
            )
        )  # fmt: skip
    return tuple(filter(None, said))


def settling(
    kind: str,
    first: str,
    second: str,
    of: Mapping[str, float],
    protocol: str = "",
    power: float = POWER,
) -> str:
    """One sentence: how many of what tell two things apart, and how many there are."""
    what = f"{first} from {second}" + (f" by {protocol_label(protocol)}" if protocol else "")
    noun = {"models": "model", "data sets": "data set", "test images": "test image"}[kind]
    points = f"{100 * of['difference']:g}"
    difference = (
        f"a Δρ of {of['difference']:g}" if kind == "models"
        else f"{points} point{'s' * (points != '1')}"
    )  # fmt: skip
    has = f"the study has {counted(of['now'], noun)}"
    if not of["needed"] < np.inf:
        return f"No number of {noun}s up to {MOST:,} would tell {what} at {difference}; {has}."
    ends = ""
    if np.isfinite(of["needed_low"]):
        high = f"{rounded(of['needed_high']):,}" if of["needed_high"] < np.inf else f"{MOST:,}"
        ends = f" ({rounded(of['needed_low']):,} to {high}, as far as this study tells)"
    on = f" on {counted(of['targets'], 'target')} like these" if kind == "models" else ""
    takes = f"{counted(rounded(of['needed']), noun)}{ends}{on}"
    if of["needed"] <= of["now"]:
        return f"{takes} tell {what} at {difference} in {power:.0%} of cases; {has}."
    would = f"{takes} would tell {what} at {difference} in {power:.0%} of cases"
    return f"To settle it: {would}; {has}."
