"""Supervised against self-supervised models: at which numbers of labels they change places."""

from __future__ import annotations

import math

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.statistics.arrays import Floats
from pipeline.statistics.crossing import crossings, probability_of_none, undecided
from pipeline.statistics.evidence import Evidence
from pipeline.statistics.supervision_contrasts import Gap, interval_words
from pipeline.statistics.supervision_gaps import supervision_gaps
from pipeline.statistics.table import blank, blank_words, fill, tabled, withheld

DEFINITION = (
    "label counts where the interval of the difference contains 0, and where it changes its sign, "
    "over the logarithm of labels a class"
)
DRAWS = 4_000
NUMBERS = (
    "crossing", "crossings", "low", "high", "below", "above", "pieces", "p_none", "counts",
    "supervised", "self_supervised",
)  # fmt: skip


def label_crossing(evidence: Evidence) -> xr.Dataset:
    """At which numbers of labels the sides change places.

    Returns
    -------
    Dataset
        Dimensions head, group and dataset; variables crossing (labels a class; the first one),
        crossings (their number), low, high (of the set of label counts where the interval of the
        difference contains 0; NaN where it is empty), below, above (1 where it goes on beyond the
        counts that were tried), pieces, p_none (probability of no crossing), counts (tried),
        supervised, self_supervised (models) and claim.
    """
    gaps = supervision_gaps(evidence)
    if isinstance(gaps, str):
        return withheld(DEFINITION, gaps)
    axes = {"head": gaps.curves.heads, "group": gaps.groups, "dataset": gaps.datasets}
    table, claim = blank(axes, NUMBERS), blank_words(axes, ["claim"])
    columns = np.arange(math.prod(gaps.shape)).reshape(gaps.shape)
    for g, gap in enumerate(gaps.groups.values()):
        for h, d in np.ndindex(gaps.shape[:2]):
            mine, labels = _usable(gap, columns[h, d], gaps.labels[d])
            if len(mine) < 2:
                continue
            fill(table, (h, g, d), _crossing(gap, mine, labels))
            fill(claim, (h, g, d), {"claim": gap.claim[mine[0]]})
    return tabled(
        axes,
        {**table, **claim},
        definition=DEFINITION,
        interval=interval_words(evidence),
        p_none="the sign is the same at all counts that were tried; normal draws about "
        "what was found",
    )


def _usable(
    gap: Gap, columns: NDArray[np.int64], labels: Floats
) -> tuple[NDArray[np.int64], Floats]:
    """Columns with an interval and their labels a class, ascending and each number once."""
    order = np.argsort(labels, kind="stable")
    mine, at = columns[order], labels[order]
    usable = np.isfinite(gap.value[mine] + gap.half[mine])
    # Two budgets that come to the same number of labels: the first counts.
    usable[usable] = np.diff(at[usable], prepend=0) > 0
    return mine[usable], at[usable]


def _crossing(gap: Gap, columns: NDArray[np.int64], labels: Floats) -> dict[str, float]:
    value, half = gap.value[columns], gap.half[columns]
    at = crossings(labels, value)
    undecided_at = undecided(labels, value - half, value + half)
    none = probability_of_none(value, gap.covariance(columns), DRAWS, np.random.default_rng(0))
    return {
        "crossing": at[0] if at else np.nan,
        "crossings": len(at),
        "low": undecided_at.low,
        "high": undecided_at.high,
        "below": undecided_at.below,
        "above": undecided_at.above,
        "pieces": undecided_at.pieces,
        "p_none": none,
        "counts": len(labels),
        "supervised": gap.left[columns].min(),
        "self_supervised": gap.right[columns].min(),
    }
