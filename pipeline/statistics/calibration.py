"""Whether the best model knows when it is wrong: calibration, and errors among its surest answers.

By the protocol's first variant that gives probabilities: ridge, often the headline, gives scores
that are none.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from pipeline.statistics.arrays import Floats, Mask
from pipeline.statistics.evidence import Evidence
from pipeline.statistics.looked_at import Looked, looked_at
from pipeline.statistics.remembered import remembered
from pipeline.statistics.shares import wilson
from pipeline.statistics.table import listed
from pipeline.study.metrics import BINS, expected_calibration_error

DRAWS = 200
STEPS = 100
"""Points of a risk-coverage curve."""


def calibration(evidence: Evidence) -> xr.Dataset:
    """How often the best model is right, by how sure it is.

    Returns
    -------
    Dataset
        A row for each bin with images; variables dataset, model, variant, bin_low, bin_high,
        n (images), confidence (their mean), accuracy, low, high, error, error_by_chance and images
        (of all bins).
    """
    sure = _sure(evidence)
    if isinstance(sure, str):
        return listed([], withheld=sure)
    confidence = evidence.settings.confidence
    return listed(
        [row for one in sure for row in _bins(*one, confidence)],
        definition=f"mean confidence and accuracy in {BINS} bins of equal width, each (low, high]; "
        "error is the mean distance of the two, weighted by images; error_by_chance what it would "
        f"be on average, over {DRAWS} draws, if every confidence were the chance of being right",
        interval=f"{confidence:.0%} Wilson interval of a bin's accuracy",
        source="Guo et al. 2017 (arXiv 1706.04599); Bröcker & Smith 2007 for error_by_chance",
    )


def _bins(looked: Looked, variant: str, of: Floats, hits: Mask, level: float) -> Any:
    edges = np.linspace(0, 1, BINS + 1)
    place = np.clip(np.searchsorted(edges, of, side="left") - 1, 0, BINS - 1)
    n = np.bincount(place, minlength=BINS)
    right = np.bincount(place, hits, BINS)
    low, high = wilson(right, n, level)
    ece = expected_calibration_error(of, hits)
    by_chance = ece_by_chance(of)
    for at in np.flatnonzero(n):
        yield {
            "dataset": looked.dataset,
            "model": looked.models[0],
            "variant": variant,
            "bin_low": edges[at],
            "bin_high": edges[at + 1],
            "n": n[at],
            "confidence": of[place == at].mean(),
            "accuracy": right[at] / n[at],
            "low": low[at],
            "high": high[at],
            "error": ece,
            "error_by_chance": by_chance,
            "images": len(of),
        }


def ece_by_chance(confidence: Floats) -> float:
    """Mean calibration error of answers that are right exactly as often as they are sure."""
    rng = np.random.default_rng(0)
    drawn = (rng.random(len(confidence)) < confidence for _ in range(DRAWS))
    return float(np.mean([expected_calibration_error(confidence, hits) for hits in drawn]))


def risk_coverage(evidence: Evidence) -> xr.Dataset:
    """Errors among the answers that the best model is surest of, by how many it may give.

    Returns
    -------
    Dataset
        A row for each step; variables dataset, model, variant, coverage (share of images
        answered), answered (how many), risk (share of wrong answers among them), threshold
        (confidence of the least sure one), aurc, best_aurc and images.
    """
    sure = _sure(evidence)
    if isinstance(sure, str):
        return listed([], withheld=sure)
    return listed(
        [row for one in sure for row in _steps(*one)],
        definition="share of wrong answers among the images answered, the surest first; images of "
        "equal confidence in any order, so each counts with their mean. aurc is the mean risk over "
        "all numbers of images answered, best_aurc what it would be if every right answer were "
        "surer than every wrong one",
        source="El-Yaniv & Wiener 2010; Geifman & El-Yaniv 2017; Geifman et al. 2019 (best_aurc)",
    )


def _steps(looked: Looked, variant: str, of: Floats, hits: Mask) -> Any:
    risk = selective_risk(of, hits)
    ideal = selective_risk(hits.astype(np.float64), hits)
    n = len(of)
    threshold = -np.sort(-of)
    for answered in np.unique(np.ceil(np.linspace(0, n, STEPS + 1)[1:]).astype(int)):
        yield {
            "dataset": looked.dataset,
            "model": looked.models[0],
            "variant": variant,
            "coverage": answered / n,
            "answered": answered,
            "risk": risk[answered - 1],
            "threshold": threshold[answered - 1],
            "aurc": risk.mean(),
            "best_aurc": ideal.mean(),
            "images": n,
        }


def selective_risk(confidence: Floats, hits: Mask) -> Floats:
    """Share of errors among the k surest answers, for k = 1 … n.

    Answers of equal confidence count with the mean error of them all: what any order gives on
    average.

    Parameters
    ----------
    confidence : ndarray of shape (n,)
    hits : ndarray of shape (n,), bool

    Returns
    -------
    ndarray of shape (n,)
    """
    values, place = np.unique(-confidence, return_inverse=True)
    place = place.ravel()
    share = np.bincount(place, ~hits, len(values)) / np.bincount(place, minlength=len(values))
    errors = share[np.sort(place)]
    risk: Floats = np.cumsum(errors) / np.arange(1, len(hits) + 1)
    return risk


@remembered
def _sure(evidence: Evidence) -> list[tuple[Looked, str, Floats, Mask]] | str:
    """The best model of each target, a variant that gives probabilities, these, and its hits."""
    looks = looked_at(evidence)
    if isinstance(looks, str):
        return looks
    found = []
    for looked in looks:
        protocol = evidence.variants[looked.variant].protocol
        own = [name for name, of in evidence.variants.items() if of.protocol == protocol]
        for name in dict.fromkeys([looked.variant, *own]):
            said = evidence.images.said(evidence.variants[name], looked.dataset)
            if looked.models[0] not in said.models:
                continue
            at = said.models.index(looked.models[0])
            of = said.confidence[at, looked.samples].astype(np.float64)
            if np.isfinite(of).all():
                hits = said.predicted[at, looked.samples] == looked.labels
                found.append((looked, name, of, hits))
                break
    if found:
        return found
    return "no variant of the best model's probe gives probabilities, only scores"
