"""What the report's sections remark beside their figures: one function a statement.

Each is made from the numbers that it states; docs/statistics.md lists them with their rules.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from pipeline.report.formats import count
from pipeline.statistics.correlation import FEW_FAMILIES, MIN_FAMILIES
from pipeline.statistics.jackknife import MIN_GROUPS
from pipeline.statistics.written import counted


def families_behind(table: xr.Dataset, low: str = "low") -> str:
    """What a table's intervals rest on.

    Parameters
    ----------
    table : Dataset
        With families, over_models and the lower ends of intervals, of the same dimensions.
    low : str
        Variable that has the lower ends.
    """
    shown = np.isfinite(table[low].values)
    over_models = (np.broadcast_to(table["over_models"].values, shown.shape) == 1) & shown
    families = np.broadcast_to(table["families"].values, shown.shape)[shown & ~over_models]
    return rest_on(
        int(families.min()) if families.size else 0,
        over_families=int(families.size),
        over_models=int(over_models.sum()),
    )


def rest_on(fewest: int, *, over_families: int, over_models: int) -> str:
    """A remark on intervals over few families, over single models, or on none; else empty.

    Parameters
    ----------
    fewest : int
        Families behind any of the intervals over families.
    over_families, over_models : int
        Intervals that leave out families, and single models.
    """
    if not over_families and not over_models:
        return f"There are no intervals: at least {MIN_GROUPS} models in common are needed."
    said = []
    if over_families and fewest < FEW_FAMILIES:
        said.append(f"Intervals rest on few families ({fewest} at the fewest).")
    if over_models:
        whose = "Intervals leave" if not over_families else "Some intervals leave"
        said.append(
            f"{whose} out one model at a time, as fewer than {MIN_FAMILIES} families of these "
            "models are known: they say nothing about models of other families."
        )
    return " ".join(said)


def outside_band(outside: int, judged: int) -> str:
    """How many residuals lie outside their band; what chance alone does is not known.

    Residuals of one model, and residuals about one line, depend on each other: 5% is what one of
    them has, not what a figure of them shows.
    """
    where = "lies outside its band" if outside == 1 else "lie outside their band"
    return (
        f"{count(outside)} of {counted(judged, 'residual')} over all choices {where}. "
        "Residuals of one model, or about one line, go together, so how many would by chance alone "
        "is not known."
    )


def whose_scores(inside: int, outside: int) -> str:
    """Why the scatter plots are not of in-domain against out-of-domain scores; else empty."""
    missing = [
        name for name, number in (("in-domain", inside), ("out-of-domain", outside)) if not number
    ]
    if not missing:
        return ""
    return (
        f"This study has no {' and no '.join(missing)} data set, so any two of its data sets are "
        "compared."
    )


def intervals_of_points(*, of_sets: bool, of_means: bool, confidence: float) -> str:
    """Which points of the scatter plots have an interval, and of what; begins with a comma."""
    said = []
    if of_sets:
        said.append(", with 95% intervals over test images")
    if of_means:
        said.append(
            f"{';' if of_sets else ', with'} {confidence:.0%} intervals of means over data sets "
            "from all their images (normal approximation)"
        )
    return "".join(said)


def how_drawn(models: int) -> str:
    """How the test images whose neighbours are shown were chosen."""
    if models == 1:
        return "The test images are drawn by lot."
    return (
        "The test images are drawn by lot from the tenth on which the models’ neighbours differ "
        "most, so they are not typical ones."
    )


def pairs_tested(*, tested: bool, ranked: bool = False) -> str:
    """Which comparisons of models under constraints are tests.

    Parameters
    ----------
    tested : bool
        Whether there is a table of pairs by data set.
    ranked : bool
        Whether it is known at least who is within chance of the best of all models.
    """
    if not tested and ranked:
        return (
            "On one data set all pairs of models were tested together, as on the first screen, and "
            "who is within chance of the best of all is known, not each pair: so with limits "
            "“differs” is not said."
        )
    if not tested:
        return "No pair of models was tested: there are no per-image outcomes."
    return (
        "On one data set, and of means over all, or all out-of-domain, data sets all pairs of "
        "models were tested together, as on the first screen; other means were not tested."
    )


def probability(x: float) -> str:
    """A share of simulated draws: none of them, or all, is not taken for never or always."""
    if not np.isfinite(x):
        return "–"
    return "< 0.01" if x < 0.005 else "> 0.99" if x > 0.995 else f"{x:.2f}"
