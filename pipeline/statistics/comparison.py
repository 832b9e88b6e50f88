"""Which evaluation to trust: all predictors on their common ground, for each protocol to predict.

`trust` says of each predictor how well it orders the models that it has, on the targets that it
has. Here all are compared on the same ones, so that the first of the table is the first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.statistics.arrays import Floats, Mask, Words
from pipeline.statistics.common_ground import (
    ENOUGH_MODELS,
    ENOUGH_TARGETS,
    Ground,
    common_ground,
    rho_on,
)
from pipeline.statistics.evidence import Evidence
from pipeline.statistics.fidelity import Fidelity, fidelity
from pipeline.statistics.fisher_z import least_rho_error, rho_limit, z_of
from pipeline.statistics.jackknife import MIN_GROUPS, Jackknife, deletion_groups, members_of
from pipeline.statistics.panel import words
from pipeline.statistics.predictions import Predictions, mean_of_known, predictions
from pipeline.statistics.regret import top_half, top_ten
from pipeline.statistics.simultaneous import joint_interval, joint_quantile
from pipeline.statistics.table import blank, blank_words, fill, tabled, withheld
from pipeline.statistics.trained import left_out
from pipeline.statistics.written import NOT_GIVEN, families_given

SIMPSON = 0.2
"""So much lower within backbones than over all, a ρ is one of backbones more than of models."""

_DEFINITION = (
    "Mean Spearman's ρ of each predictor over the targets and, on each, over the models that all "
    "compared predictors have; targets weigh as in `trust`, and include those of the predictor's "
    f"own protocol. Below {ENOUGH_MODELS} models or {ENOUGH_TARGETS} targets the predictor that "
    "costs the most of them is taken out, with its reason. Untrained and collapsed models are left "
    "out, but of with_all. top_half, top_ten: ρ among the models that the predictor itself puts "
    "there; within: ρ of ranks less their backbone's mean"
)

NUMBERS = (
    "compared", "mean", "low", "high", "joint_low", "joint_high", "lowest", "highest",
    "n_targets", "n", "families", "over_models", "top_half", "top_half_n", "top_ten",
    "within", "within_n", "with_all", "with_all_n",
)  # fmt: skip


def comparison(evidence: Evidence) -> xr.Dataset:
    """All predictors on common ground, for each set of targets."""
    trusted = fidelity(evidence)
    if isinstance(trusted, str):
        return withheld(_DEFINITION, trusted)
    found, confidence = trusted.found, evidence.settings.confidence
    labels = {"predictor": found.names, "targets": found.common_sets}
    table = blank(labels, NUMBERS)
    reasons = blank_words(labels, ["reason"])["reason"]
    measured = _Measured(evidence, trusted)
    everyone = _everyone(evidence, found)
    for s, name in enumerate(found.common_sets):
        ground = ground_of(trusted, name)
        fill(table, np.s_[:, s], _over(ground, measured, name, confidence))
        if everyone is not None:
            fill(table, np.s_[:, s], _with_all(everyone, found, ground, name))
        for place, reason in ground.reasons.items():
            reasons[place, s] = reason
    out = left_out(evidence)
    return tabled(
        labels,
        table | {"reason": reasons.astype(np.str_)},
        found.words,
        definition=_DEFINITION,
        source="Efron & Stein 1981; Bonett & Wright 2000; multivariate t for joint_…",
        interval=f"{confidence:.0%} delete-one-family jackknife of the mean, atanh scale; "
        "joint_low and joint_high hold for all compared predictors at once, and so for the "
        f"highest; over_models: 1 below {MIN_GROUPS} families",
        headline_targets=found.headline_set,
        untrained=", ".join(out.untrained),
        collapsed=", ".join(out.collapsed),
        left_out=int(out.mask.sum()),
        ranked=out.ranked,
        models=len(found.models),
        families="" if families_given(trusted.families) else NOT_GIVEN,
    )


def ground_of(trusted: Fidelity, name: str) -> Ground:
    """The common ground of all predictors for a set of targets."""
    found = trusted.found
    asked = found.members(name)[found.protocol_places]
    return common_ground(found, trusted.spearman, asked)


def ground_means(trusted: Fidelity, name: str) -> Floats:
    """The means of `comparison` for a set of targets alone, shape (n_predictors,)."""
    found, ground = trusted.found, ground_of(trusted, name)
    ground, rho = _varying(ground, rho_on(found, ground.models))
    return mean_over(found, rho, ground, name)


def _varying(ground: Ground, rho: Floats) -> tuple[Ground, Floats]:
    """The ground, and ρ on it: a target on which a predictor does not vary is no common one."""
    compared = ground.compared
    rho = np.where(compared[:, np.newaxis] & ground.targets, rho, np.nan)
    whole = np.isfinite(rho[compared]).all(axis=0)
    kept = Ground(compared, ground.targets & whole, ground.models, ground.reasons)
    return kept, np.where(kept.targets, rho, np.nan)


def mean_over(found: Predictions, values: Floats, ground: Ground, name: str) -> Floats:
    """Means over a ground's targets, protocols and clusters alike, shape (..., n_rows)."""
    used = np.where(ground.targets, values, np.nan)
    return mean_of_known(found.by_protocol(used)[..., found.members(name)])


@dataclass(frozen=True)
class _OnRows:
    """All that is asked of the predictors over the same models of each target."""

    rho: Floats
    within: Floats
    within_n: NDArray[np.int64]
    families: NDArray[np.int64]
    top: dict[str, Floats]


class _Measured:
    """Correlations over given models of each target, computed once for each choice of them."""

    def __init__(self, evidence: Evidence, trusted: Fidelity) -> None:
        self.trusted = trusted
        chosen = np.isin(evidence.models, trusted.found.models)
        self.backbone = words(evidence, "backbone")[chosen]
        self._known: dict[bytes, _OnRows] = {}
        self._without: dict[tuple[bytes, bool], list[tuple[NDArray[np.int64], Floats]]] = {}

    def on(self, rows: Mask) -> _OnRows:
        """Over these models, shape (n_models, n_targets)."""
        key = rows.tobytes()
        if key not in self._known:
            found = self.trusted.found
            known = rows & (self.backbone != "unknown")[:, np.newaxis]
            members = members_of(self.trusted.families).astype(np.float64)
            self._known[key] = _OnRows(
                rho=rho_on(found, rows),
                within=rho_on(found, known, self.backbone),
                within_n=_in_company(known, self.backbone),
                families=np.count_nonzero(members @ rows > 0, axis=0),
                top={
                    name: _among(found, rows, measure)
                    for name, measure in (("top_half", top_half), ("top_ten", top_ten))
                },
            )
        return self._known[key]

    def without(
        self, rows: Mask, units: Words, over_models: bool
    ) -> list[tuple[NDArray[np.int64], Floats]]:
        """Models left on each target, and ρ over them, without each unit in turn."""
        key = rows.tobytes(), over_models
        if key not in self._without:
            parts = [rows & ~gone[:, np.newaxis] for gone in deletion_groups(units)]
            self._without[key] = [
                (np.count_nonzero(part, axis=0), rho_on(self.trusted.found, part))
                for part in parts
                if (part != rows).any()
            ]
        return self._without[key]


def _over(ground: Ground, measured: _Measured, name: str, confidence: float) -> dict[str, Floats]:
    """The columns of a set of targets; NaN where a predictor is not compared."""
    found, compared = measured.trusted.found, ground.compared
    table = {"compared": compared.astype(float)}
    if not ground.targets.any():
        return table
    here = measured.on(ground.models)
    ground, rho = _varying(ground, here.rho)
    if not ground.targets.any():
        return table
    n, families = int(ground.n[ground.targets].min()), int(here.families[ground.targets].min())
    table |= _intervals(ground, measured, name, rho, n, families, confidence)
    table["lowest"], table["highest"] = (
        np.where(compared, end, np.nan) for end in (_least(rho), -_least(-rho))
    )
    whole_counts = {
        "n_targets": int(ground.targets.sum()), "n": n, "families": families,
        "top_half_n": (n + 1) // 2,
    }  # fmt: skip
    for column, count in whole_counts.items():
        table[column] = np.where(compared, float(count), np.nan)
    for column, values in here.top.items():
        table[column] = np.where(compared, mean_over(found, values, ground, name), np.nan)
    enough = ground.targets & (here.within_n >= ENOUGH_MODELS)
    within = np.where(enough, here.within, np.nan)
    table["within"] = np.where(compared, mean_over(found, within, ground, name), np.nan)
    if enough.any():
        table["within_n"] = np.where(compared, float(here.within_n[enough].min()), np.nan)
    return table


def _intervals(
    ground: Ground,
    measured: _Measured,
    name: str,
    rho: Floats,
    n: int,
    families: int,
    confidence: float,
) -> dict[str, Floats]:
    """Means with their intervals, alone and for all compared at once."""
    found = measured.trusted.found
    mean = mean_over(found, rho, ground, name)
    over_models = families < MIN_GROUPS
    every = measured.trusted.families
    units = np.arange(len(every)).astype(np.str_) if over_models else every
    nothing = np.full_like(mean, np.nan)
    table = {"mean": mean, "low": nothing, "high": nothing, "joint_low": nothing,
             "joint_high": nothing}  # fmt: skip
    count = n if over_models else families
    if count < MIN_GROUPS:
        return table
    at = mean_over(found, rho_limit(ground.n)[np.newaxis], ground, name)
    jackknife = Jackknife(mean, confidence, at)
    steps = []
    for left, values in measured.without(ground.models, units, over_models):
        limit = mean_over(found, rho_limit(left)[np.newaxis], ground, name)
        means = mean_over(found, values, ground, name)
        spoilt = (np.isfinite(rho) & ~np.isfinite(values)).any(axis=1)
        means = np.where(spoilt, np.nan, means)
        jackknife.leave_out(means, True, limit)
        steps.append(z_of(means, limit))
    middle = z_of(mean, at)
    table["low"], table["high"] = jackknife.interval(least_rho_error(np.tanh(middle), n))
    deviations = np.array(steps)[:, ground.compared]
    deviations = deviations[:, np.isfinite(deviations).all(axis=0)]
    quantile = joint_quantile(deviations - deviations.mean(axis=0), confidence)
    table["joint_low"], table["joint_high"] = joint_interval(
        middle, quantile * jackknife.error(), table["low"], table["high"]
    )
    table["over_models"] = np.where(ground.compared, float(over_models), np.nan)
    return table


def _least(rho: Floats) -> Floats:
    known = np.isfinite(rho)
    least = np.where(known, rho, np.inf).min(axis=1)
    return np.where(known.any(axis=1), least, np.nan)


def _in_company(rows: Mask, backbone: Words) -> NDArray[np.int64]:
    """Models on each target whose backbone another one there has, too."""
    members = members_of(backbone).astype(np.float64)
    sizes = members @ rows
    counts: NDArray[np.int64] = (sizes * (sizes > 1)).sum(axis=0).astype(np.int64)
    return counts


def _among(found: Predictions, rows: Mask, measure: Callable[[Floats, Floats], float]) -> Floats:
    """A correlation among the best by each predictor, on each target."""
    values = np.full(found.pick.shape, np.nan)
    for t in range(len(found.targets)):
        kept = rows[:, t]
        truth = found.scores[kept, found.target_columns[t]]
        for p in range(len(values)):
            proxy = found.scores[kept, found.pick[p, t]]
            if kept.any() and np.isfinite(proxy).all():
                values[p, t] = measure(proxy, truth)
    return values


def _everyone(evidence: Evidence, found: Predictions) -> Predictions | None:
    """The same predictors over all models; None where none was left out."""
    if len(found.models) == len(evidence.models):
        return None
    every = predictions(evidence, found.predictors, everyone=True)
    return None if isinstance(every, str) else every


def _with_all(
    everyone: Predictions, found: Predictions, ground: Ground, name: str
) -> dict[str, Floats]:
    """Mean ρ, and the fewest models, with those that the headline leaves out."""
    place = {target: t for t, target in enumerate(everyone.targets)}
    order = [place[target] for target in found.targets]
    rows = {p: i for i, p in enumerate(everyone.predictors)}
    same = [rows[p] for p in found.predictors]
    whole = everyone.with_columns(
        everyone.scores, everyone.n_test, everyone.pick[same][:, order]
    ).on_targets(order)
    present = np.isfinite(whole.scores)
    kept = present[:, whole.target_columns].copy()
    for p in np.flatnonzero(ground.compared):
        kept &= present[:, whole.pick[p]]
    rho = np.where(ground.compared[:, np.newaxis], rho_on(whole, kept), np.nan)
    n = np.count_nonzero(kept[:, ground.targets], axis=0).min(initial=len(kept))
    counts = np.where(ground.compared, float(n), np.nan)
    return {"with_all": mean_over(found, rho, ground, name), "with_all_n": counts}
