"""What a predictor's fidelity costs, and which predictors nobody beats at both."""

from __future__ import annotations

import numpy as np
import xarray as xr

from pipeline.statistics.arrays import Floats
from pipeline.statistics.evidence import Evidence
from pipeline.statistics.fidelity import fidelity
from pipeline.statistics.predictions import Predictions
from pipeline.statistics.table import tabled, withheld
from pipeline.study.column import EACH_TARGET, Column
from pipeline.study.finetune import FINETUNE
from pipeline.study.protocol_list import classifies

_DEFINITION = (
    "fidelity: mean Spearman ρ with the targets. seconds: measured, of the predictor itself on one "
    "model (mean over models), embeddings given. forward_passes: images that one model embeds for "
    "it: train and test, of a transferability metric train only. pareto_…: 1 where no other "
    "predictor is at least as good in both and better in one"
)


def fidelity_cost(evidence: Evidence) -> xr.Dataset:
    """Fidelity beside cost for every predictor and set of targets."""
    trusted = fidelity(evidence)
    if isinstance(trusted, str):
        return withheld(_DEFINITION, trusted)
    found = trusted.found
    means = found.over_sets(found.by_protocol(trusted.spearman))
    costs = {
        "seconds": np.array([_seconds(evidence, found, p) for p in found.predictors]),
        "forward_passes": np.array([_passes(evidence, found, p) for p in found.predictors]),
    }
    table = {"fidelity": means}
    for name, cost in costs.items():
        table[name] = np.broadcast_to(cost[:, np.newaxis], means.shape).copy()
        table[f"pareto_{name}"] = np.stack(
            [pareto_front(column, cost) for column in means.T], axis=1
        )
    return tabled(
        {"predictor": found.names, "targets": found.sets},
        table,
        found.words,
        definition=_DEFINITION,
        withheld="seconds and forward passes of imported scores; forward passes of "
        "fine-tuning, which trains the network; pareto_… without the cost",
        headline_targets=found.headline_set,
    )


def pareto_front(fidelities: Floats, costs: Floats) -> Floats:
    """1 for what nothing else dominates, else 0; NaN where fidelity or cost is not known.

    Parameters
    ----------
    fidelities, costs : ndarray of shape (n,)
        More is better, and less.
    """
    as_good = fidelities[:, np.newaxis] >= fidelities
    as_cheap = costs[:, np.newaxis] <= costs
    better = (fidelities[:, np.newaxis] > fidelities) | (costs[:, np.newaxis] < costs)
    dominated = (as_good & as_cheap & better).any(axis=0)
    known = np.isfinite(fidelities) & np.isfinite(costs)
    return np.where(known, (~dominated).astype(float), np.nan)


def _datasets(found: Predictions, predictor: Column) -> list[str]:
    if predictor.dataset != EACH_TARGET:
        return [predictor.dataset]
    return list(dict.fromkeys(target.dataset for target in found.targets))


def _seconds(evidence: Evidence, found: Predictions, predictor: Column) -> float:
    """Mean over models; on each target, summed over the targets."""
    chosen = evidence.cube["seconds"].sel(variant=predictor.variant.full_name)
    cells = chosen.sel(dataset=_datasets(found, predictor)).max("metric")  # alike for all metrics
    return float(
        (cells.sum("model") / cells.count("model").where(cells.count("model") > 0)).sum(
            skipna=False
        )
    )


def _passes(evidence: Evidence, found: Predictions, predictor: Column) -> float:
    if predictor.protocol == FINETUNE.name:  # it trains the network, and embeds nothing
        return float("nan")
    cheap = not classifies(predictor.protocol)
    total = 0.0
    for dataset in _datasets(found, predictor):
        test = evidence.tests.get(dataset)
        if test is None:
            return float("nan")
        total += test.n_train + (0 if cheap else len(test.labels))
    return total
