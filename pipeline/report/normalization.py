"""The report's tables on normalization: what it changes in scores, and in what they predict."""

from __future__ import annotations

import numpy as np
import xarray as xr

from pipeline.report.formats import p_value, rho
from pipeline.report.inputs import Inputs
from pipeline.report.panels import Cell, Filled, Table, estimate, table_of
from pipeline.report.words import protocol_word, set_word, variant_label
from pipeline.statistics.panel import MEAN


def normalization_tables(inputs: Inputs) -> list[Table]:
    """What a normalization changes: scores, and how well they predict."""
    return [
        table_of(inputs, "normalization_effect", "Change of the score, points", _score_effect),
        table_of(
            inputs, "normalization_ranking", "Change of ρ with out-of-domain scores", _rank_effect
        ),
        table_of(
            inputs, "normalization_tests", "Tested together: change of mean ρ", _normalization_tests
        ),
    ]


def _score_effect(found: xr.Dataset) -> Filled:
    shown = [MEAN, *(str(d) for d in found["dataset"].values if d != MEAN)]
    rows = [
        [
            Cell(variant_label(str(variant)), f"less {variant_label(str(plain))}"),
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
    head = ["With normalization less without", "Mean over data sets", *shown[1:]]
    return Filled(head, rows)


def _rank_effect(found: xr.Dataset) -> Filled:
    mean = found.sel(target=MEAN)
    rows = [
        [
            Cell(variant_label(str(variant)), f"on {dataset}"),
            *(
                estimate(mean.sel(variant=variant, predictor=dataset, protocol=p),
                          "difference", "low", "high")
                for p in mean["protocol"].values
            ),
        ]
        for variant in mean["variant"].values
        for dataset in mean["predictor"].values
    ]  # fmt: skip
    head = ["Predictor, with less without",
            *(f"ρ with {protocol_word(str(p))}" for p in mean["protocol"].values)]  # fmt: skip
    return Filled(head, rows)


def _normalization_tests(found: xr.Dataset) -> Filled:
    rows = [
        [
            Cell(
                f"{variant_label(label.partition('@')[0])} on {label.partition('@')[2]}",
                f"{set_word(targets)}; less {variant_label(str(plain).partition('@')[0])}",
            ),
            estimate(of, "difference", "low", "high"),
            *(Cell(p_value(float(of[p]))) for p in ("p", "p_max_t", "p_holm")),
            Cell(rho(float(of["detectable"]))),
        ]
        for label, plain in zip(map(str, found["predictor"].values), found["plain"].values,
                                strict=True)
        for targets in map(str, found["targets"].values)
        for of in [found.sel(predictor=label, targets=targets)]
        if np.isfinite(of["difference"])
    ]  # fmt: skip
    head = ["Predictor", "Δ mean ρ", "p alone", "p, max-T", "p, Holm", "Could have been found"]
    return Filled(head, rows)
