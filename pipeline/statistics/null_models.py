"""Null models: orders of the models that never saw the target and cost no evaluation on it.

A cheap evaluation is worth its cost only if it orders the models better than each of these does.
What is biggest, what others published, or what won on the study's other data sets is known before
any probe of the target; in two public tables the latter was as good as probing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
import xarray as xr

from pipeline.results.cube import comparable
from pipeline.statistics.arrays import Floats, Mask
from pipeline.statistics.evidence import Evidence
from pipeline.statistics.panel import clusters_of
from pipeline.statistics.predictions import Predictions, mean_of_known


@dataclass(frozen=True)
class NullModel:
    """One order that asks for no evaluation of the target.

    Attributes
    ----------
    name : str
    label : str
        In the reader's words.
    cost : str
        What it costs.
    """

    name: str
    label: str
    cost: str


PARAMETERS = NullModel("parameters", "number of parameters", "nothing: it is known of each model")
GMACS = NullModel("gmacs", "FLOPs of one image", "nothing: it is known of each model")
IMAGENET = NullModel("imagenet_top1", "published ImageNet top-1", "nothing: others measured it")
ELSEWHERE = NullModel(
    "rank_elsewhere",
    "mean rank on the other data sets",
    "the target's protocol on each of the other data sets",
)
RANDOM = NullModel("random", "random order", "nothing")

NULL_MODELS = (PARAMETERS, GMACS, IMAGENET, ELSEWHERE, RANDOM)
"""Random order has no column: its ρ is 0, which is the mean over all orders."""

SIZES = (PARAMETERS, GMACS, IMAGENET)


@dataclass(frozen=True)
class NullColumns:
    """What orders the models by each null model but the random one.

    Attributes
    ----------
    models : tuple of NullModel
        Those that have a value for four models or more, on any target.
    values : ndarray of shape (n_null_models, n_models, n_targets)
        More promises a better model; NaN where unknown.
    unknown : mapping of str to str
        Why each other one is not there, by its name.
    """

    models: tuple[NullModel, ...]
    values: Floats
    unknown: dict[str, str]


def null_columns(evidence: Evidence, found: Predictions) -> NullColumns:
    """The null models that are known of a study's models."""
    rows = np.isin(evidence.models, found.models)
    shape = len(found.models), len(found.targets)
    there, values, unknown = [], [], {}
    for null in SIZES:
        column = _size(evidence, null, rows)
        known = int(np.isfinite(column).sum())
        if known < 4 or np.ptp(column[np.isfinite(column)]) == 0:
            unknown[null.name] = f"known of {known} of {len(column)} models"
            continue
        there.append(null)
        values.append(np.broadcast_to(column[:, np.newaxis], shape))
    elsewhere = rank_elsewhere(evidence, found)
    if np.isfinite(elsewhere).any():
        there.append(ELSEWHERE)
        values.append(elsewhere)
    else:
        unknown[ELSEWHERE.name] = "no target has another cluster of data sets with its protocol"
    return NullColumns(tuple(there), np.array(values).reshape(len(there), *shape), unknown)


def rank_elsewhere(evidence: Evidence, found: Predictions) -> Floats:
    """Mean rank of each model on the other out-of-domain data sets, by the target's protocol.

    A rank is a share of the models that have a score there; the target and its cluster are left
    out, a cluster's data sets weigh as one.

    Returns
    -------
    ndarray of shape (n_models, n_targets)
        The best has the highest; NaN of a model that has no score elsewhere.
    """
    chosen = np.isin(evidence.models, found.models)
    scores = comparable(evidence.cube, evidence.settings.metric)
    outside = evidence.datasets("out_of_domain")
    clusters = clusters_of(evidence.cube, outside)
    names = list(dict.fromkeys(clusters.tolist()))
    by_cluster: dict[str, Floats] = {}
    for protocol in found.protocols:
        table = scores.sel(variant=evidence.headline[protocol], dataset=outside)
        ranks = _shares(table.transpose("model", "dataset").values[chosen])
        by_cluster[protocol] = np.stack(
            [mean_of_known(ranks[:, clusters == name]) for name in names], axis=1
        )
    result = np.full((len(found.models), len(found.targets)), np.nan)
    for t, target in enumerate(found.targets):
        others = [i for i, name in enumerate(names) if name != found.clusters[t]]
        result[:, t] = mean_of_known(by_cluster[target.protocol][:, others])
    return result


def with_null_models(found: Predictions, nulls: NullColumns) -> Predictions:
    """The predictions with a row of `pick` for each null model, after those of the predictors."""
    columns, picks, width = [found.scores], [found.pick], found.scores.shape[1]
    for values in nulls.values:
        columns.append(values)
        picks.append(np.arange(width, width + values.shape[1])[np.newaxis])
        width += values.shape[1]
    n_test = np.concatenate([found.n_test, np.full(width - len(found.n_test), np.nan)])
    return found.with_columns(np.concatenate(columns, axis=1), n_test, np.concatenate(picks))


def _size(evidence: Evidence, null: NullModel, rows: Mask) -> Floats:
    if null.name not in evidence.cube.coords:
        return np.full(int(rows.sum()), np.nan)
    sizes: xr.DataArray = evidence.cube[null.name]
    known: Floats = sizes.values.astype(np.float64)[rows]
    return known


def _shares(scores: Floats) -> Floats:
    """Rank among the models present, by their number; 1 is the best."""
    present = np.isfinite(scores).sum(axis=0)
    ranks = scipy.stats.rankdata(scores, axis=0, nan_policy="omit")
    shares: Floats = ranks / np.maximum(present, 1)
    return shares
