"""Ways of averaging, what would settle it, a new data set, and what imported scores rest on."""

from __future__ import annotations

from functools import partial

import numpy as np
import xarray as xr

from pipeline.report.columns import head, heads
from pipeline.report.formats import NOTHING, level, percent, rho
from pipeline.report.inputs import Inputs
from pipeline.report.panels import (
    Cell,
    Filled,
    Tables,
    answer_order,
    numbers,
    table_of,
    whole,
)
from pipeline.report.verdicts import listed
from pipeline.results.cube import metrics_used
from pipeline.statistics.advice import scores_word
from pipeline.statistics.averages import WAYS
from pipeline.statistics.panel import ASSUMED_TESTS
from pipeline.statistics.power_words import to_settle_it
from pipeline.statistics.written import p_is, rounded
from pipeline.study import metrics
from pipeline.study.protocol_list import protocol_label

_WAY = {"raw": "raw scores", "rank": "ranks", "logit": "logits"}
_FIRST = [head("leader", f" {_WAY[way]}") for way in WAYS]


def section(inputs: Inputs) -> Tables:
    """All tables; the intro says what imported scores rest on."""
    of = partial(table_of, inputs)
    alike = str(inputs.told("behaves_like").attrs.get("predicts", ""))
    return Tables(
        [
            of("power", "To settle it", _settle),
            of("concordance", "Do the data sets agree, and does one of them decide?", _concordance),
            of("averages", "Three ways of averaging, with the place by each", _averages),
        ],
        [
            of("leaders_without", "Without one data set", _leaders),
            of("new_target", "On a new data set like these", _new_target),
            of("behaves_like", "Behaves like" + (f" ({alike})" if alike else ""), _behaves),
        ],
        " ".join(rests_on(inputs)),
    )


def rests_on(inputs: Inputs) -> list[str]:
    """What is assumed of imported scores, and what is not known of them, a sentence each."""
    said = []
    used = metrics_used(inputs.cube, inputs.metric).sel(variant=list(inputs.headline.values()))
    others: dict[str, list[str]] = {}
    for name in (n for n in dict.fromkeys(used.values.ravel().tolist()) if n):
        if name != inputs.metric:
            places = (used == name).any("variant").values
            others[name] = [d for d, at in zip(inputs.datasets(), places, strict=True) if at]
    for name, datasets in others.items():
        said.append(
            f"On {listed(datasets)} scores are {metrics.metric_named(name).label}: they are "
            "compared with others by ranks alone, and a mean is over data sets of one metric."
        )
    if not inputs.imported:
        return said
    unknown = inputs.cube["n_test"].values == 0
    own = set(inputs.tests)
    assumed = [d for d, no in zip(inputs.datasets(), unknown, strict=True) if no and d not in own]
    if assumed:
        said.append(
            f"{ASSUMED_TESTS:,} test images are assumed on {listed(assumed)}, as nobody said how "
            "many there are."
        )
    told = inputs.told("ranks").attrs.get("unpaired", "")
    if told:
        said.append(
            "Imported scores come without per-image outcomes: models are compared by their own or "
            "binomial intervals as if on different images (conservative), and what takes outcomes "
            "(reliability, regret by halves, enough images) is left out."
        )
    return said


def _settle(_: Inputs, found: xr.Dataset) -> Filled:
    rows = []
    for place, sentence in enumerate(to_settle_it({"power": found})):
        of = found.isel(question=place)
        ends = [_many(_as_told(of[name])) for name in ("needed_low", "needed_high")]
        known = np.isfinite(of["needed_low"])
        rows.append(
            [
                Cell(str(of["question"].item()).split("/")[0], sentence),
                Cell(_many(float(of["now"]))),
                Cell(_many(_as_told(of["needed"])), " to ".join(ends) if known else ""),
                *numbers(of, "power_now"),
            ]
        )
    return Filled(["Of what", "Now", *heads("needed", "power_now")], rows)


def _as_told(needed: xr.DataArray) -> float:
    """What is needed, rounded as the sentence beside it rounds."""
    number = float(needed)
    return rounded(number) if np.isfinite(number) else number


def _many(number: float) -> str:
    return whole(number) if np.isfinite(number) else "over 1,000,000" if number > 0 else NOTHING


def _concordance(inputs: Inputs, found: xr.Dataset) -> Filled:
    without = inputs.told("leaders_without")
    rows = []
    for protocol in answer_order(inputs, found):
        of = found.sel(protocol=protocol)
        if not np.isfinite(of["w"]):
            continue
        rows.append(
            [
                Cell(protocol_label(str(protocol)),
                     f"{whole(of['models'])} models, {whole(of['datasets'])} data sets"),
                Cell(rho(float(of["w"])), p_is(float(of["p"]))),
                *numbers(of, "mean_rho"),
                *(_leader(without, str(protocol), way) for way in WAYS),
            ]
        )  # fmt: skip
    return Filled(["Protocol", *heads("w", "mean_rho"), *_FIRST], rows)


def _leader(without: xr.Dataset, protocol: str, way: str) -> Cell:
    if not without.data_vars:
        return Cell(NOTHING)
    of = without.sel(protocol=protocol, way=way)
    known = np.isfinite(of["changes"].values)
    if not known.any():
        return Cell(NOTHING)
    changed = [str(d) for d in of["dataset"].values[of["changes"].values == 1]]
    small = f"another one without {listed(changed)}" if changed else "whichever one is left out"
    return Cell(str(of["leader_of_all"].values[known][0]), small)


def _averages(inputs: Inputs, found: xr.Dataset) -> Filled:
    rows = []
    for protocol in answer_order(inputs, found):
        of_protocol = found.sel(protocol=protocol)
        for place in np.argsort(of_protocol["place_rank"].values, kind="stable"):
            of = of_protocol.isel(model=int(place))
            if not np.isfinite(of["datasets"]):
                continue
            rows.append(
                [
                    Cell(str(of["model"].item()), protocol_label(str(protocol))),
                    Cell(percent(float(of["raw"])), _place(of["place_raw"])),
                    Cell(f"{float(of['rank']):.1f}", _place(of["place_rank"])),
                    Cell(percent(float(of["logit"])), _place(of["place_logit"])),
                ]
            )
    return Filled(["Model, protocol", *heads("raw", "averages.rank", "logit")], rows)


def _place(value: xr.DataArray) -> str:
    return f"{float(value):g}." if np.isfinite(value) else ""


def _leaders(_: Inputs, found: xr.Dataset) -> Filled:
    rows = []
    for protocol in found["protocol"].values:
        for dataset in found["dataset"].values:
            of = found.sel(protocol=protocol, dataset=dataset)
            cells = [
                Cell(str(of["leader"].sel(way=way).item()) or NOTHING,
                     "another one" if of["changes"].sel(way=way) == 1 else "")
                for way in WAYS
            ]  # fmt: skip
            rows.append([Cell(str(dataset), protocol_label(str(protocol))), *cells])
    return Filled(["Without", *_FIRST], rows)


def _new_target(inputs: Inputs, found: xr.Dataset) -> Filled:
    rows = []
    for predictor in found["predictor"].values:
        for targets in found["targets"].values:
            of = found.sel(predictor=predictor, targets=targets)
            rows.append(
                [
                    Cell(inputs.columns[str(predictor)].label,
                         f"to predict {scores_word(str(targets))}"),
                    *numbers(of, "rho"),
                    Cell(f"{rho(float(of['low']))} to {rho(float(of['high']))}"
                         if np.isfinite(of["low"]) else NOTHING),
                    *numbers(of, "clusters", "covered"),
                ]
            )  # fmt: skip
    ends = f"{level(inputs.study.correlation.confidence)} for a new data set"
    return Filled(["Predictor", head("rho"), ends, *heads("clusters", "covered")], rows)


def _behaves(_: Inputs, found: xr.Dataset) -> Filled:
    rows = []
    for protocol in found["protocol"].values:
        for dataset in found["dataset"].values:
            of = found.sel(protocol=protocol, dataset=dataset)
            rows.append(
                [
                    Cell(str(dataset), protocol_label(str(protocol))),
                    Cell(str(of["nearest"].item()) or NOTHING),
                    *numbers(of, "rho_nearest", "rho_all", "models"),
                ]
            )
    return Filled(["Data set", "Nearest", *heads("rho_nearest", "rho_all"), "Models"], rows)
