"""Everything that the report is made of, read once and checked to be of one study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from cache.errors import ProbelineError
from pipeline.embeddings.provenance import read_provenance
from pipeline.machine.netcdf import read_netcdf_groups
from pipeline.project.paths import CORRELATION_NC, SCORES_CSV, SCORES_NC
from pipeline.report.blocks import largest_block
from pipeline.results.cube import (
    headline_variants,
    metrics_used,
    read_cube,
    require_same_table,
    same_metric,
    scored_by,
    seen_in,
)
from pipeline.results.foreign_scores import load_foreign
from pipeline.results.score_table import read_scores
from pipeline.results.variant_table import variants_of
from pipeline.statistics.analysis import columns_of
from pipeline.statistics.evidence import ValSplit, gather_evidence
from pipeline.statistics.target_checks import deciding
from pipeline.statistics.unseen import asked_evidence
from pipeline.study import metrics
from pipeline.study.column import Column, column_name
from pipeline.study.schema import Study
from pipeline.study.seen import Seen
from pipeline.study.target import Target, target_of
from pipeline.study.variant import Variant

_REMEDY = "run `dvc repro` (or the stages `collect`, then `correlate`)"


@dataclass(frozen=True)
class Inputs:
    """What the report reads.

    Attributes
    ----------
    study : Study
        May name nothing: scores may all be imported. The cube has all names.
    cube : Dataset
        See `pipeline.results.cube.to_cube`; without scores of models on data sets that they were
        trained on, where `report.seen` says so.
    correlations : Dataset
        See `pipeline.statistics.analysis.analyse`.
    scores : DataFrame
        Rows of scores.csv.
    provenance : mapping of (data set, model) to dict
    tests : mapping of data set to ValSplit
        Of those with images.
    statistics : mapping of str to Dataset
        By their names in `pipeline.statistics.registry.STATISTICS`.
    everything : Dataset or None
        The cube with all scores; None where it is `cube`.
    """

    study: Study
    cube: xr.Dataset
    correlations: xr.Dataset
    scores: pd.DataFrame
    provenance: Mapping[tuple[str, str], dict[str, Any]]
    tests: Mapping[str, ValSplit]
    statistics: Mapping[str, xr.Dataset] = field(default_factory=dict)
    everything: xr.Dataset | None = None

    @cached_property
    def headline(self) -> Mapping[str, str]:
        """First variant of each protocol, as ``protocol/variant``."""
        return headline_variants(self.cube)

    @cached_property
    def variants(self) -> Mapping[str, Variant]:
        """All variants by their names in the cube, ``protocol/variant``."""
        return variants_of(self.cube)

    @cached_property
    def columns(self) -> Mapping[str, Column]:
        """All columns of scores by their names in correlation.nc, ``protocol/variant@data set``."""
        return columns_of(self.cube)

    @cached_property
    def seen(self) -> Mapping[tuple[str, str], Seen]:
        """What models saw of data sets in training, by model and data set, as far as is known."""
        return seen_in(self.all_scores)

    @property
    def all_scores(self) -> xr.Dataset:
        """The cube with every score, also those that statistics leave out."""
        return self.cube if self.everything is None else self.everything

    @property
    def known_scores(self) -> int:
        """How many scores have a value."""
        return int(np.isfinite(self.all_scores["value"]).sum())

    @property
    def metric(self) -> str:
        """The metric that was correlated; the whole report speaks of it first."""
        return str(self.correlations.attrs["metric"])

    @property
    def metric_label(self) -> str:
        """What ranks the models, in words: the metric, or of an error what is left of 1."""
        of = metrics.metric_named(self.metric)
        return of.goodness_of(of.label)

    @cached_property
    def models(self) -> list[str]:
        """Names of all models: the study's first, then imported ones."""
        return [str(name) for name in self.cube["model"].values]

    @cached_property
    def roles(self) -> dict[str, str]:
        """``in_domain``, ``out_of_domain``, or of an imported data set ``""``, by data set."""
        names, roles = self.cube["dataset"].values, self.cube["role"].values
        return {str(name): str(role) for name, role in zip(names, roles, strict=True)}

    @cached_property
    def target(self) -> Target:
        """The data sets that the answer is about."""
        return target_of(self.study.report.target, self.roles)

    def datasets(self, role: str | None = None) -> list[str]:
        """Names of all data sets, or of those with a role, in the study's order."""
        return [name for name, its in self.roles.items() if role in (None, its)]

    def words(self, name: str) -> dict[str, str]:
        """What is said of each model: its family, backbone, method, supervision or objective."""
        return dict(zip(self.models, map(str, self.cube[name].values), strict=True))

    def scored_datasets(self, protocol: str, role: str | None = None) -> list[str]:
        """Data sets (of a role) on which any model has a score by a protocol's headline."""
        has = self._has_score(protocol, self.datasets(role))
        return [name for name, row in zip(self.datasets(role), has, strict=True) if row.any()]

    def comparable_datasets(self, protocol: str) -> list[str]:
        """`scored_datasets` of one metric, or of many gaps those that leave models to compare."""
        of_one = same_metric(self.cube, self.metric, self.headline[protocol])
        datasets = [name for name in self.scored_datasets(protocol) if name in of_one]
        return [datasets[place] for place in largest_block(self._has_score(protocol, datasets))]

    def plain_means(self, protocol: str, datasets: list[str]) -> NDArray[np.float64]:
        """Mean score of each model over data sets; NaN for one that lacks any of them.

        NaN for all where there is no data set, e.g. only test images out of domain.
        """
        if not datasets:
            return np.full(len(self.models), np.nan)
        means: NDArray[np.float64] = (
            self._headline_scores(protocol, datasets).mean("dataset", skipna=False).values
        )
        return means

    def metric_of(self, protocol: str) -> str:
        """By which metric a protocol's means are: the report's, or what it has instead."""
        used = metrics_used(self.cube, self.metric).sel(variant=self.headline[protocol])
        of_one = same_metric(self.cube, self.metric, self.headline[protocol])
        return str(used.sel(dataset=of_one[0]).item()) if of_one else self.metric

    def metric_words(self, protocol: str) -> str:
        """`metric_of` in words: what ranks the models, so of an error what is left of 1."""
        of = metrics.metric_named(self.metric_of(protocol))
        return of.goodness_of(of.label)

    @cached_property
    def scored(self) -> xr.Dataset:
        """The cube by `metric` alone, higher is better; NaN where it was not measured.

        Dimensions model, dataset and variant; variables value, ci_low and ci_high.
        """
        return scored_by(self.cube, self.metric)

    @cached_property
    def decides(self) -> str:
        """The protocol by which a model is recommended; empty where none scored the target."""
        target = set(self.target.datasets)
        return deciding(p for p in self.headline if target & set(self.scored_datasets(p)))

    def _has_score(self, protocol: str, datasets: list[str]) -> NDArray[np.bool_]:
        """Shape (n_datasets, n_models)."""
        scores = self._headline_scores(protocol, datasets).transpose("dataset", "model")
        has: NDArray[np.bool_] = np.isfinite(scores.values)
        return has

    def _headline_scores(self, protocol: str, datasets: list[str]) -> xr.DataArray:
        return self.scored["value"].sel(variant=self.headline[protocol], dataset=datasets)

    @cached_property
    def computed(self) -> set[str]:
        """Protocols that the study itself ran; scores of the others were imported."""
        own = self.cube["own"].values == 1
        return set(map(str, self.cube["protocol"].values[own]))

    @cached_property
    def imported(self) -> list[str]:
        """Variants that the study did not run."""
        return [str(name) for name in self.cube["variant"].values[self.cube["own"].values != 1]]

    def told(self, name: str) -> xr.Dataset:
        """A statistic; without variables, and with the reason, where it has nothing to say."""
        missing = xr.Dataset(attrs={"withheld": "it was not computed; run the stage correlate"})
        return self.statistics.get(name, missing)


def load_inputs(study: Study) -> Inputs:
    """Read all that the report shows.

    Raises
    ------
    ProbelineError
        When a result is absent, or was made for another study.
    """
    cube = read_cube()
    statistics = read_netcdf_groups(CORRELATION_NC)
    correlations = statistics.pop("")
    require_same_table(cube)
    scores = read_scores(SCORES_CSV)
    _check_same_study(study, cube, correlations)
    evidence = gather_evidence(study, cube)
    asked = asked_evidence(evidence, study)
    provenance = {
        (dataset, model): facts
        for dataset in study.datasets
        for model in study.models
        if (facts := read_provenance(dataset, model))
    }
    return Inputs(
        study, asked.cube, correlations, scores, provenance, evidence.tests, statistics, cube
    )


def _check_same_study(study: Study, cube: xr.Dataset, correlations: xr.Dataset) -> None:
    foreign = load_foreign(study)
    for dimension, named in (("model", study.models), ("dataset", study.datasets)):
        expected = list(dict.fromkeys([*named, *foreign[dimension].unique()]))
        found = [str(name) for name in cube[dimension].values]
        if found != expected:
            raise ProbelineError(
                str(SCORES_NC),
                "holds the scores of another study",
                expected=f"{dimension}s {', '.join(expected)}",
                found=", ".join(found),
                remedy=_REMEDY,
            )
    columns = {column_name(v, d) for v in cube["variant"].values for d in cube["dataset"].values}
    if not columns:
        raise ProbelineError(str(SCORES_NC), "holds no score", remedy="run `dvc repro`")
    if columns != {str(name) for name in correlations["predictor"].values}:
        raise ProbelineError(
            str(CORRELATION_NC), "was made from other scores", remedy="run the stage `correlate`"
        )
