"""Which out-of-domain scores the report says are predicted, and the name of a single one."""

from __future__ import annotations

import numpy as np
import xarray as xr

from pipeline.report.inputs import Inputs
from pipeline.statistics.predictions import ALL, OTHER_PROTOCOLS
from pipeline.study.protocol_list import protocol_label


def first_targets(trust: xr.Dataset) -> str:
    """The set of targets to speak of first.

    That is the statistics' headline set, unless it is one target (one data set that was fine-tuned
    on, say) while others have more: one target is no general answer.
    """
    headline = str(trust.attrs["headline_targets"])
    wider = ALL in trust["targets"].values and most_targets(trust, ALL) > 1
    return ALL if most_targets(trust, headline) == 1 and wider else headline


def most_targets(trust: xr.Dataset, targets: str) -> int:
    """Targets of a set behind any predictor's mean."""
    counts = trust["n_targets"].sel(targets=targets).values
    return int(np.nan_to_num(counts).max(initial=0))


def single_target(inputs: Inputs, targets: str, own: str) -> str:
    """In words the one target that a set has for a predictor; empty where there are several.

    Parameters
    ----------
    inputs : Inputs
    targets : str
        A set of targets, as in `pipeline.statistics.predictions`.
    own : str
        The predictor's protocol.
    """
    protocols = {
        ALL: list(inputs.headline),
        OTHER_PROTOCOLS: [protocol for protocol in inputs.headline if protocol != own],
    }.get(targets, [targets])
    found = [
        f"{protocol_label(protocol)} on {dataset}"
        for protocol in protocols
        if protocol in inputs.headline
        for dataset in inputs.scored_datasets(protocol, "out_of_domain")
    ]
    return found[0] if len(found) == 1 else ""
