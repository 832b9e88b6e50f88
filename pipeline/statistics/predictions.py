"""Which score columns predict which: predictors inside, targets outside the models' domain.

A predictor is a protocol's headline, or a transferability metric, on an in-domain data set; or a
transferability metric on each target's own train split. A target is a protocol's headline on an
out-of-domain data set. A mean over targets weighs protocols alike, within a protocol clusters of
data sets alike, and within a cluster its data sets alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pipeline.results.cube import cheap_predictors, comparable
from pipeline.statistics.arrays import Floats, Mask, Places, Words
from pipeline.statistics.evidence import Evidence
from pipeline.statistics.panel import ASSUMED_TESTS, clusters_of
from pipeline.statistics.trained import left_out
from pipeline.study.column import EACH_TARGET, Column
from pipeline.study.finetune import FINETUNE

OTHER_PROTOCOLS, ALL = "other_protocols", "all"
"""Sets of targets: without those of the predictor's own protocol, and with them."""


@dataclass(frozen=True)
class Predictions:
    """Predictors beside targets, over the same models.

    Attributes
    ----------
    models : tuple of str
        Without those that are left out of every headline (`pipeline.statistics.trained`).
    scores : ndarray of shape (n_models, n_columns)
        NaN where missing.
    n_test : ndarray of shape (n_columns,)
        Test images behind each column; NaN for transferability metrics, which are no accuracies.
    predictors : tuple of Column
        On in-domain data sets, or on `pipeline.study.column.EACH_TARGET`.
    targets : tuple of Column
    pick : ndarray of shape (n_predictors, n_targets)
        The predictor's column for each target.
    target_columns : ndarray of shape (n_targets,)
    clusters : ndarray of shape (n_targets,)
    """

    models: tuple[str, ...]
    scores: Floats
    n_test: Floats
    predictors: tuple[Column, ...]
    targets: tuple[Column, ...]
    pick: Places
    target_columns: Places
    clusters: Words

    @property
    def names(self) -> list[str]:
        """Of the predictors."""
        return [predictor.name for predictor in self.predictors]

    @property
    def words(self) -> dict[str, tuple[str, list[str]]]:
        """What tables say beside each predictor: its variant and its data set."""
        return {
            "predictor_variant": ("predictor", [p.variant.full_name for p in self.predictors]),
            "predictor_dataset": ("predictor", [p.dataset for p in self.predictors]),
        }

    @cached_property
    def protocols(self) -> list[str]:
        """Of the targets, in the study's order."""
        return list(dict.fromkeys(target.protocol for target in self.targets))

    @cached_property
    def protocol_places(self) -> Places:
        """Of each target, where its protocol is among `protocols`."""
        return np.array([self.protocols.index(t.protocol) for t in self.targets], np.intp)

    @cached_property
    def cluster_names(self) -> list[str]:
        """Of the targets, in the study's order."""
        return list(dict.fromkeys(self.clusters.tolist()))

    @property
    def sets(self) -> list[str]:
        """Names of the sets of targets: `OTHER_PROTOCOLS`, `ALL`, and each protocol."""
        return [OTHER_PROTOCOLS, *self.common_sets]

    @property
    def common_sets(self) -> list[str]:
        """The sets that hold the same targets for every predictor: `ALL`, and each protocol."""
        return [ALL, *self.protocols]

    @property
    def headline_set(self) -> str:
        """The set of targets to speak of first."""
        return FINETUNE.name if FINETUNE.name in self.protocols else ALL

    @cached_property
    def _places(self) -> Places:
        """Of each target in the grid of protocols and clusters."""
        cluster = [self.cluster_names.index(c) for c in self.clusters.tolist()]
        return self.protocol_places * len(self.cluster_names) + np.array(cluster, np.intp)

    def with_columns(self, scores: Floats, n_test: Floats, pick: Places) -> Predictions:
        """The same with other columns, whose first ones stay; a row of `pick` may be anything."""
        return replace(self, scores=scores, n_test=n_test, pick=pick)

    def on_targets(self, places: Sequence[int]) -> Predictions:
        """The same with its targets in another order; rows of `pick` are in that order already."""
        return replace(
            self,
            targets=tuple(self.targets[t] for t in places),
            target_columns=self.target_columns[list(places)],
            clusters=self.clusters[list(places)],
        )

    def rows_from(self, first: int) -> Predictions:
        """The same with the later rows of `pick` alone."""
        return replace(self, pick=self.pick[first:])

    def by_cluster(self, values: Floats) -> Floats:
        """Means over the targets of each protocol and cluster.

        Parameters
        ----------
        values : ndarray of shape (..., n_targets)
            NaN for a target without a value.

        Returns
        -------
        ndarray of shape (..., n_protocols, n_clusters)
            NaN without any value.
        """
        cells = len(self.protocols) * len(self.cluster_names)
        into = np.zeros((values.shape[-1], cells))
        into[np.arange(values.shape[-1]), self._places] = 1
        known = np.isfinite(values)
        with np.errstate(invalid="ignore", divide="ignore"):
            means = (np.where(known, values, 0.0) @ into) / (known.astype(np.float64) @ into)
        return means.reshape(*values.shape[:-1], len(self.protocols), len(self.cluster_names))

    def by_protocol(self, values: Floats) -> Floats:
        """Means over the clusters of each protocol, shape (..., n_protocols)."""
        return mean_of_known(self.by_cluster(values))

    def members(self, name: str, *excluded: str) -> Mask:
        """Which target protocols a set has, for predictors of the `excluded` protocols."""
        if name == OTHER_PROTOCOLS:
            return np.array([p not in excluded for p in self.protocols])
        return np.array([name in (ALL, p) for p in self.protocols])

    def over_sets(self, by_protocol: Floats) -> Floats:
        """Means of each predictor over each set of targets.

        Parameters
        ----------
        by_protocol : ndarray of shape (..., n_predictors, n_protocols)

        Returns
        -------
        ndarray of shape (..., n_predictors, n_sets)
        """
        chosen = np.array(
            [[self.members(s, p.protocol) for s in self.sets] for p in self.predictors]
        )
        return mean_of_known(np.where(chosen, by_protocol[..., np.newaxis, :], np.nan))

    def counts(self, known: Mask) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """How many targets, and clusters, each predictor has in each set.

        Parameters
        ----------
        known : ndarray of bool, shape (n_predictors, n_targets)

        Returns
        -------
        targets, clusters : ndarray of shape (n_predictors, n_sets)
        """
        shape = len(self.predictors), len(self.sets)
        targets, clusters = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        for p, predictor in enumerate(self.predictors):
            for s, name in enumerate(self.sets):
                chosen = self.members(name, predictor.protocol)
                used = known[p] & chosen[self.protocol_places]
                targets[p, s] = used.sum()
                clusters[p, s] = len(set(self.clusters[used].tolist()))
        return targets, clusters


def mean_of_known(values: Floats) -> Floats:
    """Mean over the last axis of what is not NaN; NaN of nothing."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: Floats = np.where(known, values, 0.0).sum(axis=-1) / known.sum(axis=-1)
    return mean


def trusted_predictors(evidence: Evidence) -> list[Column]:
    """Every protocol's headline inside the domain; transferability metrics there and on targets."""
    variants = evidence.variants
    headline = [variants[name] for name in evidence.headline.values()]
    cheap = [variants[name] for name in cheap_predictors(evidence.cube)]
    inside = evidence.datasets("in_domain")
    return [
        *(Column(variant, d) for d in inside for variant in headline),
        *(Column(variant, d) for d in inside for variant in cheap),
        *(Column(variant, EACH_TARGET) for variant in cheap),
    ]


def predictions(
    evidence: Evidence, asked: Sequence[Column], *, everyone: bool = False
) -> Predictions | str:
    """Predictors and targets with their scores, or why there are none.

    Predictors and targets without any score are left out, and so are untrained and collapsed models
    unless `everyone` is asked for.
    """
    cube = evidence.cube
    scores = comparable(cube, evidence.settings.metric).transpose("model", "variant", "dataset")
    variants = [str(v) for v in scores["variant"].values]
    datasets = evidence.datasets()
    kept_models = everyone | ~left_out(evidence).mask
    values = scores.values[kept_models]
    known = np.isfinite(values).any(axis=0)

    def place(variant: str, dataset: str) -> int:
        return variants.index(variant) * len(datasets) + datasets.index(dataset)

    targets = [
        Column(evidence.variants[variant], dataset)
        for variant in evidence.headline.values()
        for dataset in evidence.datasets("out_of_domain")
        if known[variants.index(variant), datasets.index(dataset)]
    ]
    rows = {
        predictor: [
            place(variant, target.dataset if dataset == EACH_TARGET else dataset)
            for target in targets
        ]
        for predictor in asked
        for variant, dataset in [predictor.key]
    }
    kept = {p: row for p, row in rows.items() if known.ravel()[row].any()}
    if not targets:
        return "no data set is out of domain, or none of them has scores"
    if not kept:
        return "no data set is in domain, or none of them has scores"
    used = sorted(
        {column for row in kept.values() for column in row} | {place(*t.key) for t in targets}
    )
    number = {column: i for i, column in enumerate(used)}
    n_test = np.where(cube["n_test"].values > 0, cube["n_test"].values, ASSUMED_TESTS)
    n_test = np.where(np.isin(variants, cheap_predictors(cube))[:, np.newaxis], np.nan, n_test)
    return Predictions(
        models=tuple(np.array(evidence.models)[kept_models].tolist()),
        scores=values.reshape(len(values), -1)[:, used],
        n_test=n_test.ravel()[used],
        predictors=tuple(kept),
        targets=tuple(targets),
        pick=np.array([[number[c] for c in row] for row in kept.values()], np.intp),
        target_columns=np.array([number[place(*t.key)] for t in targets], np.intp),
        clusters=clusters_of(cube, [target.dataset for target in targets]),
    )
