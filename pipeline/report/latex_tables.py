"""The study's scores, and how far each predictor is to be trusted, as tables for papers."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cache.errors import ProbelineError
from cache.files import write_durably
from pipeline.report.answers import answer
from pipeline.report.columns import heads
from pipeline.report.formats import interval, level, points, rho
from pipeline.report.inputs import Inputs
from pipeline.report.latex import escaped, table
from pipeline.report.stated import statistic
from pipeline.report.tables import inside_first
from pipeline.statistics.written import counted, models_of
from pipeline.study import metrics
from pipeline.study.protocol_list import protocol_label

Floats = NDArray[np.float64]


def write_tables(inputs: Inputs, folder: Path) -> list[Path]:
    """scores_PROTOCOL.tex of each protocol, and trust.tex where predictors were compared."""
    texts = {f"scores_{name}": scores_table(inputs, name) for name in inputs.headline}
    if trust := trust_table(inputs):
        texts["trust"] = trust
    texts = {name: text for name, text in texts.items() if text}
    if not texts:
        raise ProbelineError("results", "there is nothing to put into a table",
                             remedy="run `dvc repro`")  # fmt: skip
    paths = []
    for name, text in texts.items():
        paths.append(folder / f"{name}.tex")
        write_durably(paths[-1], text.encode())
    return paths


def scores_table(inputs: Inputs, protocol: str) -> str:
    """A row for each model, a column for each data set that the protocol scored."""
    scored = set(inputs.scored_datasets(protocol))
    datasets = [name for name in inside_first(inputs) if name in scored]
    if not datasets:
        return ""
    variant = inputs.headline[protocol]
    of = inputs.scored.sel(variant=variant, dataset=datasets).transpose("model", "dataset", ...)
    near = _within_chance(inputs, protocol, datasets)
    means = inputs.plain_means(protocol, datasets) if len(datasets) > 1 else None
    order = np.argsort(-_key(of["value"].values, means), kind="stable")
    rows, without = [], []
    for place in map(int, order):
        values, low, high = (of[name].values[place] for name in ("value", "ci_low", "ci_high"))
        if not np.isfinite(values).any():
            without.append(inputs.models[place])
            continue
        cells = [
            _score(value, ends, bold=bool(near[place, column]))
            for column, (value, *ends) in enumerate(zip(values, low, high, strict=True))
        ]
        mean = [] if means is None else [_number(means[place])]
        rows.append([escaped(inputs.models[place]), *cells, *mean])
    head = ["Model", *datasets, *([] if means is None else ["Mean"])]
    metric = metrics.metric_named(inputs.metric)
    tests = inputs.cube["n_test"].sel(dataset=datasets).values
    images = " to ".join(dict.fromkeys(f"{int(n):,}" for n in (tests.min(), tests.max())))
    said = [
        f"{metric.goodness_of(metric.label).capitalize()} in %, {inputs.variants[variant].label}; "
        f"{len(rows)} models, {images} test images a data set.",
        "Small: 95% intervals over test images." if np.isfinite(of["ci_low"]).any() else "",
        "Bold: no model is known to be better (within chance of the best, all pairs tested "
        "together)." if near.any() else "",
        f"Without a score: {', '.join(without)}." if without else "",
    ]  # fmt: skip
    return table(head, rows, " ".join(filter(None, said)), f"scores-{protocol}")


def _key(values: Floats, means: Floats | None) -> Floats:
    """What models are sorted by: the mean where they have one, else the first score."""
    key: Floats = np.nan_to_num(values[:, 0] if means is None else means, nan=-1.0)
    return key


def _within_chance(inputs: Inputs, protocol: str, datasets: list[str]) -> NDArray[np.bool_]:
    """Shape (n_models, n_datasets): whether no model is known to be better."""
    found = np.zeros((len(inputs.models), len(datasets)), bool)
    ranks = statistic(inputs, "ranks")
    if not isinstance(ranks, xr.Dataset) or protocol not in ranks["protocol"].values:
        return found
    there = [name for name in datasets if name in ranks["dataset"].values]
    of = ranks["within_chance"].sel(protocol=protocol, dataset=there)
    known = of.reindex(model=inputs.models).transpose("model", "dataset").values == 1
    found[:, [datasets.index(name) for name in there]] = known
    return found


def _score(value: float, ends: list[float], *, bold: bool) -> str:
    text = _number(value)
    if bold:
        text = rf"\textbf{{{text}}}"
    words = interval(*ends, in_points=True)
    return rf"{text} {{\scriptsize ({escaped(words)})}}" if words else text


def _number(value: float) -> str:
    return points(value).replace("−", "$-$").replace("–", "--") if math.isfinite(value) else "--"


def trust_table(inputs: Inputs) -> str:
    """A row for each predictor of out-of-domain scores; empty where none were compared."""
    found = answer(inputs)
    if not found.predictors:
        return ""
    words = ["Predictor", *_words("mean"), *(f"with {protocol_label(p)}" for p in found.protocols)]
    if found.reference:
        words += _words("predictor_differences.difference", "p_max_t")
    rows = []
    for of in found.predictors:
        row = [of.name, _with_ends(of.mean, of.low, of.high)]
        row += [rho(of.by_protocol[name]) for name in found.protocols]
        if found.reference and of.name != found.reference:
            row += [_with_ends(of.difference, of.difference_low, of.difference_high), rho(of.p)]
        elif found.reference:
            row += ["reference", ""]
        rows.append([escaped(cell) for cell in row])
    first = found.predictors[0]
    confidence = level(inputs.study.correlation.confidence)
    said = (
        "How well each cheap evaluation orders the models: Spearman ρ with out-of-domain "
        f"{found.targets}, mean over {counted(first.targets, 'target')}, "
        f"{models_of(first.models, first.families, given=found.families_given)} that all "
        f"predictors have. Intervals ({confidence}) and p hold for all {len(rows)} at once."
    )
    return table(words, rows, said, "trust")


def _words(*columns: str) -> list[str]:
    return [of.text for of in heads(*columns)]


def _with_ends(value: float, low: float, high: float) -> str:
    words = interval(low, high)
    return f"{rho(value)} ({words})" if words else rho(value)
