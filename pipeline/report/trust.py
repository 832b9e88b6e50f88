"""The report's tables on predictors: how far each is to be trusted, what a wrong choice costs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import xarray as xr

from pipeline.report.columns import head, heads
from pipeline.report.formats import NOTHING, interval, percent, points, rho
from pipeline.report.inputs import Inputs
from pipeline.report.panels import (
    Cell,
    Filled,
    Tables,
    estimate,
    numbers,
    table_of,
    whole,
)
from pipeline.report.remarks import families_behind
from pipeline.report.targets import first_targets, most_targets
from pipeline.report.words import set_word
from pipeline.statistics.written import counted


def section(inputs: Inputs) -> Tables:
    """How far each predictor is to be trusted, what it costs, and the tests."""
    of = partial(table_of, inputs)
    return Tables(
        [
            of("trust", "How well each predictor orders the models", _trust),
            of("choosing", "What choosing a model by it would have cost", _choosing),
            of("comparison", "All predictors on the same targets and models", _comparison),
        ],
        [
            of("null_models", "What costs no evaluation of the target", _nulls),
            of(
                "predictor_differences",
                "Each predictor against the in-domain linear probe",
                _against_reference,
            ),
        ],
        _rests_on(inputs),
    )


def _rests_on(inputs: Inputs) -> str:
    found = inputs.told("comparison")
    if not found.data_vars:
        return ""
    return families_behind(found.sel(targets=first_targets(found)), "joint_low")


def _comparison(inputs: Inputs, found: xr.Dataset) -> Filled:
    first = first_targets(found)
    sets = list(dict.fromkeys([first, *map(str, found["targets"].values)]))
    rows = []
    for label in _sorted(found, first):
        of = found.sel(predictor=label)
        main = of.sel(targets=first)
        reason = str(main["reason"].item())
        rows.append(
            [
                Cell(inputs.columns[label].label, f"not compared: {reason}" if reason else
                     f"{_targets(main['n_targets'])}, {_models(main['n'])}"),
                estimate(main, "mean", "joint_low", "joint_high"),
                Cell(interval(main["lowest"], main["highest"]) or NOTHING),
                *numbers(main, *_OF_SOME),
                *(estimate(of.sel(targets=s), "mean", "joint_low", "joint_high")
                  for s in sets[1:]),
            ]
        )  # fmt: skip
    means = [head("mean", f", {set_word(s)}") for s in sets]
    return Filled(["Predictor", means[0], head("ends"), *heads(*_OF_SOME), *means[1:]], rows)


_OF_SOME = ("top_half", "top_ten", "within", "with_all")
"""Mean ρ over some of the models, or more of them."""


def _sorted(found: xr.Dataset, targets: str) -> list[str]:
    """Names of predictors, the highest mean first; those that are not compared last."""
    means = np.nan_to_num(found["mean"].sel(targets=targets).values, nan=-2)
    return [str(found["predictor"].values[i]) for i in np.argsort(-means, kind="stable")]


def _nulls(_: Inputs, found: xr.Dataset) -> Filled:
    first = first_targets(found)
    sets = list(dict.fromkeys([first, *map(str, found["targets"].values)]))
    rows = []
    for name in found["null_model"].values:
        of = found.sel(null_model=name)
        main = of.sel(targets=first)
        unknown = str(main["unknown"].item())
        small = f"not compared: {unknown}" if unknown else (
            f"{_targets(main['n_targets'])}, {_models(main['n'])}"
        )  # fmt: skip
        rows.append(
            [
                Cell(str(of["label"].item()), small),
                Cell(str(of["cost"].item())),
                *numbers(main, "mean"),
                Cell(interval(main["lowest"], main["highest"]) or NOTHING),
                *(cell for s in sets[1:] for cell in numbers(of.sel(targets=s), "mean")),
            ]
        )
    means = [head("mean", f", {set_word(s)}") for s in sets]
    return Filled(["Order of the models", head("cost"), means[0], head("ends"), *means[1:]], rows)


def _trust(inputs: Inputs, found: xr.Dataset) -> Filled:
    first = first_targets(found)
    rho_of = found.sel(coefficient="spearman")
    sets = list(dict.fromkeys([first, *map(str, found["targets"].values)]))
    several = most_targets(found, first) > 1
    rows = []
    for label in _order(inputs, rho_of, first):
        of = rho_of.sel(predictor=label)
        main = of.sel(targets=first)
        rows.append(
            [
                Cell(inputs.columns[label].label,
                     f"{_targets(main['n_targets'])}, {_models(main['n'])}"),
                estimate(main, "mean", "low", "high"),
                *(_spread(main) if several else ()),
                *(estimate(of.sel(targets=s), "mean", "low", "high") for s in sets[1:]),
            ]
        )  # fmt: skip
    means = [
        head("mean" if most_targets(found, s) > 1 else "one_target", f", {set_word(s)}")
        for s in sets
    ]
    spread = heads("fisher", "ends", "new_targets") if several else []
    return Filled(["Predictor", means[0], *spread, *means[1:]], rows)


def _order(inputs: Inputs, own: xr.Dataset, first: str) -> list[str]:
    """As on the common ground: means over other targets and models can't be compared."""
    names = [str(name) for name in own["predictor"].values]
    compared = inputs.told("comparison")
    if not compared.data_vars:
        return _sorted(own, first)
    return [name for name in _sorted(compared, first_targets(compared)) if name in names]


def _spread(main: xr.Dataset) -> tuple[Cell, ...]:
    """What a mean over several targets hides; over one there is nothing to hide."""
    return (
        Cell(rho(float(main["fisher"])), interval(main["fisher_low"], main["fisher_high"])),
        Cell(interval(main["lowest"], main["highest"]) or NOTHING),
        Cell(interval(main["new_low"], main["new_high"]) or NOTHING),
    )


def _targets(count: xr.DataArray) -> str:
    return counted(float(count), "target")


def _models(count: xr.DataArray) -> str:
    return counted(float(count), "model")


def _choosing(inputs: Inputs, found: xr.Dataset) -> Filled:
    targets = first_targets(found)
    table = found.sel(targets=targets)
    order = np.argsort(np.nan_to_num(table["regret_naive"].values, nan=9.0), kind="stable")
    rows = []
    for label in table["predictor"].values[order]:
        of = table.sel(predictor=label)
        rows.append(
            [
                Cell(inputs.columns[label].label),
                _two_estimates(of, "regret", points),
                _two_estimates(of, "relative", rho),
                *numbers(of, "top1", "top3"),
                Cell(percent(float(of["decision_accuracy"])),
                     f"of {whole(of['decided_pairs'])} pairs"),
                *numbers(of, "top_half", "n_targets"),
            ]
        )  # fmt: skip
    regrets = [head(key, ": naive (cross-fitted)") for key in ("regret_naive", "relative_naive")]
    others = heads("top1", "top3", "decision_accuracy", "top_half")
    return Filled(["Predictor", *regrets, *others, "Targets"], rows)


def _against_reference(inputs: Inputs, found: xr.Dataset) -> Filled | str:
    reference = str(found.attrs["reference"])
    if not reference:
        return "Withheld: there is no in-domain linear probe to compare with."
    tests = ("p_max_t", "p_holm", "predictor_differences.p", "detectable")
    rows = []
    for targets in map(str, found["targets"].values):
        table = found.sel(reference=reference, targets=targets)
        order = np.argsort(-np.nan_to_num(table["difference"].values, nan=-9), kind="stable")
        for label in table["predictor"].values[order]:
            of = table.sel(predictor=label)
            if np.isfinite(of["difference"]):
                rows.append(
                    [
                        Cell(inputs.columns[label].label, set_word(targets)),
                        estimate(of, "difference", "joint_low", "joint_high"),
                        *numbers(of, *tests),
                    ]
                )
    than = inputs.columns[reference].label
    difference = head("predictor_differences.difference", f" from {than}")
    return Filled(["Predictor, targets", difference, *heads(*tests)], rows)


def _two_estimates(of: xr.Dataset, name: str, write: Callable[[float], str]) -> Cell:
    """The naive estimate over the cross-fitted one: too large and too small, and no interval."""
    crossed, naive = (float(of[f"{name}_{end}"]) for end in ("crossed", "naive"))
    return Cell(write(naive), f"({write(crossed)})" if np.isfinite(crossed) else "at most")
