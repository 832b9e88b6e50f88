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

import numpy as np
import xarray as xr

from pipeline.statistics.evidence import Evidence
from pipeline.statistics.pilots import questions
from pipeline.statistics.t_power import NUMBERS
from pipeline.statistics.table import tabled, withheld
from pipeline.statistics.tie_cost import POWER

SIZES = (5, 8, 12, 16, 26, 40, 60, 100, 160, 250, 400, 600, 1_000)
"""At which curves are drawn: of models, and of data sets."""

_DEFINITION = (
    "how many models, data sets (clusters) and test images would find a stated difference in "
    f"{POWER:.0%} of cases; now: what the study has"
)


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
    return tabled(
        {"question": [question.name for question in asked]},
        {
            "first": [question.first for question in asked],
            "second": [question.second for question in asked],
            **{name: [row[name] for row in rows] for name in NUMBERS},
            "targets": [question.targets for question in asked],
        },
        definition=_DEFINITION,
        interval="95% for what the pilot does not know of its own variance",
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
    return tabled(
        {"question": [q.name for q in asked], "size": SIZES},
        {"power": [[q.power_at(n, alpha) for n in SIZES] for q in asked]},
        definition=definition,
    )
