"""The report's choice of a model under limits: its data, which the page's own script filters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from pipeline.report.embed import embed
from pipeline.report.inputs import Inputs
from pipeline.report.remarks import pairs_tested
from pipeline.report.stated import short
from pipeline.results.cube import metrics_used, same_metric
from pipeline.statistics.mean_scores import ALL, OUTSIDE, TARGET
from pipeline.study import metrics
from pipeline.study.protocol_list import protocol_label

Floats = NDArray[np.float64]

_DIGITS = 5
"""Decimals of accuracies: finer than a test image in 100,000."""

FIRST, SECOND, NEAR, UNKNOWN = "1", "2", "0", "-"
WITHIN, BEHIND = "1", "0"

_OF_TARGET = "mean over the target"

_TESTED = {
    _OF_TARGET: TARGET,
    "mean over all data sets": ALL,
    "mean over out-of-domain data sets": OUTSIDE,
}
"""Means that `mean_pairs` compares."""


@dataclass(frozen=True)
class Constraints:
    """What the section says.

    Attributes
    ----------
    data : Markup
        JSON for the script: models with their sizes, protocols, groups of data sets, scores, and
        which model of each pair is better.
    unknown : tuple of str
        Limits that no model can be held to, as nothing is known of it.
    withheld : str
        Why there is nothing to choose by; empty where there is.
    tested : str
        Which comparisons are tests.
    """

    data: Markup
    unknown: tuple[str, ...]
    withheld: str
    tested: str = ""


def section(inputs: Inputs) -> Constraints:
    """The section's words and data."""
    sizes = model_sizes(inputs)
    words = {"parameters": "parameters", "dimension": "embedding size", "milliseconds": "latency"}
    return Constraints(
        data=embed(choices(inputs)),
        unknown=tuple(
            words[name] for name, values in sizes.items() if not np.isfinite(values).any()
        ),
        withheld="" if inputs.headline else "Nothing to choose by: no protocol has scores.",
        tested=pairs_tested(
            tested=bool(inputs.told("model_pairs").data_vars),
            ranked=bool(inputs.told("ranks").data_vars),
        ),
    )


def model_sizes(inputs: Inputs) -> dict[str, Floats]:
    """Parameters, features per image, and measured milliseconds per image of every model.

    The time is what extraction took, over all data sets, by the images that it embedded.

    Returns
    -------
    dict of str to ndarray of shape (n_models,)
        NaN where unknown.
    """
    cube = inputs.cube
    timed = cube["extraction_seconds"].notnull() & (cube["images"] > 0)
    seconds = cube["extraction_seconds"].where(timed).sum("dataset").values
    images = cube["images"].where(timed).sum("dataset").values
    milliseconds = np.full(len(images), np.nan)
    np.divide(1000 * seconds, images, where=images > 0, out=milliseconds)
    return {
        "parameters": cube["parameters"].values.astype(np.float64),
        "dimension": cube["dimension"].values.astype(np.float64),
        "milliseconds": milliseconds,
    }


def choices(inputs: Inputs) -> dict[str, Any]:
    """What the script of the section reads.

    Returns
    -------
    dict
        models (name, family, supervision and sizes), protocols (label), scopes (label, and places
        of its data sets), datasets (names), cells[protocol][model][data set] (None, or value, low,
        high), pairs[protocol][scope] (a character for each pair of models, row by row above the
        diagonal: `FIRST` or `SECOND` is better, `NEAR` or `UNKNOWN`; empty where there is no such
        table), chances[protocol][scope] (where there are no pairs, a character for each model
        beside all others: `WITHIN` chance of the best, `BEHIND` it or `UNKNOWN`), alike[protocol]
        (places of the data sets whose scores are by one metric: means are over these),
        by[protocol][data set] (the metric, where it is not the page's).
    """
    sizes = model_sizes(inputs)
    words = {name: inputs.words(name) for name in ("family", "supervision")}
    datasets, scopes = inputs.datasets(), _scopes(inputs)
    return {
        "models": [
            {"name": model}
            | {name: of[model] for name, of in words.items()}
            | {name: short(values[place]) for name, values in sizes.items()}
            for place, model in enumerate(inputs.models)
        ],
        "protocols": [protocol_label(protocol) for protocol in _protocols(inputs)],
        "datasets": datasets,
        "scopes": scopes,
        "cells": _cells(inputs),
        "pairs": [
            [_pairs(inputs, protocol, scope) for scope in scopes] for protocol in _protocols(inputs)
        ],
        "chances": [
            [_chances(inputs, protocol, scope) for scope in scopes]
            for protocol in _protocols(inputs)
        ],
        "alike": [
            [datasets.index(name) for name in same_metric(inputs.cube, inputs.metric, variant)]
            for variant in _headlines(inputs)
        ],
        "by": _other_metrics(inputs),
    }


def _headlines(inputs: Inputs) -> list[str]:
    return [inputs.headline[protocol] for protocol in _protocols(inputs)]


def _other_metrics(inputs: Inputs) -> list[list[str]]:
    used = metrics_used(inputs.cube, inputs.metric).sel(
        variant=_headlines(inputs), dataset=inputs.datasets()
    )
    return [
        ["" if name in ("", inputs.metric) else _words(name) for name in row]
        for row in used.values.tolist()
    ]


def _words(metric: str) -> str:
    of = metrics.metric_named(metric)
    return of.goodness_of(of.label)


def _protocols(inputs: Inputs) -> list[str]:
    """The one that decides on the target first: the panel opens with what the answer is about."""
    return sorted(inputs.headline, key=lambda protocol: protocol != inputs.decides)


def _scopes(inputs: Inputs) -> list[dict[str, Any]]:
    """The target first; means over data sets, then single ones."""
    datasets, target = inputs.datasets(), list(inputs.target.datasets)
    groups = {
        _OF_TARGET: target,
        "mean over all data sets": datasets,
        "mean over in-domain data sets": inputs.datasets("in_domain"),
        "mean over out-of-domain data sets": inputs.datasets("out_of_domain"),
    }
    means = [
        {"label": label, "datasets": [datasets.index(name) for name in names]}
        for label, names in groups.items()
        if len(names) > 1 and (names is datasets or len(names) < len(datasets))
    ]
    single = [{"label": name, "datasets": [place]} for place, name in enumerate(datasets)]
    if len(target) == 1:
        first = single.pop(datasets.index(target[0]))
        return [first, *means, *single]
    return means + single


def _cells(inputs: Inputs) -> list[Any]:
    chosen = inputs.scored.sel(variant=_headlines(inputs))
    ends = [chosen[n].transpose("variant", "model", "dataset").values for n in _ENDS]
    rounded = np.stack(ends, axis=-1).round(_DIGITS)
    return [
        [[None if np.isnan(cell[0]) else [short(x) for x in cell] for cell in row] for row in rows]
        for rows in rounded
    ]


_ENDS = ("value", "ci_low", "ci_high")


def _pairs(inputs: Inputs, protocol: str, scope: dict[str, Any]) -> str:
    """Which of each pair of models is better, where they were compared."""
    if len(scope["datasets"]) == 1:
        [place] = scope["datasets"]
        return _told(
            inputs, "model_pairs", variant=inputs.headline[protocol],
            dataset=inputs.datasets()[place],
        )  # fmt: skip
    tested = _TESTED.get(scope["label"])
    return _told(inputs, "mean_pairs", protocol=protocol, scope=tested) if tested else ""


def _chances(inputs: Inputs, protocol: str, scope: dict[str, Any]) -> str:
    """Who is within chance of the best of all models, of one data set whose pairs are no table.

    Pairs are no table without per-image outcomes, and of very many models; they were tested.
    """
    found = inputs.told("ranks")
    if len(scope["datasets"]) > 1 or not found.data_vars or _pairs(inputs, protocol, scope):
        return ""
    labels = {"protocol": protocol, "dataset": inputs.datasets()[scope["datasets"][0]]}
    if any(label not in found[dim] for dim, label in labels.items()):
        return ""
    within = found["within_chance"].sel(labels).reindex(model=inputs.models).values
    words = np.where(np.isfinite(within), np.where(within == 1, WITHIN, BEHIND), UNKNOWN)
    return "".join(words) if (words != UNKNOWN).any() else ""


def _told(inputs: Inputs, name: str, **labels: str) -> str:
    found = inputs.told(name)
    if not found.data_vars or any(label not in found[dim] for dim, label in labels.items()):
        return ""
    chosen = found.sel(labels).reindex(model=inputs.models, rival=inputs.models)
    upper = np.triu_indices(len(inputs.models), 1)
    differs, difference = (
        chosen[name].transpose("model", "rival").values[upper] for name in ("differs", "difference")
    )
    better = np.where(difference > 0, FIRST, SECOND)
    told = np.where(np.isfinite(differs), np.where(differs == 1, better, NEAR), UNKNOWN)
    return "".join(told) if (told != UNKNOWN).any() else ""
