"""Few-shot scores of the same images as simpler problems: fewer classes at a time, or coarse ones.

All at one number of shots, from the same draws; see `pipeline.probes.problems`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.results.cube import comparable
from pipeline.statistics.arrays import Floats
from pipeline.statistics.budgets import by_draw
from pipeline.statistics.evidence import Draws, Evidence
from pipeline.study.budget import Budget
from pipeline.study.variant import Variant

ALL_CLASSES, COARSE = "all_classes", "coarse"

NO_COMPLEXITIES = "no few-shot scores of fewer classes at a time, or of coarse ones"


@dataclass(frozen=True)
class Complexities:
    """Scores beyond chance of all models on problems of different complexity; missing ones are NaN.

    Attributes
    ----------
    budget : Budget
    heads, datasets : list of str
    tasks : list of str
        ``2_classes`` and so on, ascending, `ALL_CLASSES`, and `COARSE` if any data set has it.
    classes, chance : ndarray of shape (n_datasets, n_tasks)
        Among how many classes each test image is judged, and what guessing scores; NaN where the
        data set has no such problem.
    corrected : ndarray of shape (n_models, n_heads, n_datasets, n_tasks)
        Accuracy beyond chance c, (a - c) / (1 - c): 0 for guessing, 1 for all right. Mean over
        draws.
    corrected_draws : ndarray of shape (n_models, n_heads, n_datasets, n_tasks, n_draws)
        Of every draw.
    """

    budget: Budget
    heads: list[str]
    datasets: list[str]
    tasks: list[str]
    classes: Floats
    chance: Floats
    corrected: Floats
    corrected_draws: Floats


def complexities(evidence: Evidence) -> Complexities | None:
    """The scores of a study; None where no simpler problem was asked."""
    variants = evidence.variants.values()
    budget = next((variant.budget for variant in variants if variant.task), None)
    if budget is None:
        return None
    of_budget = [variant for variant in variants if variant.budget == budget]
    heads = list(dict.fromkeys(variant.head for variant in of_budget if variant.task))
    ways = {variant.task: variant.ways for variant in of_budget if variant.ways}
    coarse = [variant.task for variant in of_budget if variant.coarse]
    tasks = [*sorted(ways, key=lambda task: ways[task] or 0), ALL_CLASSES, *coarse[:1]]
    there = {(v.head, v.task or ALL_CLASSES): v for v in of_budget}
    names = [there[h, t].full_name if (h, t) in there else "" for h in heads for t in tasks]
    table = comparable(evidence.cube, evidence.settings.metric).reindex(variant=names)
    tested = [name for name in evidence.datasets() if name in evidence.tests]
    values = table.sel(dataset=tested).transpose("model", "variant", "dataset").values
    scores = values.reshape(len(evidence.models), len(heads), len(tasks), len(tested))
    scores = scores.swapaxes(2, 3)
    asked = np.isfinite(scores[..., np.array(tasks) != ALL_CLASSES]).any(axis=(0, 1, 3))
    if not asked.any():
        return None
    datasets = [name for name, there in zip(tested, asked, strict=True) if there]
    scores = scores[:, :, asked]
    draws, classes, chance = _drawn(evidence, there, heads, datasets, tasks)
    scored = np.isfinite(scores).any(axis=(0, 1))
    classes, chance = (np.where(scored, of, np.nan) for of in (classes, chance))
    room = 1 - chance
    return Complexities(
        budget,
        heads,
        datasets,
        tasks,
        classes,
        chance,
        (scores - chance) / room,
        (draws - chance[..., np.newaxis]) / room[..., np.newaxis],
    )


def _drawn(
    evidence: Evidence,
    variants: Mapping[tuple[str, str], Variant],
    heads: list[str],
    datasets: list[str],
    tasks: list[str],
) -> tuple[Floats, Floats, Floats]:
    """Scores by draw, classes and chance; see `Complexities`."""
    shape = (len(heads), len(datasets), len(tasks))
    found = {
        (h, d, t): evidence.read_draws(variants[heads[h], tasks[t]].full_name, datasets[d])
        for h, d, t in np.ndindex(shape)
        if (heads[h], tasks[t]) in variants
    }
    classes, chance = np.full(shape[1:], np.nan), np.full(shape[1:], np.nan)
    for (h, d, t), each in found.items():
        if not np.isfinite(chance[d, t]):
            classes[d, t], chance[d, t] = _guessing(
                each, variants[heads[h], tasks[t]], evidence.tests[datasets[d]].n_classes
            )
    return by_draw(evidence, found, shape), classes, chance


def _guessing(draws: Draws, variant: Variant, n_classes: int) -> tuple[float, float]:
    """Classes and chance: as the scores tell, else as the variant does; of coarse ones unknown."""
    if draws.classes:
        return draws.classes, draws.chance
    if variant.coarse:
        return np.nan, np.nan
    classes = variant.ways or n_classes
    return classes, 1 / classes
