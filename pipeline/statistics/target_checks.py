"""What each cheap check would have cost on the target: the model that it picks, and how far behind.

A chooser takes the model that a check puts first. How far that model lies behind the best one, by
the probe that decides, is known with a limit that holds for all models at once, so for whichever
model a check picks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
import xarray as xr

from pipeline.results.cube import cheap_predictors, comparable
from pipeline.statistics.arrays import Floats
from pipeline.statistics.evidence import Evidence
from pipeline.statistics.image_noise import image_noise, no_outcomes
from pipeline.statistics.mean_scores import TARGET, mean_tests
from pipeline.statistics.pair_tests import PairTests
from pipeline.statistics.table import tabled, withheld
from pipeline.statistics.trained import left_out
from pipeline.study.column import column_name
from pipeline.study.fewshot import FEWSHOT
from pipeline.study.finetune import FINETUNE
from pipeline.study.knn import KNN
from pipeline.study.linear import LINEAR
from pipeline.study.protocol_list import classifies, protocol_label
from pipeline.study.transfer import TRANSFER
from pipeline.study.variant import Variant

DECIDING = (LINEAR.name, KNN.name, FEWSHOT.name)
"""Protocols by which a model is recommended, the first that scored the target; then any other."""

LARGEST = "parameters"

_DEFINITION = (
    "the model that each cheap check puts first, and how far it lies behind the best one on the "
    "target by the deciding protocol; of equal first ones the mean, and the limit of the farthest "
    "one. Untrained models are nobody's choice, unless one of them is the best. on_target: 1 of "
    "checks on the target's own images. "
    "models: those that the check could pick from. seconds: of the check on one model (mean), "
    "embeddings given"
)


def deciding(protocols: Iterable[str]) -> str:
    """Of the protocols that scored the target, the one that decides; empty of none."""
    scored = list(protocols)
    return next((name for name in (*DECIDING, *scored) if name in scored), "")


def deciding_protocol(evidence: Evidence) -> str:
    """The protocol that decides on the evidence's target."""
    scores = comparable(evidence.cube, evidence.settings.metric)
    has = scores.notnull().any("model")
    return deciding(
        protocol
        for protocol, variant in evidence.headline.items()
        if bool(has.sel(variant=variant, dataset=list(evidence.target)).any())
    )


@dataclass(frozen=True)
class _Check:
    name: str
    label: str
    on_target: bool
    scores: Floats
    seconds: float


def target_checks(evidence: Evidence) -> xr.Dataset:
    """Every cheap check's pick, beside the best model of the target.

    Returns
    -------
    Dataset
        Dimension check; variables label and picked (text), on_target, behind, behind_high,
        within_chance, as_good, models and seconds.
    """
    if not image_noise(evidence).columns:
        return withheld(_DEFINITION, no_outcomes(evidence))
    protocol = deciding_protocol(evidence)
    tests = mean_tests(evidence).get((protocol, TARGET))
    if tests is None:
        return withheld(
            _DEFINITION, "fewer than 2 models have per-image outcomes on the whole target"
        )
    trained = ~np.isin(tests.models, left_out(evidence).untrained)
    if trained.sum() < 2 or not trained[tests.paired.scores.argmax()]:
        trained = np.ones_like(trained)  # a check may pick what the target itself recommends
    rows: list[dict[str, Any]] = [
        {"name": check.name, "label": check.label, "on_target": float(check.on_target)}
        | _judged(tests, proxy, evidence.margin)
        | {"seconds": check.seconds}
        for check in _checks(evidence, tests.models, protocol)
        for proxy in [np.where(trained, check.scores, np.nan)]
        if np.isfinite(proxy).sum() > 1 and np.ptp(proxy[np.isfinite(proxy)])
    ]
    if not rows:
        return withheld(_DEFINITION, "no cheap check has scores that differ")
    return tabled(
        {"check": [row["name"] for row in rows]},
        {key: [row[key] for row in rows] for key in rows[0] if key != "name"},
        definition=_DEFINITION,
        interval=f"behind_high: {evidence.settings.confidence:.0%} upper limit, for all "
        "models at once (see mean_scores)",
        source="Hsu 1981",
        deciding=protocol,
    )


def _judged(tests: PairTests, proxy: Floats, margin: float) -> dict[str, float | str]:
    scores = tests.paired.scores
    behind = scores.max() - scores
    first = np.flatnonzero(proxy == np.nanmax(proxy))
    high = float(tests.behind_high[first].max())
    return {
        "picked": tests.models[first[0]] if len(first) == 1 else f"one of {len(first)} equal ones",
        "behind": float(behind[first].mean()),
        "behind_high": high,
        "within_chance": float(tests.within_chance[first].all()),
        "as_good": float(high < margin),
        "models": float(np.isfinite(proxy).sum()),
    }


def _checks(evidence: Evidence, models: tuple[str, ...], protocol: str) -> Iterator[_Check]:
    """On the target, then on each other data set, then what needs no image."""
    table = comparable(evidence.cube, evidence.settings.metric).sel(model=list(models))
    cheap = [evidence.variants[name] for name in cheap_predictors(evidence.cube)]
    probes = [
        variant for variant in evidence.variants.values()
        if variant.full_name in evidence.headline.values() and variant.protocol != FINETUNE.name
    ]  # fmt: skip
    target = list(evidence.target)
    for variant in [*probes, *other_shots(evidence), *cheap]:
        if variant.protocol != protocol:
            own = variant.protocol != TRANSFER.name
            yield _check(evidence, table, variant, target, on_target=own)
    elsewhere = [variant for variant in probes if variant.protocol != TRANSFER.name]
    inside = evidence.datasets("in_domain")
    for dataset in evidence.datasets():
        if dataset not in target:
            for variant in [*elsewhere, *(cheap if dataset in inside else ())]:
                yield _check(evidence, table, variant, [dataset], on_target=False)
    if "parameters" in evidence.cube.coords:
        sizes = evidence.cube["parameters"].sel(model=list(models)).values.astype(np.float64)
        yield _Check(LARGEST, "the largest model", False, sizes, 0.0)


def other_shots(evidence: Evidence) -> list[Variant]:
    """The headline's head with other numbers of labels, of all classes."""
    headline = evidence.variants.get(evidence.headline.get(FEWSHOT.name, ""))
    if headline is None:
        return []
    return [
        variant
        for variant in evidence.variants.values()
        if (variant.protocol, variant.head) == (FEWSHOT.name, headline.head)
        and variant.budget is not None
        and variant.budget.shots is not None
        and not variant.task
        and variant.full_name != headline.full_name
    ]


def _check(
    evidence: Evidence,
    table: xr.DataArray,
    variant: Variant,
    datasets: list[str],
    *,
    on_target: bool,
) -> _Check:
    scores = table.sel(variant=variant.full_name, dataset=datasets)
    values = scores.transpose("model", "dataset").values.astype(np.float64)
    if len(datasets) > 1 and not classifies(variant.protocol):  # no common unit: mean ranks
        values = scipy.stats.rankdata(values, axis=0, nan_policy="omit")
    seconds = evidence.cube["seconds"].sel(variant=variant.full_name, dataset=datasets)
    spent = seconds.max("metric").mean("model").sum("dataset", skipna=False)
    return _Check(
        name=column_name(variant.full_name, ", ".join(datasets)),
        label=check_words(variant)
        + ("" if datasets == list(evidence.target) else f" on {datasets[0]}"),
        on_target=on_target,
        scores=values.mean(axis=1),
        seconds=float(spent),
    )


def check_words(variant: Variant) -> str:
    """What a reader calls it: kNN, linear probe, 10 labels a class, LogME."""
    if not classifies(variant.protocol):
        return variant.label
    if variant.budget is None or variant.protocol != FEWSHOT.name:
        return protocol_label(variant.protocol)
    return variant.budget.label.replace(" image", " label")
