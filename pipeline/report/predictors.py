"""What the report's first screen says of each predictor of out-of-domain scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from pipeline.report.inputs import Inputs
from pipeline.report.once import once
from pipeline.report.targets import first_targets, most_targets, single_target
from pipeline.statistics.predictions import ALL
from pipeline.study.column import EACH_TARGET, Column
from pipeline.study.finetune import FINETUNE
from pipeline.study.protocol_list import classifies

PROTOCOL, EMBEDDINGS, OF_TARGETS, TRAINED = "protocol", "embeddings", "of_targets", "trained"
"""Kinds: judging images, in-domain embeddings, embeddings of each target, training all models."""

_NAN = float("nan")

_DIFFERENCE = {
    "difference": "difference", "difference_low": "joint_low", "difference_high": "joint_high",
    "p": "p_max_t", "detectable": "detectable",
}  # fmt: skip


@dataclass(frozen=True)
class Predictor:
    """One variant on one in-domain data set, as a predictor of out-of-domain scores.

    Attributes
    ----------
    column : Column
    mean, low, high : float
        Spearman ρ, averaged over the targets and models that all compared predictors have, with an
        interval that holds for all of them at once.
    lowest, highest : float
        ρ on single targets.
    by_protocol : dict of str to float
        The same mean over the targets of each protocol alone.
    targets, models, families : int
        Behind the mean; of models the fewest behind one ρ, and their families.
    only_target : str
        Its name where there is one alone.
    lone, lone_low, lone_high : float
        The same for the headline's one target, where the mean is over a wider set; else NaN.
    comparisons : int
        How many predictors were compared with the reference on these targets, or where the two
        share none of them on all targets: p is corrected for them all.
    difference, difference_low, difference_high, p, detectable : float
        From the reference on the same models and targets, interval and p for all such comparisons
        at once; NaN for the reference itself.
    seconds : float
        Measured, per model, embeddings given; NaN if not known.
    """

    column: Column
    mean: float
    low: float
    high: float
    lowest: float
    highest: float
    by_protocol: dict[str, float]
    targets: int
    models: int
    families: int
    only_target: str
    lone: float
    lone_low: float
    lone_high: float
    comparisons: int
    difference: float
    difference_low: float
    difference_high: float
    p: float
    detectable: float
    seconds: float

    @property
    def kind(self) -> str:
        """What it asks for: `PROTOCOL`, `EMBEDDINGS`, `OF_TARGETS` or `TRAINED`."""
        if self.column.protocol == FINETUNE.name:
            return TRAINED
        if classifies(self.column.protocol):
            return PROTOCOL
        return OF_TARGETS if self.column.dataset == EACH_TARGET else EMBEDDINGS

    @property
    def name(self) -> str:
        """In words."""
        return self.column.label


@once
def predictors(inputs: Inputs) -> tuple[Predictor, ...]:
    """All that are compared, best mean Spearman first; none where that was withheld."""
    table = inputs.told("comparison")
    if not table.data_vars:
        return ()
    chosen, headline = first_targets(table), str(table.attrs["headline_targets"])
    protocols = [str(name) for name in table["targets"].values if str(name) != ALL]
    found = []
    for label in map(str, table["predictor"].values):
        every = table.sel(predictor=label)
        of = every.sel(targets=chosen)
        if not np.isfinite(of["mean"]):
            continue
        found.append(
            Predictor(
                column=inputs.columns[label],
                mean=float(of["mean"]),
                low=float(of["joint_low"]),
                high=float(of["joint_high"]),
                lowest=float(of["lowest"]),
                highest=float(of["highest"]),
                by_protocol={name: float(every["mean"].sel(targets=name)) for name in protocols},
                targets=_count(of["n_targets"]),
                models=_count(of["n"]),
                families=_count(of["families"]),
                only_target=(
                    single_target(inputs, chosen, "") if _count(of["n_targets"]) == 1 else ""
                ),
                **_alone(every.sel(targets=headline), chosen != headline),
                **_against_reference(inputs, label, chosen),
                seconds=_seconds(inputs, label, chosen),
            )
        )
    return tuple(sorted(found, key=lambda p: -p.mean))


def lone_target(inputs: Inputs) -> str:
    """The headline's one target, where the first screen speaks of more; else empty."""
    table = inputs.told("comparison")
    if not table.data_vars:
        return ""
    headline = str(table.attrs["headline_targets"])
    if first_targets(table) == headline or most_targets(table, headline) != 1:
        return ""
    return single_target(inputs, headline, "")


def _count(value: xr.DataArray) -> int:
    return int(value) if np.isfinite(value) else 0


def _alone(of: xr.Dataset, wanted: bool) -> dict[str, Any]:
    return {
        f"lone{end}": float(of[name]) if wanted else _NAN
        for end, name in (("", "mean"), ("_low", "joint_low"), ("_high", "joint_high"))
    }


def _against_reference(inputs: Inputs, label: str, targets: str) -> dict[str, Any]:
    found = inputs.told("predictor_differences")
    reference = str(found.attrs.get("reference", ""))
    offered = found["targets"].values if found.data_vars and reference else ()
    for name in (targets, ALL):
        if name in offered:
            every = found.sel(reference=reference, targets=name)
            cell = every.sel(predictor=label)
            if np.isfinite(cell["difference"]):
                return {"comparisons": int(every["p_max_t"].notnull().sum())} | {
                    key: float(cell[variable]) for key, variable in _DIFFERENCE.items()
                }
    return {"comparisons": 0} | dict.fromkeys(_DIFFERENCE, _NAN)


def _seconds(inputs: Inputs, label: str, targets: str) -> float:
    found = inputs.told("fidelity_cost")
    if not found.data_vars or label not in found["predictor"].values:
        return _NAN
    return float(found["seconds"].sel(predictor=label, targets=targets))
