"""Few-shot scores of the same images as simpler problems: fewer classes at a time, or coarse ones.

All at one number of shots, from the same draws; see `pipeline.probes.problems`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.scores.cube import comparable
from pipeline.statistics.evidence import Draws, Evidence

Floats = NDArray[np.float64]

ALL_CLASSES, COARSE = "all_classes", "coarse"

_VARIANT = re.compile(rf"fewshot/(.+)_(\d+_shots?)_(\d+_classes|{COARSE})")

NO_COMPLEXITIES = "no few-shot scores of fewer classes at a time, or of coarse ones"


@dataclass(frozen=True)
class Complexities:
    """Scores beyond chance of all models on problems of different complexity; missing ones are NaN.

    Attributes
    ----------
    budget : str
        ``10_shots``.
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

    budget: str
    heads: list[str]
    datasets: list[str]
    tasks: list[str]
    classes: Floats
    chance: Floats
    corrected: Floats
    corrected_draws: Floats


def parse(variant: str) -> tuple[str, str, str] | None:
    """Head, budget and task of a few-shot variant on a simpler problem; None for all others."""
    found = _VARIANT.fullmatch(variant)
    return (found[1], found[2], found[3]) if found else None


def complexities(evidence: Evidence) -> Complexities | None:
    """The scores of a study; None where no simpler problem was asked."""
    parsed = [known for v in evidence.cube["variant"].values if (known := parse(str(v)))]
    if not parsed:
        return None
    budget = parsed[0][1]
    of_budget = [(head, task) for head, shots, task in parsed if shots == budget]
    heads = list(dict.fromkeys(head for head, _ in of_budget))
    simpler = dict.fromkeys(task for _, task in of_budget)
    counts = sorted(simpler.keys() - {COARSE}, key=_number)
    tasks = [*counts, ALL_CLASSES, *([COARSE] if COARSE in simpler else [])]
    table = comparable(evidence.cube, evidence.settings.metric)
    table = table.reindex(variant=[_variant(h, budget, t) for h in heads for t in tasks])
    tested = [name for name in evidence.datasets() if name in evidence.tests]
    values = table.sel(dataset=tested).transpose("model", "variant", "dataset").values
    scores = values.reshape(len(evidence.models), len(heads), len(tasks), len(tested))
    scores = scores.swapaxes(2, 3)
    asked = np.isfinite(scores[..., np.array(tasks) != ALL_CLASSES]).any(axis=(0, 1, 3))
    if not asked.any():
        return None
    datasets = [name for name, there in zip(tested, asked, strict=True) if there]
    scores = scores[:, :, asked]
    draws, classes, chance = _drawn(evidence, budget, heads, datasets, tasks)
    there = np.isfinite(scores).any(axis=(0, 1))
    classes, chance = (np.where(there, of, np.nan) for of in (classes, chance))
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
    evidence: Evidence, budget: str, heads: list[str], datasets: list[str], tasks: list[str]
) -> tuple[Floats, Floats, Floats]:
    """Scores by draw, classes and chance; see `Complexities`."""
    shape = (len(heads), len(datasets), len(tasks))
    found = {
        (h, d, t): evidence.read_draws(_variant(heads[h], budget, tasks[t]), datasets[d])
        for h, d, t in np.ndindex(shape)
    }
    most = max(each.scores.shape[1] for each in found.values())
    draws = np.full((len(evidence.models), *shape, most), np.nan)
    classes, chance = np.full(shape[1:], np.nan), np.full(shape[1:], np.nan)
    for (h, d, t), each in found.items():
        for model, scores in zip(each.models, each.scores, strict=True):
            draws[evidence.models.index(model), h, d, t, : len(scores)] = scores
        if not np.isfinite(chance[d, t]):
            classes[d, t], chance[d, t] = _guessing(
                each, tasks[t], evidence.tests[datasets[d]].n_classes
            )
    return draws, classes, chance


def _guessing(draws: Draws, task: str, n_classes: int) -> tuple[float, float]:
    """Classes and chance: as the scores tell, else by the task's name; of coarse ones unknown."""
    if draws.classes:
        return draws.classes, draws.chance
    if task == COARSE:
        return np.nan, np.nan
    classes = n_classes if task == ALL_CLASSES else _number(task)
    return classes, 1 / classes


def _variant(head: str, budget: str, task: str) -> str:
    return f"fewshot/{head}_{budget}" + ("" if task == ALL_CLASSES else f"_{task}")


def _number(task: str) -> int:
    return int(task.partition("_")[0])
