"""The paper's claims beside what this study finds, where it asks the same question."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from ruamel.yaml import YAML

from pipeline.report.formats import interval, p_value, percent, points, rho
from pipeline.report.inputs import Inputs
from pipeline.report.predictors import PROTOCOL, TRAINED, Predictor, predictors
from pipeline.report.stated import statistic
from pipeline.statistics.common_ground import ENOUGH_MODELS
from pipeline.statistics.panel import MEAN
from pipeline.statistics.predictions import ALL
from pipeline.statistics.statements import ALPHA
from pipeline.statistics.written import counted
from pipeline.study.finetune import FINETUNE
from pipeline.study.knn import KNN
from pipeline.study.linear import LINEAR
from pipeline.study.protocol_list import protocol_label

SAME, OTHER, OPEN = "same", "other", "can’t be told"

TENTH = 0.1
"""The share of the labels that the paper's few-shot fine-tuning has."""

MOST = 0.5
"""What "most of the difference" is more than."""


@dataclass(frozen=True)
class Ours:
    """What this study finds: the verdict, the numbers, and what they rest on."""

    verdict: str
    found: str
    rests_on: str = ""


@dataclass(frozen=True)
class Row:
    """A claim, how it was published, and what is found here."""

    says: str
    published: str
    ours: Ours


@dataclass(frozen=True)
class Claims:
    """What the section says; `missing` are the claims that the study does not ask about."""

    withheld: str = ""
    intro: str = ""
    rows: tuple[Row, ...] = ()
    missing: tuple[str, ...] = ()


def section(inputs: Inputs) -> Claims:
    """A row for each claim that the study asks about; the others are named."""
    published = _published()
    claims: Mapping[str, Mapping[str, str]] = published["claims"]
    source = published["source"]
    ours = {key: ask(inputs) for key, ask in ASKED.items()}
    rows = tuple(
        Row(claims[key]["says"], claims[key]["published"], found)
        for key, found in ours.items()
        if found is not None
    )
    if not rows:
        return Claims(
            f"Withheld: this study asks nothing that the paper ({source['reference']}) does: how "
            "in-domain scores predict others, what normalization, backbones and labels change."
        )
    return Claims(
        "",
        f"{source['reference']}: {source['models']} models on {source['datasets']} data sets. "
        "“Same” or “other” is said only where this study tells them apart; it has other models and "
        "data sets, so “other” does not make theirs wrong.",
        rows,
        tuple(claims[key]["says"].rstrip(".") for key, found in ours.items() if found is None),
    )


@functools.cache
def _published() -> Any:
    path = Path(__file__).with_name("paper_claims.yaml")
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


def _rho_of(of: Predictor) -> str:
    ends = interval(of.low, of.high)
    return f"{of.name} ρ {rho(of.mean)}" + (f" ({ends})" if ends else "")


def _behind(of: Predictor) -> str:
    return f"{counted(of.models, 'model')}, {counted(of.targets, 'target')}"


def probing(inputs: Inputs) -> Ours | None:
    """Whether the linear probe or kNN is the best protocol in domain."""
    found = [p for p in predictors(inputs) if p.kind in (PROTOCOL, TRAINED)]
    plain = [p for p in found if p.column.protocol in (LINEAR.name, KNN.name)]
    if not plain or len({p.column.protocol for p in found}) < 2:
        return None
    best, own = found[0], plain[0]
    said = _rho_of(best) if best is own else f"{_rho_of(best)}; {_rho_of(own)}"
    better = [p for p in found if p not in plain and p.difference > 0 and p.p < ALPHA]
    if best.models < ENOUGH_MODELS or not math.isfinite(best.low):
        verdict = OPEN
    elif better:
        verdict = OTHER
    else:
        verdict = SAME if best is own else OPEN
    return Ours(verdict, said, _behind(best))


def tenth(inputs: Inputs) -> Ours | None:
    """Whether fine-tuning on a tenth of the labels orders the models as scores elsewhere do."""
    found = [
        p for p in predictors(inputs)
        if p.column.protocol == FINETUNE.name and _labels(inputs, p) == TENTH
    ]  # fmt: skip
    if not found:
        return None
    of = found[0]
    enough = of.models >= ENOUGH_MODELS and math.isfinite(of.low)
    verdict = SAME if enough and of.low > 0 else OTHER if enough and of.high < 0 else OPEN
    return Ours(verdict, _rho_of(of), _behind(of))


def _labels(inputs: Inputs, of: Predictor) -> float | None:
    """The share of the labels that a run of fine-tuning sees."""
    run = inputs.study.finetune.runs.get(of.column.variant.called)
    return None if run is None else run.fraction


def normalization(inputs: Inputs) -> Ours | None:
    """Whether any normalization changes a mean ρ."""
    table = statistic(inputs, "normalization_tests")
    if isinstance(table, str):
        return None
    of = table.sel(targets=ALL) if ALL in table["targets"].values else table.isel(targets=0)
    known = np.flatnonzero(np.isfinite(of["difference"].values))
    if not len(known):
        return None
    largest = of.isel(predictor=int(known[np.argmax(np.abs(of["difference"].values[known]))]))
    name = inputs.columns[str(largest["predictor"].item())].label
    p = float(largest["p_max_t"])
    changed = bool((of["p_max_t"] < ALPHA).any())
    said = (
        f"largest change of {len(known)}: Δ {rho(float(largest['difference']))} "
        f"({interval(largest['low'], largest['high'])}) for {name}, p {p_value(p)}"
    )
    least = float(of["detectable"].max())
    rests = f"80% of such studies would find a change of {rho(least)}" if least == least else ""
    return Ours(SAME if changed else OPEN, said, rests)


def backbone(inputs: Inputs) -> Ours | None:
    """How much of the gap between objectives the backbones explain."""
    table = statistic(inputs, "objective_share")
    if isinstance(table, str) or MEAN not in table["dataset"].values:
        return None
    chosen = inputs.decides if inputs.decides in table["protocol"].values else None
    of = table.sel(dataset=MEAN, protocol=chosen or table["protocol"].values[0])
    if not np.isfinite(of["gap"]):
        return None
    share, low, high = (float(of[name]) for name in ("share", "share_low", "share_high"))
    rests = f"{protocol_label(str(of['protocol'].item()))}, {counted(float(of['n']), 'model')}"
    if not math.isfinite(share):
        return Ours(OPEN, str(of["verdict"].item()) or "no share", rests)
    verdict = SAME if low > MOST else OTHER if high < MOST else OPEN
    ends = interval(low, high)
    return Ours(verdict, f"{percent(share)} of the gap" + (f" ({ends})" if ends else ""), rests)


def _gaps(inputs: Inputs, name: str, group: str | None) -> xr.Dataset | None:
    """Supervised less self-supervised models over data sets, by the first head; known ones."""
    table = statistic(inputs, name)
    if isinstance(table, str) or MEAN not in table["dataset"].values:
        return None
    groups = [str(word) for word in table["group"].values]
    chosen = groups[0] if group is None else next((g for g in groups if group in g), None)
    if chosen is None:
        return None
    of = table.sel(dataset=MEAN, group=chosen).isel(head=0)
    axis = str(of["difference"].dims[0])
    of = of.isel({axis: np.flatnonzero(np.isfinite(of["difference"].values))})
    return of if of.sizes[axis] else None


def _told(of: xr.Dataset) -> str:
    ends = interval(of["low"], of["high"], in_points=True)
    return points(float(of["difference"])) + (f" ({ends})" if ends else "")


def _models(of: xr.Dataset) -> str:
    return (
        f"{counted(float(of['supervised']), 'supervised model')} and "
        f"{int(of['self_supervised']):,} self-supervised; points, above 0 supervised ones lead"
    )


def few_labels(inputs: Inputs) -> Ours | None:
    """Whether the sign turns from the fewest labels to the most."""
    of = _gaps(inputs, "label_gap", None)
    if of is None or of.sizes["budget"] < 2:
        return None
    of = of.sortby("labels")
    first, last = of.isel(budget=0), of.isel(budget=-1)
    turned = first["high"] < 0 < last["low"]
    against = first["low"] > 0 or last["high"] < 0
    said = " and ".join(
        f"{_told(part)} with {counted(float(part['labels']), 'label')} a class"
        for part in (first, last)
    )
    return Ours(SAME if turned else OTHER if against else OPEN, said, _models(first))


def backbones_differ(inputs: Inputs) -> Ours | None:
    """Whether self-supervised models gain more from a ViT, with the fewest labels."""
    of = _gaps(inputs, "label_gap", " - ")
    if of is None:
        return None
    first = of.sortby("labels").isel(budget=0)
    group = str(first["group"].item())
    sign = 1 if "vit" in group.partition(" - ")[0].lower() else -1
    low, high = sorted((sign * float(first["low"]), sign * float(first["high"])))
    verdict = SAME if high < 0 else OTHER if low > 0 else OPEN
    said = f"{group.replace(' - ', ' − ')}: {_told(first)}"
    return Ours(verdict, said, _models(first))


def complexity(inputs: Inputs) -> Ours | None:
    """Whether the difference changes from simple tasks to complex ones."""
    table = _gaps(inputs, "complexity_gap", None)
    if table is None:
        return None
    changes = [task for task in map(str, table["task"].values) if " - " in task]
    if not changes:
        return None
    found = [table.sel(task=task) for task in changes]
    certain = [of for of in found if of["low"] > 0 or of["high"] < 0]
    shown = (certain or found)[0]
    words = str(shown["task"].item()).replace("_", " ").replace(" - ", " less ")
    return Ours(SAME if certain else OPEN, f"{words}: {_told(shown)}", _models(shown))


ASKED: Mapping[str, Callable[[Inputs], Ours | None]] = {
    "probing": probing,
    "tenth": tenth,
    "normalization": normalization,
    "backbone": backbone,
    "few_labels": few_labels,
    "backbones_differ": backbones_differ,
    "complexity": complexity,
}
"""What is asked of each claim of paper_claims.yaml; None: this study does not ask it."""
