"""Why models differ: gaps between objectives and between backbones.

Intervals leave out whole methods, not families: the family of generative methods is the factor
itself. Whether a gap is due to the objective or to the backbone is a question that only a filled
design can answer; see `pipeline.statistics.explained`.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.statistics.arrays import Floats, Mask, Words
from pipeline.statistics.contrasts import Contrast, difference, permutation_p, side_counts
from pipeline.statistics.design import MIN_SIDE, OBJECTIVES, contrasts_of
from pipeline.statistics.evidence import Evidence
from pipeline.statistics.jackknife import MIN_GROUPS, jackknifed
from pipeline.statistics.panel import MEAN, headline_panel, words
from pipeline.statistics.table import tabled

DIMS = ("scale", "protocol", "dataset")

RECODED = ("ibot",)
"""Methods that are both discriminative and generative: the sensitivity analysis swaps them."""

CLIP_TARGETS = ("milan", "eva", "beit_v2", "beitv2")
"""Methods that learn to predict CLIP's features, and with them its data."""

MANY_MODELS = 200
"""Beyond this, leaving out a single model is not tried."""


def gaps(evidence: Evidence) -> xr.Dataset:
    """Gaps between objectives and between backbones, on every data set and on their mean.

    Returns
    -------
    Dataset
        Dimensions contrast, scale (accuracy, logit), protocol and dataset (with ``mean``);
        variables value, low, high, n, n_left, n_right, methods, p, p_smallest and verdict.
    """
    panel = headline_panel(evidence)
    flat = panel.transpose("model", *DIMS)
    shape = flat.shape[1:]
    scores = flat.values.reshape(len(evidence.models), -1)
    method = words(evidence, "method")
    contrasts = contrasts_of(words(evidence, "objective"), words(evidence, "backbone"), method)
    confidence = evidence.settings.confidence
    rng = np.random.default_rng(0)
    parts = [_gap(c, scores, method, confidence, rng) for c in contrasts]
    return tabled(
        {"contrast": [c.name for c in contrasts]} | {name: panel[name].values for name in DIMS},
        {name: np.stack([part[name].reshape(shape) for part in parts]) for name in parts[0]},
        definition="difference of mean scores between two sides of models; within methods: "
        "mean difference of the same method on two backbones",
        interval=f"{confidence:.0%} delete-one-method jackknife, t with G-1 degrees of "
        f"freedom; withheld below {MIN_GROUPS} methods",
        p="two-sided permutation: models change sides, or the two backbones of a method "
        "change places; p_smallest is the least that so many models can give. Of the gap "
        "over all models there is none: objectives differ in backbone, too",
        source="Phipson & Smyth 2010; Efron & Stein 1981",
    )


def _gap(
    contrast: Contrast,
    scores: Floats,
    method: Words,
    confidence: float,
    rng: np.random.Generator,
) -> dict[str, NDArray[np.generic]]:
    found = jackknifed(lambda kept: difference(contrast, scores, kept), method, confidence)
    left, right = side_counts(contrast, scores)
    fewest = MIN_SIDE if contrast.strata is None else 1
    few = np.minimum(left, right) < fewest
    p = smallest = np.full(scores.shape[1], np.nan)
    if contrast.tested:
        p, smallest = permutation_p(contrast, scores, rng)
    told = np.where(found.groups < MIN_GROUPS, f"no interval: fewer than {MIN_GROUPS} methods", "")
    least = f"fewer than {fewest} models" if fewest > 1 else "no model"
    verdict = np.where(few, f"withheld: {least} with this score on a side", told)
    numbers = {"value": found.value, "low": found.low, "high": found.high, "p": p,
               "p_smallest": smallest}  # fmt: skip
    return {name: np.where(few, np.nan, values) for name, values in numbers.items()} | {
        "n": found.n,
        "n_left": left,
        "n_right": right,
        "methods": found.groups,
        "verdict": verdict.astype(object),
    }


def gap_sensitivity(evidence: Evidence) -> xr.Dataset:
    """The gaps of mean accuracy under other readings of the study.

    Returns
    -------
    Dataset
        Dimensions contrast, protocol and change; variables value and n.
    """
    panel = headline_panel(evidence).sel(scale="accuracy", dataset=MEAN)
    scores = panel.transpose("model", "protocol").values
    objective, backbone = words(evidence, "objective"), words(evidence, "backbone")
    method = words(evidence, "method")
    changes = _changes(evidence, objective, method)
    names = [c.name for c in contrasts_of(objective, backbone, method)]
    shape = (len(names), scores.shape[1], len(changes))
    value, n = np.full(shape, np.nan), np.zeros(shape, np.int64)
    for place, (recoded, kept) in enumerate(changes.values()):
        for contrast in contrasts_of(recoded, backbone, method):
            if contrast.name in names:
                row = names.index(contrast.name)
                value[row, :, place], n[row, :, place] = difference(contrast, scores, kept)
    return tabled(
        {"contrast": names, "protocol": evidence.headline, "change": changes},
        {"value": value, "n": n},
        definition="gaps of mean accuracy over data sets, as the study is and with one "
        f"thing changed; single models are left out of up to {MANY_MODELS} only",
    )


def _changes(evidence: Evidence, objective: Words, method: Words) -> dict[str, tuple[Words, Mask]]:
    """By name: the objectives of the models, and which models are kept."""
    models, family = evidence.models, words(evidence, "family")
    everyone = np.ones(len(models), bool)
    found = {"none": (objective, everyone)}
    lowered = np.char.lower(method)
    for name in RECODED:
        swapped = np.char.startswith(lowered, name) & np.isin(objective, OBJECTIVES)
        if swapped.any():
            other = np.where(objective == OBJECTIVES[0], OBJECTIVES[1], OBJECTIVES[0])
            found[f"{name} recoded"] = (np.where(swapped, other, objective), everyone)
    clip = np.any([np.char.startswith(lowered, name) for name in CLIP_TARGETS], axis=0)
    if clip.any():
        found["without targets from CLIP"] = (objective, ~clip)
    for name in np.unique(family):
        found[f"without family {name}"] = (objective, family != name)
    if len(models) <= MANY_MODELS:
        for place, name in enumerate(models):
            found[f"without model {name}"] = (objective, np.arange(len(models)) != place)
    return found
