"""The report's tables: scores, cost, provenance."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.report_answers import PROTOCOL_WORDS
from pipeline.report_inputs import Inputs

_DIGITS = 5
"""Decimals of accuracies: finer than a test image in 100,000."""


def score_table(inputs: Inputs) -> dict[str, Any]:
    """Every score, for the table in the page.

    Returns
    -------
    dict
        models, datasets, variants, metrics, and cells[variant][metric][model][data set], each
        [value, low, high] or None.
    """
    cube = inputs.cube.transpose("variant", "metric", "model", "dataset")
    stacked = np.stack([cube[n].values for n in ("value", "ci_low", "ci_high")], axis=-1)
    # The correlated metric first: it is what the page shows when it opens.
    order = sorted(
        range(cube.sizes["metric"]), key=lambda i: str(cube["metric"].values[i]) != inputs.metric
    )
    models = inputs.study.models.items()
    return {
        "models": [
            {"name": n} | m.model_dump(include={"family", "backbone", "method", "supervision"})
            for n, m in models
        ],
        "datasets": [
            {
                "name": name,
                "role": entry.role,
                "shift": entry.shift or "",
                "n_test": len(inputs.val_splits[name].labels),
                "n_classes": inputs.val_splits[name].n_classes,
            }
            for name, entry in sorted(
                inputs.study.datasets.items(), key=lambda item: item[1].role != "in_domain"
            )
        ],
        "variants": [
            {"name": str(v), "label": variant_label(str(v)), "headline": str(v) in headline}
            for headline in [set(inputs.headline.values())]
            for v in cube["variant"].values
        ],
        "metrics": [str(cube["metric"].values[i]) for i in order],
        "cells": _cells(inputs, stacked[:, order]),
    }


def _cells(inputs: Inputs, stacked: Any) -> list[Any]:
    datasets = list(inputs.study.datasets)
    inside_first = inputs.datasets("in_domain") + inputs.datasets("out_of_domain")
    rounded = stacked[..., [datasets.index(d) for d in inside_first], :].round(_DIGITS)
    return [
        [
            [
                [None if np.isnan(cell[0]) else [_finite(x) for x in cell] for cell in row]
                for row in rows
            ]
            for rows in metric
        ]
        for metric in rounded
    ]


def _finite(x: float) -> float | None:
    return float(x) if np.isfinite(x) else None


def variant_label(variant: str) -> str:
    """``knn/k20_cosine_distance_none`` as ``kNN: k20 cosine distance none``."""
    protocol, _, settings = variant.partition("/")
    return f"{PROTOCOL_WORDS.get(protocol, protocol)}: {settings.replace('_', ' ')}"


def cost_table(inputs: Inputs) -> list[dict[str, Any]]:
    """Measured seconds per model, summed over data sets; None where nothing was recorded.

    Returns
    -------
    list of dict
        Keys model, parameters, images, extraction, and one per protocol (headline variant).
    """
    # A variant's seconds stand in the rows of all its metrics.
    scores = inputs.scores.drop_duplicates(["model", "dataset", "protocol", "variant"])
    columns = scores["protocol"] + "/" + scores["variant"]
    first = scores[columns.isin(list(inputs.headline.values()))]
    spent = first.groupby(["model", "protocol"])["seconds"].sum()
    rows = []
    for model in inputs.study.models:
        facts = [f for (_, name), f in inputs.provenance.items() if name == model]
        splits = [s for f in facts for s in f["splits"].values()]
        row: dict[str, Any] = {
            "model": model,
            "parameters": facts[0]["parameters"] if facts else None,
            "images": sum(s["images"] for s in splits) if facts else None,
            "extraction": round(sum(s["seconds"] for s in splits), 3) if facts else None,
        }
        for protocol in inputs.headline:
            seconds = spent.get((model, protocol))
            row[protocol] = None if seconds is None else round(float(seconds), 3)
        rows.append(row)
    return rows


def provenance_table(inputs: Inputs) -> list[dict[str, Any]]:
    """What computed each model's embeddings; several values where data sets differ."""
    rows = []
    for name, model in inputs.study.models.items():
        facts = [f for (_, m), f in inputs.provenance.items() if m == name]
        rows.append(
            {
                "model": name,
                "architecture": model.architecture,
                "weights": model.weights,
                "digest": _distinct(f["weights"][:12] for f in facts),
                "transform": _distinct(_transform(f["transform"]) for f in facts),
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


def _transform(transform: dict[str, Any]) -> str:
    text = ", ".join(
        f"{key.replace('_', ' ')} {value}"
        for key, value in transform.items()
        if key not in ("mean", "std")
    )
    return text.replace("interpolation ", "")


def _distinct(values: Any) -> str:
    return "; ".join(dict.fromkeys(map(str, values))) or "not recorded"
