"""What a study knows, as a pilot, of the questions that it leaves open; see `power`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy

from pipeline.results.cube import comparable, same_metric
from pipeline.statistics.arrays import Floats, Mask, Words
from pipeline.statistics.common_ground import rho_on
from pipeline.statistics.comparison import ground_of, mean_over
from pipeline.statistics.evidence import Evidence
from pipeline.statistics.fidelity import fidelity
from pipeline.statistics.fisher_z import rho_limit, z_of
from pipeline.statistics.jackknife import MIN_GROUPS, deletion_groups
from pipeline.statistics.mean_scores import ALL as ALL_SETS
from pipeline.statistics.mean_scores import mean_tests
from pipeline.statistics.panel import clusters_of
from pipeline.statistics.t_power import Question

DIFFERENCE = 0.1
"""Of mean ρ between two evaluations: what is looked for, unless asked otherwise."""

LOST = 3
"""Models that Fisher's variance of atanh ρ takes away."""

_BOOTSTRAP = 2_000

_HIGHEST = 0.99


def questions(
    evidence: Evidence, difference: float = DIFFERENCE, targets: int | None = None
) -> list[Question]:
    """The questions that a study can be a pilot for.

    Parameters
    ----------
    evidence : Evidence
    difference : float
        Of mean ρ, to be found.
    targets : int, optional
        To be predicted; as many as the pilot has if not given.
    """
    found = []
    evaluations = _evaluations(evidence, difference, targets)
    if evaluations is not None:
        found.append(evaluations)
    for protocol, variant in evidence.headline.items():
        found += [q for q in (_datasets(evidence, protocol, variant), _images(evidence, protocol))
                  if q is not None]  # fmt: skip
    return found


@dataclass(frozen=True)
class Pilot:
    """What a pilot says of the difference of two evaluations' mean ρ.

    Attributes
    ----------
    values : ndarray of shape (n_units, n_targets)
        Jackknife values of each target's difference; their mean over targets is one of the mean.
    """

    values: Floats

    def spread(self, targets: int | None = None) -> float:
        """Standard deviation of one model's part in the mean over so many targets."""
        if targets is None or self.values.shape[1] < 2:
            return float(self.values.mean(axis=1).std(ddof=1))
        covariance = np.cov(self.values, rowvar=False)
        count = len(covariance)
        own = float(np.trace(covariance)) / count
        shared = (float(covariance.sum()) - count * own) / (count * (count - 1))
        return math.sqrt(max(shared + (own - shared) / targets, 0.0))

    def interval(self) -> tuple[float, float]:
        """95% interval of `spread`: 99% percentiles of the bootstrap (95% ones hold in 85%)."""
        means = self.values.mean(axis=1)
        rng = np.random.default_rng(0)
        drawn = rng.integers(0, len(means), (_BOOTSTRAP, len(means)))
        low, high = np.quantile(means[drawn].std(axis=1, ddof=1), [0.005, 0.995])
        return float(low), float(high)


def effect_of(rho: float, difference: float) -> float:
    """A difference below a mean ρ on the atanh scale."""
    highest = min(max(rho, difference - _HIGHEST), _HIGHEST)
    return float(np.arctanh(highest) - np.arctanh(highest - difference))


def pilot_of(statistic: Callable[[Mask], Floats], units: Words) -> Pilot:
    """Jackknife values of a statistic: N θ - (N - 1) θ without each unit.

    Parameters
    ----------
    statistic : callable
        From a mask of models to the differences on each target.
    units : ndarray of shape (n_models,)
    """
    whole = statistic(np.ones(len(units), bool))
    groups = deletion_groups(units)
    count = len(groups)
    without = np.array([statistic(~members) for members in groups])
    values = count * whole - (count - 1) * without
    # Units are families of several models: one model's part is so many times larger.
    values = values.mean(axis=0) + (values - values.mean(axis=0)) * math.sqrt(len(units) / count)
    return Pilot(values[np.isfinite(values).all(axis=1)])


def _evaluations(evidence: Evidence, difference: float, targets: int | None) -> Question | None:
    """The two best evaluations, by mean ρ on common ground."""
    trusted = fidelity(evidence)
    if isinstance(trusted, str):
        return None
    found, name = trusted.found, trusted.found.headline_set
    ground = ground_of(trusted, name)
    if np.count_nonzero(ground.compared) < 2 or not ground.targets.any():
        return None
    means = np.where(ground.compared, mean_over(found, trusted.spearman, ground, name), -np.inf)
    order = np.argsort(-means, kind="stable")
    one, other = int(order[0]), int(order[1])
    if not np.isfinite(means[[one, other]]).all():
        return None

    def differences(kept: Mask) -> Floats:
        rows = ground.models & kept[:, np.newaxis]
        limit = rho_limit(np.maximum(np.count_nonzero(rows, axis=0), MIN_GROUPS))
        z = z_of(rho_on(found, rows)[[one, other]], limit)
        values: Floats = (z[0] - z[1])[ground.targets]
        return values

    families = trusted.families
    several = len(set(families.tolist())) >= MIN_GROUPS
    units = families if several else np.arange(len(families)).astype(np.str_)
    used = ground.models[:, ground.targets].any(axis=1)
    if used.sum() < MIN_GROUPS:
        return None

    def of_used(kept: Mask) -> Floats:
        mask = np.zeros(len(units), bool)
        mask[np.flatnonzero(used)[kept]] = True
        return differences(mask)

    pilot = pilot_of(of_used, units[used])
    if len(pilot.values) < MIN_GROUPS:
        return None
    # Fisher's variance is 1 / (N - 3): so it is taken from the pilot, and so it is planned with.
    fisher = math.sqrt(max(int(used.sum()) - LOST, 1) / int(used.sum()))
    now = pilot.spread() * fisher
    asked = now if targets is None else pilot.spread(targets) * fisher
    # What is not known of the pilot's own variance is, in proportion, not known of the other one.
    low, high = (end * fisher * asked / now if now else end for end in pilot.interval())
    return Question(
        "models", found.predictors[one].label, found.predictors[other].label, float(used.sum()),
        difference, asked, low, high,
        targets=float(targets or ground.targets.sum()), effect=effect_of(means[one], difference),
        lost=LOST,
    )  # fmt: skip


def _datasets(evidence: Evidence, protocol: str, variant: str) -> Question | None:
    """The two best models by the mean over data sets that both have."""
    scores = comparable(evidence.cube, evidence.settings.metric).sel(variant=variant)
    of_one = same_metric(evidence.cube, evidence.settings.metric, variant)
    values = scores.sel(dataset=of_one).transpose("model", "dataset").values
    complete = np.isfinite(values).all(axis=1) if values.size else np.zeros(len(values), bool)
    if np.count_nonzero(complete) < 2:
        return None
    means = np.where(complete, np.where(np.isfinite(values), values, 0).mean(axis=1), -np.inf)
    one, other = np.argsort(-means, kind="stable")[:2]
    clusters = clusters_of(evidence.cube, of_one)
    gaps = values[one] - values[other]
    of_clusters = np.array([gaps[clusters == c].mean() for c in dict.fromkeys(clusters)])
    count = len(of_clusters)
    if count < 3 or not np.ptp(of_clusters) > 0:
        return None
    spread = float(of_clusters.std(ddof=1))
    low, high = (
        spread * math.sqrt((count - 1) / scipy.stats.chi2.ppf(q, count - 1)) for q in (0.975, 0.025)
    )
    return Question(
        f"data sets/{protocol}", evidence.models[one], evidence.models[other], float(count),
        evidence.margin, spread, low, high,
    )  # fmt: skip


def _images(evidence: Evidence, protocol: str) -> Question | None:
    """The tie for the best mean: the most images that any model of it takes."""
    tests = mean_tests(evidence).get((protocol, ALL_SETS))
    if tests is None:
        return None
    tied = np.flatnonzero(tests.within_chance & (np.arange(len(tests.models)) != tests.leader))
    if not len(tied):
        return None
    takes = tests.images_to_tell(evidence.margin)[tied]
    most = int(np.nanargmax(takes))
    return Question(
        f"test images/{protocol}", tests.models[tests.leader], tests.models[tied[most]],
        float(tests.paired.images), evidence.margin, images=float(takes[most]),
    )  # fmt: skip
