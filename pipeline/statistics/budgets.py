"""The few-shot variants of a study as curves: score against labels a class, for every head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from pipeline.results.cube import scored_by
from pipeline.statistics.arrays import Floats
from pipeline.statistics.evidence import Draws, Evidence
from pipeline.statistics.remembered import remembered
from pipeline.statistics.table import tabled, withheld
from pipeline.study.budget import Budget


@dataclass(frozen=True)
class Curves:
    """Few-shot scores of all models; missing ones are NaN.

    Attributes
    ----------
    heads, datasets : list of str
    budgets : list of Budget
        Shots in ascending order, then shares.
    labels : ndarray of shape (n_datasets, n_budgets)
        Labels a class.
    chance : ndarray of shape (n_datasets,)
        1 / classes.
    accuracy, half : ndarray of shape (n_models, n_heads, n_datasets, n_budgets)
        Mean over draws, and half its interval over draws.
    draws : ndarray of shape (n_models, n_heads, n_datasets, n_budgets, n_draws)
        Every draw's accuracy; NaN beyond a budget's draws.
    """

    heads: list[str]
    datasets: list[str]
    budgets: list[Budget]
    labels: Floats
    chance: Floats
    accuracy: Floats
    half: Floats
    draws: Floats

    @property
    def axes(self) -> dict[str, list[str]]:
        """Dimensions of tables by head, data set and number of labels."""
        budgets = [budget.name for budget in self.budgets]
        return {"head": self.heads, "dataset": self.datasets, "budget": budgets}

    @property
    def corrected(self) -> Floats:
        """Accuracy beyond chance, (a - 1/C) / (1 - 1/C): 0 for guessing, 1 for all right."""
        return self._beyond_chance(self.accuracy, self.chance[:, np.newaxis])

    @property
    def corrected_draws(self) -> Floats:
        """Likewise, of every draw."""
        return self._beyond_chance(self.draws, self.chance[:, np.newaxis, np.newaxis])

    @staticmethod
    def _beyond_chance(accuracy: Floats, chance: Floats) -> Floats:
        beyond: Floats = (accuracy - chance) / (1 - chance)
        return beyond


@remembered
def curves(evidence: Evidence) -> Curves | None:
    """The curves of a study; None without few-shot scores on data sets whose classes are known."""
    cube, metric = evidence.cube, evidence.settings.metric
    found = {
        name: (variant.head, variant.budget)
        for name, variant in evidence.variants.items()
        if variant.budget is not None and not variant.task
    }
    datasets = [d for d in evidence.datasets() if d in evidence.tests]
    if not found or not datasets:
        return None
    few = cube["value"].sel(variant=list(found)).notnull().any(("model", "variant", "metric"))
    datasets = [d for d in datasets if few.sel(dataset=d)]
    if not datasets:
        return None
    heads = list(dict.fromkeys(head for head, _ in found.values()))
    budgets = sorted(
        dict.fromkeys(budget for _, budget in found.values()),
        key=lambda b: (b.shots is None, b.shots or 0, b.share or 0),
    )
    shape = (len(evidence.models), len(heads), len(datasets), len(budgets))
    accuracy, half = np.full(shape, np.nan), np.full(shape, np.nan)
    table = scored_by(cube, metric).transpose("model", "dataset", "variant")
    places = [list(cube["dataset"].values).index(d) for d in datasets]
    values, low, high = (table[n].values[:, places] for n in ("value", "ci_low", "ci_high"))
    variants = [str(v) for v in cube["variant"].values]
    for variant, (head, budget) in found.items():
        column = variants.index(variant)
        place = (slice(None), heads.index(head), slice(None), budgets.index(budget))
        accuracy[place] = values[:, :, column]
        # An end that was cut off at 0 or 1 does not tell: the other one does.
        half[place] = np.fmax(
            values[:, :, column] - low[:, :, column], high[:, :, column] - values[:, :, column]
        )
    tests = [evidence.tests[name] for name in datasets]
    labels = np.array([[b.labels(t.n_train, t.n_classes) for b in budgets] for t in tests])
    chance = np.array([1 / t.n_classes for t in tests])
    draws, images = _draws(evidence, found, heads, datasets, budgets)
    # A share comes to whole images of each class, at least one: 1% of 140 is 1, not 1.4.
    counted = np.isfinite(images) & np.array([budget.share is not None for budget in budgets])
    labels = np.where(counted, images * chance[:, np.newaxis], labels)
    return Curves(heads, datasets, budgets, labels, chance, accuracy, half, draws)


def _draws(
    evidence: Evidence,
    variants: Mapping[str, tuple[str, Budget]],
    heads: list[str],
    datasets: list[str],
    budgets: list[Budget],
) -> tuple[Floats, Floats]:
    """See `Curves.draws`; and labelled images a draw, shape (n_datasets, n_budgets)."""
    found = {
        (heads.index(head), d, budgets.index(budget)): evidence.read_draws(variant, dataset)
        for variant, (head, budget) in variants.items()
        for d, dataset in enumerate(datasets)
    }
    images = np.full((len(datasets), len(budgets)), np.nan)
    for place, each in found.items():
        if np.isfinite(each.images):
            images[place[1:]] = each.images
    return by_draw(evidence, found, (len(heads), len(datasets), len(budgets))), images


def by_draw(
    evidence: Evidence, found: Mapping[tuple[int, int, int], Draws], shape: tuple[int, int, int]
) -> Floats:
    """Scores of every draw as one array, models first and draws last.

    Parameters
    ----------
    evidence : Evidence
    found : mapping of three int to Draws
        By their places.
    shape : three int
        Of the places.

    Returns
    -------
    ndarray of shape (n_models, *shape, n_draws)
        NaN beyond what a place has.
    """
    most = max(each.scores.shape[1] for each in found.values())
    draws = np.full((len(evidence.models), *shape, most), np.nan)
    for place, each in found.items():
        for model, scores in zip(each.models, each.scores, strict=True):
            draws[(evidence.models.index(model), *place)][: len(scores)] = scores
    return draws


def label_curves(evidence: Evidence) -> xr.Dataset:
    """Accuracy against labels, for every head, data set and model.

    Returns
    -------
    Dataset
        Dimensions head, dataset, budget and model; variables labels (a class), accuracy, low, high
        (over draws) and corrected (for chance).
    """
    definition = "accuracy against the number of labels a class, mean over draws of the labels"
    found = curves(evidence)
    if found is None:
        return withheld(definition, NO_CURVES)
    order = (1, 2, 3, 0)
    labels = np.broadcast_to(found.labels[:, :, np.newaxis], found.accuracy.transpose(order).shape)
    values = {
        "accuracy": found.accuracy,
        "low": np.maximum(found.accuracy - found.half, 0),
        "high": np.minimum(found.accuracy + found.half, 1),
        "corrected": found.corrected,
    }
    known = np.isfinite(found.accuracy.transpose(order))
    return tabled(
        {**found.axes, "model": evidence.models},
        {"labels": np.where(known, labels, np.nan)}
        | {name: value.transpose(order) for name, value in values.items()},
        definition=definition,
        interval="95%, Student's t over draws of the labels, for these test images",
        corrected="(accuracy - 1/classes) / (1 - 1/classes)",
    )


NO_CURVES = "no few-shot scores on data sets whose classes are known"
