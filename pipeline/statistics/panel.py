"""What several statistics share: tables of headline scores, logits, weights of data sets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.results.cube import comparable, same_metric
from pipeline.statistics.arrays import Floats, Words
from pipeline.statistics.evidence import Evidence

MEAN = "mean"
"""The place among the data sets that holds the mean over them."""

ASSUMED_TESTS = 1_000
"""Test images behind a foreign score that does not tell their number, for its logit."""

SCALES = ("accuracy", "logit")


def logit(accuracy: NDArray[np.floating], n_test: NDArray[np.number]) -> Floats:
    """Empirical logit log((k + 1/2) / (n - k + 1/2)) of k = accuracy x n hits, finite everywhere.

    Parameters
    ----------
    accuracy : ndarray
        In [0, 1]; NaN stays NaN.
    n_test : ndarray, broadcastable
        Test images; `ASSUMED_TESTS` where it is 0, unknown.
    """
    n = np.where(np.asarray(n_test) > 0, n_test, ASSUMED_TESTS).astype(np.float64)
    hits = np.asarray(accuracy, np.float64) * n
    with np.errstate(invalid="ignore"):
        values: Floats = np.log((hits + 0.5) / (n - hits + 0.5))
    return values


def cluster_weights(cube: xr.Dataset, datasets: Sequence[str]) -> Floats:
    """Weights that add up to 1: every cluster the same, split evenly among its data sets.

    A data set without a cluster is one of its own.
    """
    return weights_of(clusters_of(cube, datasets))


def weights_of(clusters: Words) -> Floats:
    """The same of data sets by their clusters."""
    _, place, size = np.unique(clusters, return_inverse=True, return_counts=True)
    weights: Floats = 1 / (size[place] * max(len(size), 1))
    return weights


def clusters_of(cube: xr.Dataset, datasets: Sequence[str]) -> Words:
    """The cluster of each data set; one without a cluster is its own."""
    named = [str(c) for c in cube["cluster"].sel(dataset=list(datasets)).values]
    # A cluster may have the name of a data set that is not in it.
    return np.array(
        [f"cluster {c}" if c else f"data set {d}" for c, d in zip(named, datasets, strict=True)]
    )


def headline_panel(evidence: Evidence) -> xr.DataArray:
    """Scores of every protocol's headline variant, and their mean over data sets.

    The mean weighs data sets by cluster and is taken over all that the protocol was scored on (by
    the metric that most of them have); it is NaN for a model that lacks one of them: means over
    other data sets can't be compared.

    Returns
    -------
    DataArray
        Dimensions scale (`SCALES`), model, protocol and dataset (with `MEAN` last).
    """
    cube, names = evidence.cube, evidence.headline
    scores = comparable(cube, evidence.settings.metric).sel(variant=list(names.values()))
    accuracy = scores.transpose("model", "variant", "dataset").values
    both = np.stack([accuracy, logit(accuracy, cube["n_test"].values)])
    mean = np.full(both.shape[:-1], np.nan)
    datasets = evidence.datasets()
    for place, variant in enumerate(names.values()):
        used = np.isfinite(accuracy[:, place]).any(axis=0)
        used &= np.isin(datasets, same_metric(cube, evidence.settings.metric, variant))
        if used.any():
            chosen = [name for name, use in zip(datasets, used, strict=True) if use]
            mean[:, :, place] = both[:, :, place, used] @ cluster_weights(cube, chosen)
    return xr.DataArray(
        np.concatenate([both, mean[..., np.newaxis]], axis=-1),
        dims=("scale", "model", "protocol", "dataset"),
        coords={
            "scale": list(SCALES),
            "model": evidence.models,
            "protocol": list(names),
            "dataset": [*datasets, MEAN],
        },
    )


def words(evidence: Evidence, name: str) -> Words:
    """What the study says of every model: family, backbone, method, supervision or objective."""
    return evidence.cube[name].values.astype(np.str_)
