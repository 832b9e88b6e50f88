"""The report's table of all scores."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from pipeline.report.inputs import Inputs
from pipeline.study import metrics
from pipeline.study.metric import TRANSFERABILITY
from pipeline.study.protocol_list import classifies

_DIGITS = 5
"""Decimals of accuracies: finer than a test image in 100,000."""

_WORDS = ("family", "backbone", "method", "supervision", "objective")


def score_table(inputs: Inputs) -> dict[str, Any]:
    """Every score, for the table in the page.

    Returns
    -------
    dict
        models, datasets, variants, metrics (names), of_metrics (by name: in words, which direction
        is better, how it is written), cells[variant][metric][model][data set], each [value,
        low, high] or None, and None for a model, or a metric, without any; first, the variant to
        begin with; and seen[model][data set], what the model was trained on, in words, both by
        name and only where something is known.
    """
    cube = inputs.all_scores.transpose("variant", "metric", "model", "dataset")
    stacked = np.stack([cube[n].values for n in ("value", "ci_low", "ci_high")], axis=-1)
    # The correlated metric first: it is what the page shows when it opens. Numbers of cheap
    # predictors are no scores.
    of_metrics = [str(name) for name in cube["metric"].values]
    order = [i for i, name in enumerate(of_metrics) if name not in TRANSFERABILITY]
    order.sort(key=lambda i: of_metrics[i] != inputs.metric)
    headline = set(inputs.headline.values())
    judges = [i for i, v in enumerate(cube["protocol"].values) if classifies(str(v))]
    names = [str(cube["variant"].values[i]) for i in judges]
    words = {name: inputs.words(name) for name in _WORDS}
    return {
        "models": [
            {"name": model} | {name: of[model] for name, of in words.items()}
            for model in inputs.models
        ],
        "datasets": [_dataset(inputs, name) for name in inside_first(inputs)],
        "variants": [
            {"name": v, "label": inputs.variants[v].label, "headline": v in headline} for v in names
        ],
        "metrics": [of_metrics[i] for i in order],
        "of_metrics": {of_metrics[i]: _metric(of_metrics[i]) for i in order},
        "cells": _cells(inputs, stacked[judges][:, order]),
        "first": _first(inputs, names),
        "seen": _seen(inputs),
    }


def _first(inputs: Inputs, names: list[str]) -> int:
    """The place of the variant that the answer is by: what the table opens with."""
    answers = inputs.headline.get(inputs.decides, "")
    return names.index(answers) if answers in names else 0


def _seen(inputs: Inputs) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for (model, dataset), seen in inputs.seen.items():
        found.setdefault(model, {})[dataset] = seen.words
    return found


def _metric(name: str) -> dict[str, Any]:
    of = metrics.metric_named(name)
    return {
        "label": of.label,
        "lower": not of.higher_is_better,
        "percent": of.is_share,
        "digits": of.digits,
    }


def inside_first(inputs: Inputs) -> list[str]:
    """All data sets: in-domain, out-of-domain, then those without a role."""
    return [name for role in ("in_domain", "out_of_domain", "") for name in inputs.datasets(role)]


def _dataset(inputs: Inputs, name: str) -> dict[str, Any]:
    test = inputs.tests.get(name)
    of = inputs.cube.sel(dataset=name)
    return {
        "name": name,
        "role": inputs.roles[name],
        "shift": str(of["shift"].item()),
        "n_test": int(of["n_test"]) or None,
        "n_classes": None if test is None else test.n_classes,
    }


def _cells(inputs: Inputs, stacked: Any) -> list[Any]:
    datasets = inputs.datasets()
    rounded = stacked[..., [datasets.index(d) for d in inside_first(inputs)], :].round(_DIGITS)
    return [
        [
            _or_nothing(
                _or_nothing(
                    None if np.isnan(cell[0]) else [_finite(x) for x in cell] for cell in row
                )
                for row in rows
            )
            for rows in metric
        ]
        for metric in rounded
    ]


def _or_nothing(cells: Iterable[Any]) -> list[Any] | None:
    """None in place of a list that holds nothing else: two thirds of a page would be nulls."""
    found = list(cells)
    return found if any(cell is not None for cell in found) else None


def _finite(x: float) -> float | None:
    return float(x) if np.isfinite(x) else None
