"""Whether a cheap evaluation is worth its cost: against every order that asks for no evaluation."""

from __future__ import annotations

import numpy as np
import xarray as xr

from pipeline.statistics.arrays import Floats, Mask, Places
from pipeline.statistics.common_ground import has_both, rho_on
from pipeline.statistics.comparison import ground_of, mean_over
from pipeline.statistics.correlation import MIN_FAMILIES
from pipeline.statistics.differences import Differences, judged_together, untested
from pipeline.statistics.evidence import Evidence
from pipeline.statistics.fidelity import Fidelity, fidelity, observed_spearman
from pipeline.statistics.null_models import (
    NULL_MODELS,
    RANDOM,
    null_columns,
    with_null_models,
)
from pipeline.statistics.paired import Paired, draws_of, paired
from pipeline.statistics.predictions import Predictions
from pipeline.statistics.table import blank, fill, tabled, withheld

STRONGEST = (1, 2, 3)
"""How many of the strongest models are left out to see what is left of a mean."""

_TESTED = (
    "mean Spearman ρ of `predictor` less that of the null model, on the targets and models that "
    "both have; of random order, ρ itself. p_max_t is corrected for the number of predictors. A "
    "predictor that beats each null model at 5% beats all of them at 5% (intersection-union)"
)
_MEANS = (
    "mean Spearman ρ of each null model over the targets and models of the common ground that it "
    "is known of; n: fewest models on a target"
)


def against_null_models(evidence: Evidence) -> xr.Dataset:
    """Every predictor against every null model, for each set of targets."""
    trusted = fidelity(evidence)
    if isinstance(trusted, str):
        return withheld(_TESTED, trusted)
    found, confidence = trusted.found, evidence.settings.confidence
    nulls = null_columns(evidence, found)
    whole = with_null_models(found, nulls)
    count = len(found.predictors)
    names = [null.name for null in (*nulls.models, RANDOM)]
    labels = {"predictor": found.names, "null_model": names, "targets": found.common_sets}
    table = blank(labels, ("difference", "low", "high", "p", "p_max_t"))
    pairs = [(p, count + k) for k in range(len(nulls.models)) for p in range(count)]
    both = paired(whole, observed_spearman(whole), pairs)
    redraws = draws_of(both, trusted.redraws, trusted.families, new=False)
    for s, name in enumerate(found.common_sets):
        chosen = np.broadcast_to(found.members(name), (count, len(found.protocols)))
        for k in range(len(names)):
            if names[k] == RANDOM.name:
                told = _against_random(trusted, chosen, confidence)
            else:
                of_null = both.of(range(k * count, (k + 1) * count))
                value = of_null.value(chosen)
                draws = [of_null.differences(d, chosen) for d in redraws.over_models]
                told = _told(value, draws, trusted, confidence)
            fill(table, np.s_[:, k, s], {column: getattr(told, column) for column in table})
    return tabled(
        labels,
        table,
        definition=_TESTED,
        source="Berger 1982 for the intersection-union test; Westfall & Young 1993 for p",
        interval=f"{confidence:.0%} percentiles, of each difference alone; redraws of "
        "models and of families, of both the wider interval and the larger p",
        withheld=f"intervals and p below {MIN_FAMILIES} families",
    )


def null_models(evidence: Evidence) -> xr.Dataset:
    """How well the null models order the models, and without the strongest ones."""
    trusted = fidelity(evidence)
    if isinstance(trusted, str):
        return withheld(_MEANS, trusted)
    found = trusted.found
    nulls = null_columns(evidence, found)
    whole = with_null_models(found, nulls).rows_from(len(found.predictors))
    names = [null.name for null in NULL_MODELS]
    labels = {"null_model": names, "targets": found.common_sets}
    table = blank(labels, ("mean", "lowest", "highest", "n", "n_targets"))
    for s, name in enumerate(found.common_sets):
        ground = ground_of(trusted, name)
        for k, null in enumerate(nulls.models):
            known = has_both(whole)[k] & ground.models
            rho = np.where(ground.targets, rho_on(whole, known)[k], np.nan)
            used = np.isfinite(rho)
            if not used.any():
                continue
            values = {
                "mean": mean_over(found, rho, ground, name), "lowest": rho[used].min(),
                "highest": rho[used].max(), "n_targets": used.sum(),
                "n": np.count_nonzero(known, axis=0)[used].min(),
            }  # fmt: skip
            fill(table, (names.index(null.name), s), values)
        if ground.targets.any():
            of_random = {"mean": 0.0, "n_targets": ground.targets.sum(),
                         "n": ground.n[ground.targets].min()}  # fmt: skip
            fill(table, (names.index(RANDOM.name), s), of_random)
    unknown = np.array([nulls.unknown.get(name, "") for name in names], np.str_)
    return tabled(
        labels,
        table | {"unknown": np.repeat(unknown[:, np.newaxis], len(found.common_sets), axis=1)},
        {
            "label": ("null_model", [null.label for null in NULL_MODELS]),
            "cost": ("null_model", [null.cost for null in NULL_MODELS]),
        },
        definition=_MEANS,
        headline_targets=found.headline_set,
        withheld="sizes that are known of fewer than four models",
    )


def without_strongest(evidence: Evidence) -> xr.Dataset:
    """Mean ρ of predictors and null models without the strongest models of the study."""
    definition = (
        "mean Spearman ρ over the common ground without the strongest models, by their mean rank "
        "over its targets; of predictors and null models"
    )
    trusted = fidelity(evidence)
    if isinstance(trusted, str):
        return withheld(definition, trusted)
    found = trusted.found
    nulls = null_columns(evidence, found)
    whole = with_null_models(found, nulls)
    labels = {
        "order": [*found.names, *(null.name for null in nulls.models)],
        "targets": found.common_sets,
        "left_out": STRONGEST,
    }
    table = blank(labels, ["mean"])
    for s, name in enumerate(found.common_sets):
        ground = ground_of(trusted, name)
        if not ground.targets.any():
            continue
        order = _strongest(found, ground.models & ground.targets)
        shown = np.append(ground.compared, np.ones(len(nulls.models), bool))
        for k, count in enumerate(STRONGEST):
            rows = ground.models.copy()
            rows[order[:count]] = False
            values = mean_over(found, rho_on(whole, rows), ground, name)
            fill(table, np.s_[:, s, k], {"mean": np.where(shown, values, np.nan)})
    return tabled(labels, table, definition=definition, withheld="of fewer than four models")


def _strongest(found: Predictions, rows: Mask) -> Places:
    """Models from the best to the worst by their mean share of models that they beat."""
    scores = np.where(rows, found.scores[:, found.target_columns], np.nan)
    beaten = (scores[:, np.newaxis] > scores).sum(axis=1) / np.maximum(rows.sum(axis=0), 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(rows, beaten, 0.0).sum(axis=1) / rows.sum(axis=1)
    return np.argsort(-np.nan_to_num(share, nan=-1.0), kind="stable")


def _told(value: Floats, draws: list[Floats], trusted: Fidelity, confidence: float) -> Differences:
    if trusted.redraws.families is None:
        return untested(value)
    return judged_together(value, draws, confidence)


def _against_random(trusted: Fidelity, chosen: Mask, confidence: float) -> Differences:
    """Random order has a ρ of 0 on every target, in the mean over all orders."""
    found = trusted.found
    rows = np.arange(len(found.predictors))
    alone = Paired(found, trusted.spearman, rows, np.full(len(rows), len(rows)))

    def beside_zero(means: Floats) -> Floats:
        return np.concatenate([means, np.zeros_like(means[:, :1])], axis=1)

    means = found.by_protocol(trusted.spearman)[np.newaxis]
    value = alone.differences(beside_zero(means), chosen)[0]
    draws = [alone.differences(beside_zero(d), chosen) for d in trusted.redraws.over_models]
    return _told(value, draws, trusted, confidence)
