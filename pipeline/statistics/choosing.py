"""What choosing a model by a predictor costs: right decisions, regret, hit rates."""

from __future__ import annotations

import numpy as np
import xarray as xr

from pipeline.statistics.arrays import Floats, Words
from pipeline.statistics.correlation import MIN_MODELS
from pipeline.statistics.evidence import Evidence
from pipeline.statistics.fidelity import Fidelity, fidelity
from pipeline.statistics.image_noise import ImageColumn, image_noise
from pipeline.statistics.model_pairs import pair_tests
from pipeline.statistics.pair_tests import PairTests
from pipeline.statistics.regret import (
    choice,
    crossed_regret,
    decision_accuracy,
    hit_rates,
    naive_regret,
    top_half,
)
from pipeline.statistics.table import fill, tabled, withheld

_DEFINITION = (
    "means over targets as in `trust`. decision_accuracy: share of model pairs that the predictor "
    "orders rightly, a tie counting half, among those that differ on the target (see "
    "model_pairs). top_half: Spearman ρ among the predictor's better half of the models. "
    "regret_naive: best target score less that of the predictor's choice, too large by the luck "
    "of the best; regret_crossed: the best is chosen on one half of the target's images and judged "
    "on the other, too small; relative_…: divided by the mean of best less median. top1, top3: how "
    "often the target's best model is the predictor's choice, or among its first three"
)


def choosing(evidence: Evidence) -> xr.Dataset:
    """What each predictor is worth for choosing a model, for each set of targets."""
    trusted = fidelity(evidence)
    if isinstance(trusted, str):
        return withheld(_DEFINITION, trusted)
    noise, tests = image_noise(evidence), pair_tests(evidence)
    found = trusted.found
    names = (
        "decision_accuracy", "decided_pairs", "top_half", "regret_crossed", "regret_naive",
        "best_less_median", "top1", "top3",
    )  # fmt: skip
    models = np.array(trusted.found.models)
    single = {name: np.full(found.pick.shape, np.nan) for name in names}
    for t, target in enumerate(found.targets):
        known = noise.columns.get(target.key), tests.get(target.key)
        for p in range(len(found.predictors)):
            proxy = found.scores[:, found.pick[p, t]]
            truth = found.scores[:, found.target_columns[t]]
            fill(single, (p, t), _judge(proxy, truth, models, *known))
    counts, _ = found.counts(np.isfinite(single["regret_naive"]))
    table = {
        name: found.over_sets(found.by_protocol(values))
        for name, values in single.items()
        if name != "decided_pairs"
    }
    for end in ("crossed", "naive"):
        # A ratio of means: some targets have next to nothing to lose.
        scale = np.where(table["best_less_median"] > 1e-12, table["best_less_median"], np.nan)
        table[f"relative_{end}"] = table[f"regret_{end}"] / scale
    table["decided_pairs"] = _sums(trusted, single["decided_pairs"])
    table["n_targets"] = counts.astype(float)
    return tabled(
        {"predictor": found.names, "targets": found.sets},
        table,
        found.words,
        definition=_DEFINITION,
        source="Magnusson et al. 2025 (decision accuracy); regret bracketed by sample splitting",
        interval="[crossed, naive] brackets the regret in expectation; it is no confidence "
        "interval",
        withheld="decision_accuracy and regret_crossed without per-image outcomes; "
        f"everything of fewer than {MIN_MODELS} models; top_half below {2 * MIN_MODELS - 1}",
        headline_targets=found.headline_set,
    )


def _sums(trusted: Fidelity, values: Floats) -> Floats:
    """Sums over each set's targets, shape (n_predictors, n_sets)."""
    found = trusted.found
    return np.array(
        [
            [
                np.nansum(row[found.members(name, predictor.protocol)[found.protocol_places]])
                for name in found.sets
            ]
            for predictor, row in zip(found.predictors, values, strict=True)
        ]
    )


def _judge(
    proxy: Floats,
    truth: Floats,
    models: Words,
    column: ImageColumn | None,
    tests: PairTests | None,
) -> dict[str, float]:
    """One predictor on one target."""
    both = np.isfinite(proxy) & np.isfinite(truth)
    if both.sum() < MIN_MODELS:
        return {}
    names = models[both].tolist()
    chosen = choice(proxy[both])
    result = {
        "top_half": top_half(proxy[both], truth[both]),
        "regret_naive": naive_regret(chosen, truth[both]),
        "best_less_median": float(truth[both].max() - np.median(truth[both])),
        **hit_rates(proxy[both], truth[both]),
    }
    if column is not None and set(names) <= set(column.models):
        place = [column.models.index(name) for name in names]
        result["regret_crossed"] = crossed_regret(chosen, column.halves[:, :, place])
    if tests is not None:
        # Who is left out of headlines has outcomes, too: no value here, so no decided pair.
        known = dict(zip(models.tolist(), proxy, strict=True))
        mine = np.array([known.get(model, np.nan) for model in tests.models])
        first, second = np.nonzero(tests.better)  # the first is better than the second
        decided = np.isfinite(mine[first]) & np.isfinite(mine[second])
        first, second = first[decided], second[decided]
        result["decided_pairs"] = float(len(first))
        result["decision_accuracy"] = decision_accuracy(
            mine[first], mine[second], tests.difference[first, second]
        )
    return result
