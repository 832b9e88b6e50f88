"""The report's tables on normalization: what it changes in scores, and in what they predict."""

from __future__ import annotations

from functools import partial

import numpy as np
import xarray as xr

from pipeline.report.columns import head, heads
from pipeline.report.inputs import Inputs
from pipeline.report.panels import Cell, Filled, Tables, estimate, numbers, table_of
from pipeline.report.words import set_word
from pipeline.statistics.panel import MEAN
from pipeline.study.protocol_list import protocol_label


def section(inputs: Inputs) -> Tables:
    """What a normalization changes: scores, and how well they predict."""
    of = partial(table_of, inputs)
    return Tables(
        [
            of("normalization_effect", "Change of the score, points", _score_effect),
            of("normalization_ranking", "Change of ρ with out-of-domain scores", _rank_effect),
        ],
        [of("normalization_tests", "Tested together: change of mean ρ", _normalization_tests)],
    )


def _score_effect(inputs: Inputs, found: xr.Dataset) -> Filled:
    shown = [MEAN, *(str(d) for d in found["dataset"].values if d != MEAN)]
    rows = [
        [
            Cell(inputs.variants[variant].label, f"less {inputs.variants[plain].label}"),
            *(
                estimate(
                    found.sel(variant=variant, dataset=d), "difference", "low", "high",
                    in_points=True,
                )
                for d in shown
            ),
        ]
        for variant, plain in zip(found["variant"].values, found["plain"].values, strict=True)
    ]  # fmt: skip
    return Filled(["With normalization less without", "Mean over data sets", *shown[1:]], rows)


def _rank_effect(inputs: Inputs, found: xr.Dataset) -> Filled:
    mean = found.sel(target=MEAN)
    changes = [
        head("normalization_ranking.difference", f" {protocol_label(str(p))}")
        for p in mean["protocol"].values
    ]
    rows = [
        [
            Cell(inputs.variants[variant].label, f"on {dataset}"),
            *(
                estimate(mean.sel(variant=variant, predictor=dataset, protocol=p),
                          "difference", "low", "high")
                for p in mean["protocol"].values
            ),
        ]
        for variant in mean["variant"].values
        for dataset in mean["predictor"].values
    ]  # fmt: skip
    return Filled(["Predictor, with less without", *changes], rows)


def _normalization_tests(inputs: Inputs, found: xr.Dataset) -> Filled:
    tests = ("normalization_tests.p", "p_max_t", "p_holm", "detectable")
    rows = [
        [
            Cell(
                f"{with_it.variant.label} on {with_it.dataset}",
                f"{set_word(targets)}; less {without.variant.label}",
            ),
            estimate(of, "difference", "low", "high"),
            *numbers(of, *tests),
        ]
        for label, plain in zip(map(str, found["predictor"].values), found["plain"].values,
                                strict=True)
        for targets in map(str, found["targets"].values)
        for of in [found.sel(predictor=label, targets=targets)]
        for with_it, without in [(inputs.columns[label], inputs.columns[plain])]
        if np.isfinite(of["difference"])
    ]  # fmt: skip
    return Filled(["Predictor", *heads("normalization_tests.difference", *tests)], rows)
