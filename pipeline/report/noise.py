"""The report's tables on chance in the test images: pairs of models, ranks, reliability."""

from __future__ import annotations

import numpy as np
import xarray as xr

from pipeline.report.columns import head, heads
from pipeline.report.formats import NOTHING, interval, percent, points, rho
from pipeline.report.inputs import Inputs
from pipeline.report.panels import (
    MOST_ROWS,
    Cell,
    Filled,
    Table,
    Tables,
    answer_order,
    estimate,
    numbers,
    table_of,
    whole,
)
from pipeline.statistics.written import counted
from pipeline.study.protocol_list import protocol_label


def pairs_section(inputs: Inputs) -> Tables:
    """The pairs of models that differ, a click away."""
    intro = "On each data set all pairs of models are tested together: how many differ."
    heading = "Pairs of models that differ on each data set"
    return Tables([], [table_of(inputs, "model_pairs", heading, _model_pairs)], intro)


def _model_pairs(inputs: Inputs, found: xr.Dataset) -> Filled:
    tested = found["differs"].notnull().sum(("model", "rival"))
    apart = (found["differs"] == 1).sum(("model", "rival"))
    rows = [
        [
            Cell(str(dataset)),
            *(
                Cell(f"{whole(apart.sel(dataset=dataset, variant=v))} of {n}") if n else Cell("–")
                for v in found["variant"].values
                for n in [int(tested.sel(dataset=dataset, variant=v))]
            ),
        ]
        for dataset in found["dataset"].values
    ]
    return Filled(["Data set", *_variants(inputs, found)], rows)


def _variants(inputs: Inputs, found: xr.Dataset) -> list[str]:
    return [inputs.variants[name].label for name in found["variant"].values]


def overall_table(inputs: Inputs) -> Table:
    """Ranks across data sets, of every protocol."""
    return table_of(inputs, "overall_ranks", "Ranks across data sets", _overall_ranks)


def _overall_ranks(inputs: Inputs, found: xr.Dataset) -> Filled:
    rows = []
    for protocol in answer_order(inputs, found):
        of_protocol = found.sel(protocol=protocol)
        order = np.argsort(of_protocol["rank"].fillna(of_protocol["win_rank"]).values)
        for place in order:
            of = of_protocol.isel(model=place)
            if np.isfinite(of["win_rate"]):
                rows.append(
                    [
                        Cell(str(of["model"].item()), protocol_label(str(protocol))),
                        Cell(_rank(of["rank"])),
                        Cell(percent(float(of["mean"])),
                             interval(of["low"], of["high"], in_points=True)),
                        Cell(_rank(of["win_rank"])),
                        Cell(percent(float(of["win_rate"])),
                             interval(of["win_low"], of["win_high"], in_points=True)),
                        Cell(rho(float(of["borda"]))),
                        Cell(whole(of["datasets"]), _clusters(of["clusters"])),
                    ]
                )  # fmt: skip
    means = [head("overall_ranks.rank"), head("overall_ranks.mean", ", as accuracy")]
    wins = heads("win_rank", "win_rate", "borda")
    return Filled(["Model, protocol", *means, *wins, "Data sets"], rows)


def _clusters(value: xr.DataArray) -> str:
    return counted(float(value), "cluster")


def _rank(value: xr.DataArray) -> str:
    return f"{float(value):g}" if np.isfinite(value) else NOTHING


def noise_tables(inputs: Inputs) -> list[Table]:
    """How much of the scores is chance in the test images, and r without it."""
    heading = "Pearson r without the chance in the test images"
    return [
        table_of(inputs, "reliability", "Reliability of the scores", _reliability),
        table_of(inputs, "disattenuated_pearson", heading, _disattenuated),
    ]


def _reliability(inputs: Inputs, found: xr.Dataset) -> Filled:
    rows = [
        [
            Cell(str(dataset)),
            *(
                Cell(
                    rho(float(of["reliability"])),
                    f"± {points(float(of['error_sd']))} of {points(float(of['spread_sd']))} points",
                )
                if np.isfinite(of["reliability"])
                else Cell(NOTHING)
                for variant in found["variant"].values
                for of in [found.sel(dataset=dataset, variant=variant)]
            ),
        ]
        for dataset in found["dataset"].values
    ]
    return Filled(["Data set", *_variants(inputs, found)], rows)


def _disattenuated(inputs: Inputs, found: xr.Dataset) -> Filled:
    table = found.transpose("predictor", "target")
    known = np.isfinite(table["value"].values)
    role = [
        [inputs.roles[inputs.columns[label].dataset] for label in table[axis].values]
        for axis in ("predictor", "target")
    ]
    known &= (np.array(role[0]) == "in_domain")[:, np.newaxis]
    known &= np.array(role[1]) == "out_of_domain"
    places = np.argwhere(known)
    rows = []
    for p, t in places[:MOST_ROWS]:
        of = table.isel(predictor=p, target=t)
        ends = (rho(float(of[f"reliability_{axis}"])) for axis in ("predictor", "target"))
        rows.append(
            [
                Cell(inputs.columns[of["predictor"].item()].label,
                     f"with {inputs.columns[of['target'].item()].label}"),
                *numbers(of, "observed"),
                estimate(of, "value", "low", "high"),
                Cell(" and ".join(ends)),
                Cell(whole(of["n"]), counted(float(of["families"]), "family", "families")),
            ]
        )  # fmt: skip
    columns = heads("observed", "disattenuated_pearson.value", "reliability")
    return Filled(["Pair", *columns, "Models"], rows, max(len(places) - MOST_ROWS, 0))
