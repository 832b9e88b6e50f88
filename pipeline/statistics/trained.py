"""Models that no headline is over: untrained ones, and ones whose training collapsed.

They are the worst by every protocol, so a few of them make any predictor look good: with 2 of 16
untrained, a true ρ of 0 is a printed .33. What is left out is never chosen by its accuracy, which
is the outcome: untrained is what params.yaml or the scores' table says, and collapsed is a matter
of the features alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.pretraining.collapse import has_collapsed
from pipeline.statistics.arrays import Mask
from pipeline.statistics.correlation import MIN_MODELS
from pipeline.statistics.evidence import Evidence
from pipeline.statistics.panel import words
from pipeline.statistics.remembered import remembered
from pipeline.study.predictors import PREDICTORS
from pipeline.study.variant import Variant

RANKME = Variant(protocol=PREDICTORS.name, called="rankme").full_name
"""Whose ``value`` is the effective rank of a model's train features."""


@dataclass(frozen=True)
class LeftOut:
    """Models that no headline is over.

    Attributes
    ----------
    untrained, collapsed : tuple of str
        In the study's order; a model is in one of them.
    mask : ndarray of bool, shape (n_models,)
        Who is left out: nobody, where fewer than four others are left.
    ranked : int
        Models whose rank is known.
    """

    untrained: tuple[str, ...]
    collapsed: tuple[str, ...]
    mask: Mask
    ranked: int


@remembered
def left_out(evidence: Evidence) -> LeftOut:
    """Who is untrained or collapsed."""
    models = np.array(evidence.models, np.str_)
    untrained = np.isin(models, sorted(evidence.untrained))
    untrained |= words(evidence, "method") == "random"
    untrained |= words(evidence, "supervision") == "none"
    collapsed, ranked = _collapsed(evidence)
    collapsed &= ~untrained
    mask = untrained | collapsed
    if (~mask).sum() < MIN_MODELS:
        mask = np.zeros_like(mask)
    return LeftOut(
        tuple(models[untrained].tolist()), tuple(models[collapsed].tolist()), mask, ranked
    )


def _collapsed(evidence: Evidence) -> tuple[Mask, int]:
    """Who has collapsed, and of how many that is known."""
    cube = evidence.cube
    nobody = np.zeros(len(evidence.models), bool)
    there = RANKME in cube["variant"].values and "value" in cube["metric"].values
    if not there or "dimension" not in cube.coords:
        return nobody, 0
    rank = cube["value"].sel(variant=RANKME, metric="value").transpose("model", "dataset").values
    tests = [evidence.tests.get(name) for name in evidence.datasets()]
    images = np.array([np.nan if test is None else test.n_train for test in tests])
    width = cube["dimension"].values.astype(np.float64)[:, np.newaxis]
    known = np.isfinite(rank) & np.isfinite(width) & np.isfinite(images)
    low = has_collapsed(rank, np.minimum(width, images))
    measured = known.any(axis=1)
    return measured & (low | ~known).all(axis=1), int(measured.sum())
