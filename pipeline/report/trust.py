"""The report's tables on predictors: how far each is to be trusted, what a wrong choice costs."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from pipeline.report.formats import NOTHING, interval, p_value, percent, points, rho
from pipeline.report.inputs import Inputs
from pipeline.report.panels import Cell, Filled, Table, estimate, table_of, whole
from pipeline.report.words import column_label, set_word


def trust_table(inputs: Inputs) -> Table:
    """How well each predictor ranks models on the targets."""
    return table_of(inputs, "trust", "How well each predictor orders the models", _trust)


def _trust(found: xr.Dataset) -> Filled:
    first = str(found.attrs["headline_targets"])
    rho_of = found.sel(coefficient="spearman")
    sets = list(dict.fromkeys([first, *map(str, found["targets"].values)]))
    order = np.argsort(-np.nan_to_num(rho_of["mean"].sel(targets=first).values, nan=-2))
    rows = []
    for label in found["predictor"].values[order]:
        of = rho_of.sel(predictor=label)
        main = of.sel(targets=first)
        cells = [
            Cell(column_label(str(label))),
            estimate(main, "mean", "low", "high"),
            Cell(rho(float(main["fisher"])), interval(main["fisher_low"], main["fisher_high"])),
            Cell(interval(main["lowest"], main["highest"]) or NOTHING,
                 f"{whole(main['n_targets'])} targets, {whole(main['n'])} models"),
            Cell(interval(main["new_low"], main["new_high"]) or NOTHING),
            *(estimate(of.sel(targets=s), "mean", "low", "high") for s in sets[1:]),
        ]  # fmt: skip
        rows.append(cells)
    head = [
        "Predictor", f"Mean ρ, {set_word(first)}", "By Fisher’s z", "Lowest to highest",
        "Interval for new targets", *(f"Mean ρ, {set_word(s)}" for s in sets[1:]),
    ]  # fmt: skip
    return Filled(head, rows)


def choosing_table(inputs: Inputs) -> Table:
    """What choosing a model by each predictor costs."""
    return table_of(inputs, "choosing", "What choosing a model by it would have cost", _choosing)


def _choosing(found: xr.Dataset) -> Filled:
    table = found.sel(targets=str(found.attrs["headline_targets"]))
    order = np.argsort(np.nan_to_num(table["regret_naive"].values, nan=9.0), kind="stable")
    rows = []
    for label in table["predictor"].values[order]:
        of = table.sel(predictor=label)
        rows.append(
            [
                Cell(column_label(str(label))),
                Cell(_bracket(of, "regret", points)),
                Cell(_bracket(of, "relative", rho)),
                Cell(percent(float(of["top1"]))),
                Cell(percent(float(of["top3"]))),
                Cell(percent(float(of["decision_accuracy"])),
                     f"of {whole(of['decided_pairs'])} pairs"),
                Cell(rho(float(of["top_half"]))),
                Cell(whole(of["n_targets"])),
            ]
        )  # fmt: skip
    head = ["Predictor", "Regret, points", "Regret / (best − median)", "Best model chosen",
            "Best among its first three", "Pairs ordered rightly", "ρ in its top half",
            "Targets"]  # fmt: skip
    return Filled(head, rows)


def reference_table(inputs: Inputs) -> Table:
    """F1: every predictor against in-domain linear probing."""
    heading = "Each predictor against in-domain linear probing"
    return table_of(inputs, "predictor_differences", heading, _against_reference)


def _against_reference(found: xr.Dataset) -> Filled | str:
    reference = str(found.attrs["reference"])
    if not reference:
        return "Withheld: there is no in-domain linear probe to compare with."
    rows = []
    for targets in map(str, found["targets"].values):
        table = found.sel(reference=reference, targets=targets)
        order = np.argsort(-np.nan_to_num(table["difference"].values, nan=-9), kind="stable")
        for label in table["predictor"].values[order]:
            of = table.sel(predictor=label)
            if np.isfinite(of["difference"]):
                rows.append(
                    [
                        Cell(column_label(str(label)), set_word(targets)),
                        estimate(of, "difference", "low", "high"),
                        *(Cell(p_value(float(of[p]))) for p in ("p", "p_max_t", "p_holm")),
                        Cell(rho(float(of["detectable"]))),
                    ]
                )
    head = ["Predictor, targets", f"Δ mean ρ from {column_label(reference)}", "p alone",
            "p, max-T", "p, Holm", "Could have been found"]  # fmt: skip
    return Filled(head, rows)


def _bracket(of: xr.Dataset, name: str, write: Any) -> str:
    low, high = (float(of[f"{name}_{end}"]) for end in ("crossed", "naive"))
    if not np.isfinite(low):
        return f"at most {write(high)}" if np.isfinite(high) else NOTHING
    return f"{write(low)} to {write(high)}"
