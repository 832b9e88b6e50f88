"""How much would settle it: models, data sets and test images, from a pilot or a published table.

Of three questions that a study may leave open:

- *models*: which of the two best evaluations orders models better. The difference of their mean
  atanh ρ has, over draws of N models, the variance v(T) / (N - 3), v(T) = c + (s - c) / T for T
  targets: s and c are the mean variance and covariance over targets of the pilot's delete-one
  jackknife values, times (N - 3) / N. (On ρ itself the error grows with the difference, and power
  was 85 to 97% where 80% was planned.)
- *data sets*: which of the two best models is better on the mean over data sets: a paired t test of
  their differences over (clusters of) data sets.
- *test images*: what `pipeline.statistics.tie_cost` says of the tie.

The difference to be found is stated and never the observed one, which was chosen by luck. Numbers
are those at which a two-sided t test finds it in 80% of cases (noncentral t). A pilot knows its own
variance only roughly: its interval is chi-squared for data sets, of the bootstrapped jackknife's
values for models.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import stats

from pipeline.results.cube import comparable, same_metric
from pipeline.statistics.common_ground import rho_on
from pipeline.statistics.comparison import ground_of, mean_over
from pipeline.statistics.evidence import Evidence
from pipeline.statistics.fidelity import fidelity
from pipeline.statistics.fisher_z import rho_limit, z_of
from pipeline.statistics.jackknife import MIN_GROUPS, deletion_groups
from pipeline.statistics.mean_scores import ALL as ALL_SETS
from pipeline.statistics.mean_scores import mean_tests
from pipeline.statistics.panel import clusters_of
from pipeline.statistics.tie_cost import POWER
from pipeline.statistics.withheld import withheld
from pipeline.statistics.written import counted
from pipeline.study.protocol_list import protocol_label

Floats = NDArray[np.float64]

DIFFERENCE = 0.1
"""Of mean ρ between two evaluations: what is looked for, unless asked otherwise."""

MOST = 1_000_000
SIZES = (5, 8, 12, 16, 26, 40, 60, 100, 160, 250, 400, 600, 1_000)
"""At which curves are drawn: of models, and of data sets."""

NUMBERS = ("now", "needed", "needed_low", "needed_high", "difference", "power_now")

LOST = 3
"""Models that Fisher's variance of atanh ρ takes away."""

_BOOTSTRAP = 2_000

_DEFINITION = (
    "how many models, data sets (clusters) and test images would find a stated difference in "
    f"{POWER:.0%} of cases; now: what the study has"
)


def power_of(difference: float, spread: float, n: float, alpha: float) -> float:
    """Power of a two-sided t test of a mean of n values with a standard deviation.

    Parameters
    ----------
    difference : float
        The true mean.
    spread : float
        Standard deviation of one value.
    n : float
    alpha : float
    """
    if n < 2:
        return np.nan
    if spread <= 0:
        return 1.0
    shift = difference / spread * math.sqrt(n)
    critical = stats.t.isf(alpha / 2, n - 1)
    found = float(stats.nct.sf(critical, n - 1, shift) + stats.nct.cdf(-critical, n - 1, shift))
    # Far out SciPy's noncentral t is NaN; there it is normal to many digits.
    return found if math.isfinite(found) else float(stats.norm.cdf(abs(shift) - critical))


def needed(difference: float, spread: float, alpha: float, power: float = POWER) -> float:
    """The smallest n at which `power_of` reaches a power; inf beyond `MOST`."""
    low, high = 2, 4
    while power_of(difference, spread, high, alpha) < power:
        low, high = high, 2 * high
        if high > MOST:
            return np.inf
    while high - low > 1:
        middle = (low + high) // 2
        if power_of(difference, spread, middle, alpha) < power:
            low = middle
        else:
            high = middle
    return float(high)


@dataclass(frozen=True)
class Question:
    """One question with what a pilot knows about it.

    Attributes
    ----------
    name : str
        ``models``, ``data sets/PROTOCOL`` or ``test images/PROTOCOL``.
    first, second : str
        What is to be told apart.
    now : float
        How many the pilot has.
    difference : float
        To be found.
    spread, spread_low, spread_high : float
        Standard deviation of one value, with its 95% interval; NaN of test images.
    images : float
        Of test images alone: how many are needed.
    targets : float
        Of models alone: the pilot's targets.
    effect : float
        What is tested where that is not `difference` itself: of models on the atanh scale.
    lost : int
        Of models as many as Fisher's variance 1 / (N - 3) takes away.
    """

    name: str
    first: str
    second: str
    now: float
    difference: float
    spread: float = np.nan
    spread_low: float = np.nan
    spread_high: float = np.nan
    images: float = np.nan
    targets: float = np.nan
    effect: float = np.nan
    lost: int = 0

    @property
    def _effect(self) -> float:
        return self.effect if np.isfinite(self.effect) else self.difference

    def power_at(self, n: float, alpha: float) -> float:
        """Power with so many."""
        return power_of(self._effect, self.spread, n - self.lost, alpha)

    def needed(self, alpha: float, power: float = POWER, spread: float | None = None) -> float:
        """How many have a power; of another standard deviation if given."""
        sd = self.spread if spread is None else spread
        if not np.isfinite(sd):
            return np.nan
        return needed(self._effect, sd, alpha, power) + self.lost

    def row(self, alpha: float, power: float = POWER) -> dict[str, float]:
        """The variables of `NUMBERS`."""
        if np.isfinite(self.images):
            takes, now = [self.images, np.nan, np.nan], np.nan
        else:
            takes = [
                self.needed(alpha, power, spread)
                for spread in (self.spread, self.spread_low, self.spread_high)
            ]
            now = self.power_at(self.now, alpha)
        return dict(zip(NUMBERS, (self.now, *takes, self.difference, now), strict=True))


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


def power(evidence: Evidence) -> xr.Dataset:
    """Sizes that would settle each question.

    Returns
    -------
    Dataset
        Dimension question; variables first and second (what is to be told apart), those of
        `NUMBERS`, targets.
    """
    asked = questions(evidence)
    if not asked:
        return withheld(_DEFINITION, "there are no two evaluations and no two models to tell apart")
    alpha = 1 - evidence.settings.confidence
    rows = [question.row(alpha) for question in asked]
    texts = {n: np.array([getattr(q, n) for q in asked], np.str_) for n in ("first", "second")}
    return xr.Dataset(
        {name: ("question", values) for name, values in texts.items()}
        | {name: ("question", np.array([row[name] for row in rows])) for name in NUMBERS}
        | {"targets": ("question", np.array([q.targets for q in asked]))},
        coords={"question": [question.name for question in asked]},
        attrs={
            "definition": _DEFINITION,
            "interval": "95% for what the pilot does not know of its own variance",
        },
    )


def power_curves(evidence: Evidence) -> xr.Dataset:
    """Power by number of models (at the pilot's targets) and of data sets.

    Returns
    -------
    Dataset
        Dimensions question and size; variable power.
    """
    asked = [q for q in questions(evidence) if np.isfinite(q.spread)]
    definition = "power to find the stated difference, by number of models or data sets"
    if not asked:
        return withheld(definition, "there are no two evaluations and no two models to tell apart")
    alpha = 1 - evidence.settings.confidence
    table = [[q.power_at(n, alpha) for n in SIZES] for q in asked]
    return xr.Dataset(
        {"power": (("question", "size"), np.array(table))},
        coords={"question": [q.name for q in asked], "size": list(SIZES)},
        attrs={"definition": definition},
    )


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


_HIGHEST = 0.99


def pilot_of(statistic: Callable[[NDArray[np.bool_]], Floats], units: NDArray[np.str_]) -> Pilot:
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

    def differences(kept: NDArray[np.bool_]) -> Floats:
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

    def of_used(kept: NDArray[np.bool_]) -> Floats:
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
        spread * math.sqrt((count - 1) / stats.chi2.ppf(q, count - 1)) for q in (0.975, 0.025)
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


def to_settle_it(statistics: Mapping[str, xr.Dataset]) -> tuple[str, ...]:
    """What would settle each open question, a sentence each; empty where nothing is known.

    Parameters
    ----------
    statistics : mapping of str to Dataset
        With `power`.
    """
    table = statistics.get("power")
    if table is None or not table.data_vars:
        return ()
    said = []
    for place in range(table.sizes["question"]):
        row = table.isel(question=place)
        name = str(row["question"].item())
        kind, _, protocol = name.partition("/")
        said.append(
            settling(
                kind, str(row["first"].item()), str(row["second"].item()),
                {number: float(row[number]) for number in (*NUMBERS, "targets")}, protocol,
            )
        )  # fmt: skip
    return tuple(filter(None, said))


def settling(
    kind: str,
    first: str,
    second: str,
    of: Mapping[str, float],
    protocol: str = "",
    power: float = POWER,
) -> str:
    """One sentence: how many of what tell two things apart, and how many there are."""
    what = f"{first} from {second}" + (f" by {protocol_label(protocol)}" if protocol else "")
    noun = {"models": "model", "data sets": "data set", "test images": "test image"}[kind]
    points = f"{100 * of['difference']:g}"
    difference = (
        f"a Δρ of {of['difference']:g}" if kind == "models"
        else f"{points} point{'s' * (points != '1')}"
    )  # fmt: skip
    has = f"the study has {counted(of['now'], noun)}"
    if not of["needed"] < np.inf:
        return f"No number of {noun}s up to {MOST:,} would tell {what} at {difference}; {has}."
    ends = ""
    if np.isfinite(of["needed_low"]):
        high = f"{_upwards(of['needed_high']):,}" if of["needed_high"] < np.inf else f"{MOST:,}"
        ends = f" ({_upwards(of['needed_low']):,} to {high}, as far as this study tells)"
    on = f" on {counted(of['targets'], 'target')} like these" if kind == "models" else ""
    takes = f"{counted(_upwards(of['needed']), noun)}{ends}{on}"
    if of["needed"] <= of["now"]:
        return f"{takes} tell {what} at {difference} in {power:.0%} of cases; {has}."
    would = f"{takes} would tell {what} at {difference} in {power:.0%} of cases"
    return f"To settle it: {would}; {has}."


def _upwards(number: float) -> int:
    """To two digits, upwards: what it is made of is not known better."""
    step = 10 ** max(len(str(math.ceil(number))) - 2, 0)
    return int(math.ceil(number / step) * step)
