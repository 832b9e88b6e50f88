"""Which model is best, by one protocol, who is within chance of it, and what that costs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from pipeline.report.inputs import Inputs
from pipeline.report.once import once
from pipeline.results.cube import same_metric
from pipeline.statistics.mean_scores import ALL
from pipeline.study.metrics import CONFIDENCE

_NAN = float("nan")


@dataclass(frozen=True)
class Versus:
    """A model beside the best one.

    Attributes
    ----------
    model : str
    mean : float
        Mean score over the data sets.
    difference : float
        Best minus this one, as observed.
    at_most : float
        Upper limit, for all models at once, of how far it lies behind the best; NaN where nothing
        was compared.
    near : bool
        Whether it is within chance of the best.
    as_good : bool
        Whether the limit is below `report.margin`.
    images_to_tell : float
        Test images that would tell it from the best if it lay `report.margin` behind; NaN where
        it differs.
    """

    model: str
    mean: float
    difference: float
    at_most: float = _NAN
    near: bool = False
    as_good: bool = False
    images_to_tell: float = _NAN

    @property
    def verdict(self) -> str:
        """In a word."""
        if np.isnan(self.at_most):
            return "not tested"
        return "within chance" if self.near else "differs"


@dataclass(frozen=True)
class Contest:
    """The models compared by one protocol.

    Attributes
    ----------
    protocol : str
    datasets : tuple of str
        Those over which means are taken: all that any model was scored on.
    best : str or None
        None where no model has every data set.
    mean, low, high : float
        Of the best model; the interval is over test images, NaN where there is none.
    others : tuple of Versus
        Best first.
    left_out : tuple of str
        Models without a score on every one of these data sets.
    without : tuple of str
        Data sets with scores that the mean is not over: too few models have them and the others.
    other_metric : tuple of str
        Those of `without` that have no score by the metric of the mean.
    compared : bool
        Whether models were tested, by per-image outcomes or conservatively without.
    at_most : float
        Upper limit of how far the model that came out best lies behind the best one; 0 where all
        others differ.
    images : int
        Test images that were compared.
    margin : float
        `report.margin`, as a share.
    paired : bool
        Whether models were compared image by image; else as if on different images, which is
        conservative.
    level : float
        Of the interval of `mean`.
    """

    protocol: str
    datasets: tuple[str, ...]
    best: str | None
    mean: float
    low: float
    high: float
    others: tuple[Versus, ...]
    left_out: tuple[str, ...]
    compared: bool
    without: tuple[str, ...] = ()
    other_metric: tuple[str, ...] = ()
    at_most: float = _NAN
    images: int = 0
    margin: float = 0.01
    paired: bool = True
    level: float = CONFIDENCE

    @property
    def near(self) -> list[str]:
        """Models that are within chance of the best."""
        return [other.model for other in self.others if other.near]

    @property
    def equal(self) -> list[str]:
        """Models with the same score as the one that comes first."""
        return [other.model for other in self.others if other.difference == 0]


@once
def contest(inputs: Inputs, protocol: str, scope: str = ALL) -> Contest:
    """The models by a protocol's headline: from per-image outcomes where there are any.

    Parameters
    ----------
    inputs : Inputs
    protocol : str
    scope : {"all", "target"}
        Over all data sets, or those that the answer is about.
    """
    means = inputs.told("mean_scores")
    if means.data_vars and scope in means["scope"].values:
        chosen = means.sel(protocol=protocol, scope=scope)
        if chosen["mean"].notnull().any():
            unpaired = protocol in str(means.attrs.get("unpaired", "")).split(", ")
            return _by_images(inputs, protocol, scope, chosen, paired=not unpaired)
    return _by_scores(inputs, protocol, scope)


def _inside(inputs: Inputs, dataset: str, scope: str) -> bool:
    return scope == ALL or dataset in inputs.target.datasets


def _by_images(
    inputs: Inputs, protocol: str, scope: str, chosen: xr.Dataset, *, paired: bool
) -> Contest:
    scored = [d for d in inputs.scored_datasets(protocol) if _inside(inputs, d, scope)]
    of_one = same_metric(inputs.cube, inputs.metric, inputs.headline[protocol])
    datasets = [name for name in scored if name in of_one]
    table = chosen.to_dataframe().dropna(subset="mean")
    table = table.sort_values("mean", ascending=False, kind="stable")
    best = str(table.index[0])
    others = [
        Versus(str(model), row["mean"], row["behind"], row["behind_high"],
               row["within_chance"] == 1, row["as_good"] == 1, row["images_to_tell"])
        for model, row in table.iloc[1:].iterrows()
    ]  # fmt: skip
    low, high = (float(table[end].iloc[0]) for end in ("low", "high"))
    level = inputs.study.correlation.confidence
    if len(datasets) == 1:  # one data set: its score has an exact interval, that of the table
        cell = inputs.scored.sel(model=best, dataset=datasets[0], variant=inputs.headline[protocol])
        if np.isfinite(cell["ci_low"]):
            low, high = float(cell["ci_low"]), float(cell["ci_high"])
            level = CONFIDENCE
    left_out = tuple(m for m in inputs.models if m not in table.index)
    return Contest(
        protocol, tuple(datasets), best, float(table["mean"].iloc[0]), low, high, tuple(others),
        left_out, compared=True, without=tuple(d for d in scored if d not in of_one),
        other_metric=tuple(d for d in scored if d not in of_one),
        paired=paired, level=level, at_most=float(table["behind_high"].iloc[0]),
        images=int(table["images"].iloc[0]) if others else 0,
        margin=inputs.study.report.margin / 100,
    )  # fmt: skip


def _by_scores(inputs: Inputs, protocol: str, scope: str) -> Contest:
    """Without per-image outcomes: the order of plain means, and nothing about chance."""
    scored = [d for d in inputs.scored_datasets(protocol) if _inside(inputs, d, scope)]
    datasets = inputs.comparable_datasets(protocol) if scope == ALL else scored
    without = tuple(d for d in scored if d not in datasets)
    of_one = same_metric(inputs.cube, inputs.metric, inputs.headline[protocol])
    other_metric = tuple(d for d in without if d not in of_one)
    means = inputs.plain_means(protocol, datasets)
    complete = np.isfinite(means)
    left_out = tuple(m for m, has in zip(inputs.models, complete, strict=True) if not has)
    if not complete.any():
        return Contest(
            protocol, tuple(datasets), None, _NAN, _NAN, _NAN, (), left_out, compared=False,
            without=without, other_metric=other_metric,
        )  # fmt: skip
    order = [i for i in np.argsort(-means, kind="stable") if complete[i]]
    first = order[0]
    others = tuple(
        Versus(inputs.models[i], float(means[i]), float(means[first] - means[i])) for i in order[1:]
    )
    return Contest(
        protocol, tuple(datasets), inputs.models[first], float(means[first]), _NAN, _NAN, others,
        left_out, compared=False, without=without, other_metric=other_metric,
    )  # fmt: skip
