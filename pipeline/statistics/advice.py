"""The statements on which evaluation to trust, from the tables: the same wherever printed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from pipeline.statistics import statements
from pipeline.statistics.predictions import ALL
from pipeline.statistics.statements import Leader
from pipeline.statistics.written import NOT_GIVEN
from pipeline.study.column import Column
from pipeline.study.finetune import FINETUNE
from pipeline.study.protocol_list import protocol_label

ALL_SCORES = "scores by all protocols"


def scores_word(targets: str) -> str:
    """What a set of targets is, in words."""
    return ALL_SCORES if targets == ALL else f"{protocol_label(targets)} scores"


@dataclass(frozen=True)
class Advice:
    """What is said of one set of targets.

    Attributes
    ----------
    targets : str
        `ALL`, or a protocol.
    leader : Leader or None
        The highest of the compared evaluations that are cheap; None where nothing is compared.
    text : str
        What to use.
    others : tuple of str
        What a reader must know beside it.
    """

    targets: str
    leader: Leader | None
    text: str
    others: tuple[str, ...]


def advices(
    statistics: Mapping[str, xr.Dataset], columns: Mapping[str, Column]
) -> tuple[Advice, ...]:
    """For the headline's targets first, then for each protocol.

    Parameters
    ----------
    statistics : mapping of str to Dataset
        With `comparison`; with `against_null_models` and `null_models`, where they are there.
    columns : mapping of str to Column
        By their names, as in the tables.
    """
    table = statistics.get("comparison")
    if table is None or not table.data_vars:
        return ()
    sets = [str(name) for name in table["targets"].values]
    if len(sets) == 2:  # one protocol: all targets are its own
        sets = sets[1:]
    headline = str(table.attrs["headline_targets"])
    sets.sort(key=lambda name: name != headline)
    return tuple(_advice(statistics, table, columns, name) for name in sets)


def leader_of(table: xr.Dataset, columns: Mapping[str, Column], targets: str) -> Leader | None:
    """The highest mean of the compared evaluations that are cheap; None where none is compared.

    Parameters
    ----------
    table : Dataset
        `comparison`.
    columns : mapping of str to Column
    targets : str
    """
    of = table.sel(targets=targets)
    names = [str(name) for name in of["predictor"].values]
    cheap = np.array([columns[name].protocol != FINETUNE.name for name in names])
    means = np.where(cheap & (of["compared"].values == 1), of["mean"].values, np.nan)
    if not np.isfinite(means).any():
        return None
    first = int(np.nanargmax(means))
    row = of.isel(predictor=first)
    return Leader(
        label=columns[names[first]].label,
        mean=float(row["mean"]),
        low=float(row["joint_low"]),
        high=float(row["joint_high"]),
        compared=int((of["compared"].values == 1).sum()),
        models=int(row["n"]),
        families=int(row["families"]),
        targets=int(row["n_targets"]),
        lowest=float(row["lowest"]),
        highest=float(row["highest"]),
        over_models=bool(row["over_models"] == 1),
        families_given=table.attrs.get("families", "") != NOT_GIVEN,
    )


def _advice(
    statistics: Mapping[str, xr.Dataset],
    table: xr.Dataset,
    columns: Mapping[str, Column],
    targets: str,
) -> Advice:
    of = table.sel(targets=targets)
    leader = leader_of(table, columns, targets)
    reasons = {
        columns[str(name)].label: str(reason)
        for name, reason in zip(of["predictor"].values, of["reason"].values, strict=True)
        if str(reason)
    }
    missing = statements.not_compared(reasons)
    if leader is None:
        text = f"To predict {scores_word(targets)}: nothing is compared."
        return Advice(targets, None, text, tuple(missing))
    place = [columns[str(n)].label for n in of["predictor"].values].index(leader.label)
    row = of.isel(predictor=place)
    names = ("untrained", "collapsed")
    untrained, collapsed = ([n for n in str(table.attrs[k]).split(", ") if n] for k in names)
    said = [
        statements.whose_interval(
            over_models=leader.over_models, families=leader.families, given=leader.families_given
        ),
        statements.simpson(
            leader.label, leader.mean, float(row["within"]), _count(row["within_n"])
        ),
        statements.within_reach(
            float(row["top_half"]), _count(row["top_half_n"]), float(row["top_ten"])
        ),
        statements.left_out(
            untrained, collapsed, leader.mean, float(row["with_all"]),
            out=bool(table.attrs["left_out"]),
        ),
        _worth(statistics, str(row["predictor"].item()), leader.label, targets),
        *missing,
    ]  # fmt: skip
    text = statements.advice(leader, scores_word(targets))
    return Advice(targets, leader, text, tuple(filter(None, said)))


def _worth(statistics: Mapping[str, xr.Dataset], name: str, label: str, targets: str) -> str:
    tested, nulls = (statistics.get(k) for k in ("against_null_models", "null_models"))
    if tested is None or nulls is None or not tested.data_vars or not nulls.data_vars:
        return ""
    words = dict(zip(nulls["null_model"].values, nulls["label"].values, strict=True))
    row = tested.sel(predictor=name, targets=targets)
    beaten = {
        str(words[null]): (float(of["difference"]), float(of["p_max_t"]))
        for null in row["null_model"].values
        for of in [row.sel(null_model=null)]
    }
    unknown = {
        str(words[null]): str(why)
        for null, why in zip(
            nulls["null_model"].values, nulls["unknown"].isel(targets=0).values, strict=True
        )
        if str(why)
    }
    return statements.worth_its_cost(label, beaten, unknown)


def _count(value: xr.DataArray) -> int:
    return int(value) if np.isfinite(value) else 0
