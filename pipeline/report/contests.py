"""Which model is best, by one protocol, and which ones can't be told apart from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from pipeline.report.inputs import Inputs
from pipeline.statistics.mean_scores import ALL

_NAN = float("nan")


@dataclass(frozen=True)
class Versus:
    """A model beside the best one.

    Attributes
    ----------
    model : str
    mean : float
        Mean score over the data sets.
    difference, low, high : float
        Best minus this one, with its simultaneous interval.
    near : bool
        Whether the two can't be told apart (model confidence set).
    """

    model: str
    mean: float
    difference: float
    low: float
    high: float
    near: bool


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
    compared : bool
        Whether there are per-image outcomes to tell models apart by.
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

    @property
    def near(self) -> list[str]:
        """Models that can't be told apart from the best."""
        return [other.model for other in self.others if other.near]

    @property
    def equal(self) -> list[str]:
        """Models with the same score as the one that comes first."""
        return [other.model for other in self.others if other.difference == 0]


def contest(inputs: Inputs, protocol: str) -> Contest:
    """The models by a protocol's headline: from per-image outcomes where there are any."""
    datasets = inputs.scored_datasets(protocol)
    means = inputs.told("mean_scores")
    if means.data_vars:
        chosen = means.sel(protocol=protocol, scope=ALL)
        if chosen["mean"].notnull().any():
            return _by_images(inputs, protocol, datasets, chosen)
    return _by_scores(inputs, protocol)


def _by_images(inputs: Inputs, protocol: str, datasets: list[str], chosen: xr.Dataset) -> Contest:
    table = chosen.to_dataframe().dropna(subset="mean")
    table = table.sort_values("mean", ascending=False, kind="stable")
    alpha = 1 - inputs.study.correlation.confidence
    best = str(table.index[0])
    others = [
        Versus(str(model), row["mean"], row["behind"], row["behind_low"], row["behind_high"],
               bool(row["p_best"] > alpha))
        for model, row in table.iloc[1:].iterrows()
    ]  # fmt: skip
    low, high = (float(table[end].iloc[0]) for end in ("low", "high"))
    if len(datasets) == 1:  # one data set: its score has an exact interval, that of the table
        cell = inputs.scored.sel(model=best, dataset=datasets[0], variant=inputs.headline[protocol])
        low, high = float(cell["ci_low"]), float(cell["ci_high"])
    left_out = tuple(m for m in inputs.models if m not in table.index)
    return Contest(
        protocol, tuple(datasets), best, float(table["mean"].iloc[0]), low, high, tuple(others),
        left_out, compared=True,
    )  # fmt: skip


def _by_scores(inputs: Inputs, protocol: str) -> Contest:
    """Without per-image outcomes: the order of plain means, and nothing about chance."""
    datasets = inputs.comparable_datasets(protocol)
    without = tuple(d for d in inputs.scored_datasets(protocol) if d not in datasets)
    means = inputs.plain_means(protocol, datasets)
    complete = np.isfinite(means)
    left_out = tuple(m for m, has in zip(inputs.models, complete, strict=True) if not has)
    if not complete.any():
        return Contest(
            protocol, tuple(datasets), None, _NAN, _NAN, _NAN, (), left_out, compared=False,
            without=without,
        )  # fmt: skip
    order = [i for i in np.argsort(-means, kind="stable") if complete[i]]
    first = order[0]
    others = tuple(
        Versus(inputs.models[i], means[i], means[first] - means[i], _NAN, _NAN, near=False)
        for i in order[1:]
    )
    return Contest(
        protocol, tuple(datasets), inputs.models[first], float(means[first]), _NAN, _NAN, others,
        left_out, compared=False, without=without,
    )  # fmt: skip
