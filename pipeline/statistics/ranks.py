"""Ranks of the models on every data set, and how sure they are."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.statistics.evidence import Evidence
from pipeline.statistics.image_noise import ImageColumn, draw_together, image_noise, no_outcomes
from pipeline.statistics.rank_sets import (
    confidence_set,
    rank_intervals,
    ranks_of,
    simultaneous_sets,
)
from pipeline.statistics.withheld import withheld

DRAWS = 2_000
"""Of the test images; an end of a 95% interval lies on its 50th."""

DIMS = ("protocol", "dataset", "model")
DEFINITION = "rank of each model by the protocol's headline variant, 1 is best"
NUMBERS = ("score", "rank", "low", "high", "set_low", "set_high", "p_best", "n_test")


def ranks(evidence: Evidence) -> xr.Dataset:
    """Ranks with percentile intervals, simultaneous sets, and who can't be told from the best.

    Returns
    -------
    Dataset
        Dimensions protocol, dataset and model; variables of `NUMBERS`: score, rank, low and high
        (percentile interval, marginal), set_low and set_high (simultaneous over the models), p_best
        (of the model confidence set) and n_test.
    """
    columns = image_noise(evidence).columns
    if not columns:
        return withheld(DEFINITION, no_outcomes(evidence))
    shape = (len(evidence.headline), len(evidence.datasets()), len(evidence.models))
    values = {name: np.full(shape, np.nan) for name in NUMBERS}
    for p, variant in enumerate(evidence.headline.values()):
        for d, dataset in enumerate(evidence.datasets()):
            column = columns.get((variant, dataset))
            if column is not None and len(column.models) > 1:
                places = [evidence.models.index(name) for name in column.models]
                for name, found in _one(column, evidence.settings.confidence).items():
                    values[name][p, d, places] = found
    confidence = evidence.settings.confidence
    return xr.Dataset(
        {name: (DIMS, value) for name, value in values.items()},
        coords={
            "protocol": list(evidence.headline),
            "dataset": evidence.datasets(),
            "model": evidence.models,
        },
        attrs={
            "definition": DEFINITION,
            "interval": f"low, high: {confidence:.0%} percentile interval over {DRAWS:,} redrawn "
            "test sets, marginal: for that model alone. set_low, set_high: for all models at "
            "once, step-down max-t",
            "p_best": "models with p above 1 - confidence can't be told from the best (model "
            "confidence set, T_max); not transitive",
            "source": "Hansen, Lunde & Nason 2011; Mogstad, Romano, Shaikh & Wilhelm 2024",
        },
    )


def _one(column: ImageColumn, confidence: float) -> dict[str, NDArray[np.number]]:
    """The variables of one protocol and data set, each of shape (n_models,)."""
    [draws] = draw_together([column], DRAWS, np.random.default_rng(0))
    low, high = rank_intervals(draws, confidence)
    best, worst, _ = simultaneous_sets(column.scores, draws, confidence)
    return {
        "score": column.scores,
        "rank": ranks_of(column.scores),
        "low": low,
        "high": high,
        "set_low": best,
        "set_high": worst,
        "p_best": confidence_set(column.scores, draws),
        "n_test": np.full(len(column.scores), column.images),
    }
