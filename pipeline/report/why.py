"""The report's tables on backbones, objectives of pre-training and kinds of shift."""

from __future__ import annotations

from functools import partial

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.report.columns import head, heads
from pipeline.report.formats import NOTHING, interval, p_value, points
from pipeline.report.inputs import Inputs
from pipeline.report.panels import (
    MOST_ROWS,
    NOT_ESTIMABLE,
    Cell,
    Filled,
    Tables,
    estimate,
    numbers,
    protocol_heads,
    table_of,
    whole,
)
from pipeline.statistics.panel import MEAN
from pipeline.statistics.written import counted
from pipeline.study.protocol_list import protocol_label


def section(inputs: Inputs) -> Tables:
    """What backbone and objective of pre-training have to do with it."""
    of = partial(table_of, inputs)
    return Tables(
        [
            of("gaps", "Gaps between objectives and between backbones, points of the mean score",
               _gaps),
            of("objective_share", "Share of the gap between objectives that the backbone explains",
               _share),
        ],
        [
            of("gap_sensitivity", "The gaps under other readings of the study, points",
               _gap_sensitivity),
            of("variance_explained", "Variance that objective and backbone explain", _variance),
            of("within_backbones", "ρ within a backbone, and given the backbone", _within),
        ],
        "A gap between objectives may be one between backbones: what the models can’t tell is "
        "called not estimable. Intervals leave out one method at a time.",
    )  # fmt: skip


def _gaps(_: Inputs, found: xr.Dataset) -> Filled:
    table = found.sel(scale="accuracy", dataset=MEAN)
    rows = []
    for contrast in map(str, table["contrast"].values):
        cells = [Cell(contrast.replace(" - ", " − "))]
        for protocol in table["protocol"].values:
            of = table.sel(contrast=contrast, protocol=protocol)
            if not np.isfinite(of["value"]):
                cells.append(Cell(NOT_ESTIMABLE, str(of["verdict"].item())))
                continue
            small = "; ".join(
                filter(
                    None,
                    [
                        interval(of["low"], of["high"], in_points=True),
                        f"p {p_value(float(of['p']))} (at least {p_value(float(of['p_smallest']))})"
                        if np.isfinite(of["p"]) else "",
                        f"{whole(of['n_left'])} and {counted(float(of['n_right']), 'model')}",
                        str(of["verdict"].item()),
                    ],
                )
            )  # fmt: skip
            cells.append(Cell(points(float(of["value"])), small))
        rows.append(cells)
    return Filled(["Gap", *protocol_heads(table)], rows)


def _share(_: Inputs, found: xr.Dataset) -> Filled:
    rows = []
    for protocol in map(str, found["protocol"].values):
        of = found.sel(protocol=protocol, dataset=MEAN)
        verdict = str(of["verdict"].item())
        rows.append(
            [
                Cell(protocol_label(protocol)),
                estimate(of, "gap", "gap_low", "gap_high"),
                estimate(of, "adjusted", "adjusted_low", "adjusted_high"),
                Cell(verdict) if verdict else estimate(of, "share", "share_low", "share_high"),
            ]
        )
    return Filled(["Protocol", *heads("gap", "adjusted", "share")], rows)


def _variance(_: Inputs, found: xr.Dataset) -> Filled:
    parts = ("first_in", "last_in", "lmg", "null_high")
    rows = []
    for protocol in map(str, found["protocol"].values):
        for factor in map(str, found["factor"].values):
            of = found.sel(protocol=protocol, factor=factor, dataset=MEAN)
            verdict = str(of["verdict"].item())
            cells = map(Cell, [verdict] + [NOTHING] * 3) if verdict else numbers(of, *parts)
            rows.append([Cell(f"{factor}, {protocol_label(protocol)}"), *cells, *numbers(of, "p")])
    return Filled(["Factor, protocol", *heads(*parts, "p")], rows)


def _within(inputs: Inputs, found: xr.Dataset) -> Filled:
    table = found.transpose("predictor", "target", "backbone")
    known = np.argwhere(np.isfinite(table["value"].values).any(axis=-1))
    rows = []
    for p, t in known[:MOST_ROWS]:
        of = table.isel(predictor=p, target=t)
        first = Cell(inputs.columns[of["predictor"].item()].label,
                     f"with {inputs.columns[of['target'].item()].label}")  # fmt: skip
        cells = [
            estimate(of.isel(backbone=b), "value", "low", "high", "n")
            for b in range(of.sizes["backbone"])
        ]
        rows.append([first, *cells])
    backbones = map(str, found["backbone"].values)
    return Filled([head("pair"), *backbones], rows, max(len(known) - MOST_ROWS, 0))


def shift_section(inputs: Inputs) -> Tables:
    """How well in-domain scores predict, by kind of shift."""
    intro = (
        "How well in-domain scores order the models on the out-of-domain data sets of each kind of "
        "shift."
    )
    heading = "Mean ρ by kind of shift"
    return Tables(
        [table_of(inputs, "correlations_by_shift", heading, _correlations_by_shift)], intro=intro
    )


def _correlations_by_shift(_: Inputs, found: xr.Dataset) -> Filled:
    rows = []
    for predictor in map(str, found["predictor"].values):
        for dataset in map(str, found["in_domain"].values):
            for protocol in map(str, found["protocol"].values):
                of = found.sel(predictor=predictor, in_domain=dataset, protocol=protocol)
                if np.isfinite(of["value"]).any():
                    cells = [
                        estimate(of.sel(shift=s), "value", "low", "high")
                        for s in of["shift"].values
                    ]
                    first = Cell(
                        f"{protocol_label(predictor)} on {dataset}",
                        f"with {protocol_label(protocol)}",
                    )
                    rows.append([first, *cells])
    return Filled([head("pair"), *map(str, found["shift"].values)], rows)


def _gap_sensitivity(_: Inputs, found: xr.Dataset) -> Filled:
    changes = [str(change) for change in found["change"].values]
    single = {
        "without any one family": [c for c in changes if c.startswith("without family ")],
        "without any one model": [c for c in changes if c.startswith("without model ")],
    }
    others = [c for c in changes if c != "none" and not any(c in of for of in single.values())]
    rows = []
    for contrast in found["contrast"].values:
        for protocol in found["protocol"].values:
            of = found["value"].sel(contrast=contrast, protocol=protocol)
            if not np.isfinite(of.sel(change="none")):
                continue
            ends = [of.sel(change=names).values for names in single.values()]
            rows.append(
                [
                    Cell(str(contrast).replace(" - ", " − "), protocol_label(str(protocol))),
                    *(Cell(points(float(of.sel(change=c)))) for c in ("none", *others)),
                    *(Cell(_range(values[np.isfinite(values)])) for values in ends),
                ]
            )
    return Filled(["Gap", "As the study is", *others, *single], rows)


def _range(values: NDArray[np.float64]) -> str:
    return interval(values.min(), values.max(), in_points=True) if values.size else NOTHING
