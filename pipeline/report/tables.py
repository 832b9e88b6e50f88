"""The report's tables: scores, cost, provenance."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.models.cards import loading_part
from pipeline.models.settings import Model
from pipeline.models.transform_origin import in_one_line, transform_parts
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


@dataclass(frozen=True)
class ModelRows:
    """What a section says that has one row for each model of the study's own."""

    rows: list[dict[str, Any]]

    @property
    def withheld(self) -> str:
        """Why there is none."""
        if self.rows:
            return ""
        return (
            "All scores were imported: how they were computed, and at what cost, is not known here."
        )


def costs(inputs: Inputs) -> ModelRows:
    """The rows of `cost_table`."""
    return ModelRows(cost_table(inputs))


@dataclass(frozen=True)
class Provenances(ModelRows):
    """The rows of `provenance_table`, and what is the same for all models, told once.

    Attributes
    ----------
    same : tuple of (str, str)
        Heading and text.
    columns : mapping of str to str
        Headings by the rows' keys: what models differ in.
    """

    same: tuple[tuple[str, str], ...]
    columns: dict[str, str]


_ORIGINS = {
    "feature": "Feature",
    "transform": "Image transform",
    "set": "Set in the study",
    "precision": "Precision",
    "device": "Computed on",
    "versions": "Packages",
}


def provenances(inputs: Inputs) -> Provenances:
    """Where embeddings come from, by model and for all of them."""
    rows = provenance_table(inputs)
    texts = {key: {str(row[key]) for row in rows} for key in _ORIGINS}
    alike = {key for key, found in texts.items() if len(found) == 1 and len(rows) > 1}
    return Provenances(
        rows,
        tuple((heading, rows[0][key]) for key, heading in _ORIGINS.items() if key in alike),
        {key: heading for key, heading in _ORIGINS.items() if key not in alike},
    )


def cost_table(inputs: Inputs) -> list[dict[str, Any]]:
    """Measured seconds per model, summed over data sets; None where nothing was recorded.

    Returns
    -------
    list of dict
        Keys model, parameters, gmacs, images, extraction, and one per protocol (headline variant).
    """
    # A variant's seconds stand in the rows of all its metrics.
    scores = inputs.scores.drop_duplicates(["model", "dataset", "protocol", "variant"])
    headline = [inputs.variants[name] for name in inputs.headline.values()]
    keys = pd.MultiIndex.from_frame(scores[["protocol", "variant"]])
    first = scores[keys.isin([(variant.protocol, variant.name) for variant in headline])]
    spent = first.groupby(["model", "protocol"])["seconds"].sum()
    sizes = _gmacs(inputs)
    rows = []
    for model in inputs.study.models:
        facts = [f for (_, name), f in inputs.provenance.items() if name == model]
        splits = [s for f in facts for s in f["splits"].values()]
        row: dict[str, Any] = {
            "model": model,
            "parameters": facts[0]["parameters"] if facts else None,
            "gmacs": sizes.get(model),
            "images": sum(s["images"] for s in splits) if facts else None,
            "extraction": round(sum(s["seconds"] for s in splits), 3) if facts else None,
        }
        for protocol in inputs.headline:
            seconds = spent.get((model, protocol))
            row[protocol] = None if seconds is None else round(float(seconds), 3)
        rows.append(row)
    return rows


def _gmacs(inputs: Inputs) -> dict[str, float]:
    """Billions of multiply-adds for one image, of models of which they are known."""
    if "gmacs" not in inputs.cube.coords:
        return {}
    found = zip(inputs.models, inputs.cube["gmacs"].values, strict=True)
    return {model: float(number) for model, number in found if np.isfinite(number)}


def provenance_table(inputs: Inputs) -> list[dict[str, Any]]:
    """What computed each model's embeddings; several values where data sets differ.

    Of the image transform, each part with who said it.
    """
    rows = []
    for name, model in inputs.study.models.items():
        facts = [f for (_, m), f in inputs.provenance.items() if m == name]
        rows.append(
            {
                "model": name,
                "architecture": model.architecture,
                "weights": model.weights,
                "digest": _distinct(f["weights"][:12] for f in facts),
                "feature": "imported" if model.weights == "imported" else model.feature,
                "set": _set(model),
                "transform": _distinct(
                    f"{PREPROCESSING[model.preprocessing]}: "
                    + in_one_line(transform_parts(model, f["transform"]))
                    for f in facts
                ),
                "precision": _distinct(f["precision"] for f in facts),
                "device": _distinct(f"{f['device']}, {f['processor']}" for f in facts),
                "versions": _distinct(
                    ", ".join(f"{p} {v}" for p, v in [*f["versions"].items()][:2])
                    + f", Python {f['python']}"
                    for f in facts
                ),
            }
        )
    return rows


PREPROCESSING = {
    "authors": "as its authors evaluate",
    "timm": "as timm records",
    "common": "common to all",
    "own": "as timm records, or as set",
}
"""Words for a model's `preprocessing`."""


def _set(model: Model) -> str:
    """What an entry says beside what has a column: every setting that changes numbers."""
    own = loading_part(model).keys() - {"architecture", "weights", "feature"}
    said = model.model_dump(include=own, exclude_defaults=True)
    return ", ".join(f"{name} {json.dumps(value)}" for name, value in said.items()) or "–"


def _distinct(values: Any) -> str:
    return "; ".join(filter(None, dict.fromkeys(map(str, values)))) or "not recorded"
