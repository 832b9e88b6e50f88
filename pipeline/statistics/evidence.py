"""What the statistics are made of: scores, per-image outcomes, and how to read them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa
import xarray as xr
from numpy.typing import NDArray

from cache.errors import ProbelineError
from cache.fingerprint import canonical_json
from cache.records import Record
from pipeline.datasets.index import Index
from pipeline.results.baseline import check_pivots, declared_baseline
from pipeline.results.cube import headline_variants, seen_in
from pipeline.results.current import Current
from pipeline.results.score_table import MODEL_WORDS
from pipeline.results.variant_table import variants_of
from pipeline.statistics.arrays import Floats
from pipeline.statistics.single_images import SingleImages, StoredImages
from pipeline.study import metrics
from pipeline.study.protocol_list import find_protocol
from pipeline.study.schema import Correlation, Study
from pipeline.study.seen import Seen
from pipeline.study.target import target_of
from pipeline.study.transfer import TRANSFER
from pipeline.study.variant import Variant
from pipeline.study.variant_keys import VariantKeys


@dataclass(frozen=True)
class Hits:
    """Per-image outcomes of one protocol's headline variant on one data set.

    Attributes
    ----------
    models : tuple of str
        Models that have outcomes here.
    hits : ndarray of shape (n_models, n_test)
        Whether the top-1 prediction was right; where a protocol has draws, in which share of
        them, so that an image counts once. NaN for an image that the protocol did not judge:
        transfer leaves out those of classes that it was not trained on.
    """

    models: tuple[str, ...]
    hits: NDArray[np.float32]


@dataclass(frozen=True)
class Draws:
    """Scores of one few-shot variant on one data set, by each draw of labelled images.

    Attributes
    ----------
    models : tuple of str
        Models that have them here.
    scores : ndarray of shape (n_models, n_draws)
        By the metric that is correlated, higher is better. Draws of equal number hold the same
        images for all models.
    classes : int
        Among how many each test image was judged; 0 where that is not known.
    chance : float
        What guessing scores; NaN where that is not known.
    images : float
        Labelled images of a draw, their mean over draws; NaN where that is not known.
    """

    models: tuple[str, ...]
    scores: Floats
    classes: int = 0
    chance: float = np.nan
    images: float = np.nan


@dataclass(frozen=True)
class ValSplit:
    """The test images of one data set.

    Attributes
    ----------
    paths : tuple of str
    labels : ndarray of shape (n_test,), int64
    n_train, n_classes : int
    remarks : tuple of str
        What the index found that is not an error.
    notes : tuple of str
        What listing left out, and what is white in grey images of more than 8 bits.
    classes : tuple of str
        Names of the labels; empty where nobody needs them.
    """

    paths: tuple[str, ...]
    labels: NDArray[np.int64]
    n_train: int
    n_classes: int
    remarks: tuple[str, ...]
    notes: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()


def no_draws(variant: str, dataset: str) -> Draws:
    """Where no scores by draw are known."""
    return Draws((), np.zeros((0, 0)))


@dataclass(frozen=True)
class Evidence:
    """Everything that a statistic may use.

    Attributes
    ----------
    cube : Dataset
        See `pipeline.results.cube.to_cube`.
    settings : Correlation
    tests : mapping of str to ValSplit
        Test images of each data set; none of those that only have imported scores.
    read_hits : callable
        From a variant (``protocol/variant``) and a data set to the outcomes of its test images.
        Reading costs time and memory: a statistic asks for what it needs, and keeps nothing.
    read_draws : callable
        From a few-shot variant and a data set to its scores by draw; cheap.
    untrained : frozenset of str
        Models whose weights are an initialisation, by params.yaml. The cube's words may name more.
    margin : float
        By how much a model may lie behind the best and still be as good, as a share.
    seen : mapping of (str, str) to Seen
        By model and data set, what the model was trained on: see `pipeline.study.seen`.
    everything : Evidence or None
        The evidence with the scores of data sets that a model was trained on; None where they are
        here.
    baseline : tuple of str, or None
        Models that effective robustness is measured against; None where none are declared.
    images : SingleImages
        What is known of single images; read when it is asked for.
    named_target : tuple of str
        `report.target`.
    headlines : Evidence or None
        The evidence with headlines and cheap predictors alone, where it was made of this one:
        what looks at nothing else is computed for that one, and once.
    outcomes : callable
        From a variant and a data set to what `read_hits` gives, as text: the keys of its records.
    tables : mapping of str to Dataset
        Statistics of this evidence that are made already, where some are.
    """

    cube: xr.Dataset
    settings: Correlation
    tests: Mapping[str, ValSplit]
    read_hits: Callable[[str, str], Hits]
    read_draws: Callable[[str, str], Draws] = field(default=no_draws)
    untrained: frozenset[str] = frozenset()
    margin: float = 0.01
    seen: Mapping[tuple[str, str], Seen] = field(default_factory=dict)
    everything: Evidence | None = None
    baseline: tuple[str, ...] | None = None
    images: SingleImages = field(default_factory=SingleImages)
    named_target: tuple[str, ...] = ()
    headlines: Evidence | None = None
    outcomes: Callable[[str, str], str] = field(default=lambda variant, dataset: "")
    tables: Mapping[str, xr.Dataset] = field(default_factory=dict)

    @cached_property
    def labels_seen(self) -> frozenset[tuple[str, str]]:
        """Models and data sets where the model had labels of the classes that are tested."""
        return frozenset(cell for cell, seen in self.seen.items() if seen.is_of_labels)

    @cached_property
    def target(self) -> tuple[str, ...]:
        """Data sets that the answer is about."""
        roles = zip(self.cube["dataset"].values, self.cube["role"].values, strict=True)
        return target_of(self.named_target, {str(n): str(r) for n, r in roles}).datasets

    @cached_property
    def headline(self) -> Mapping[str, str]:
        """First variant of each protocol, as ``protocol/variant``."""
        return headline_variants(self.cube)

    @cached_property
    def variants(self) -> Mapping[str, Variant]:
        """All variants by their names in the cube, ``protocol/variant``."""
        return variants_of(self.cube)

    @cached_property
    def models(self) -> list[str]:
        """Names of all models, in the study's order."""
        return [str(name) for name in self.cube["model"].values]

    def datasets(self, role: str | None = None) -> list[str]:
        """Names of all data sets, or of those with a role, in the study's order."""
        names, roles = self.cube["dataset"].values, self.cube["role"].values
        return [str(n) for n, r in zip(names, roles, strict=True) if role in (None, str(r))]


def gather_evidence(study: Study, cube: xr.Dataset) -> Evidence:
    """The evidence of a study whose scores have been collected.

    Parameters
    ----------
    study : Study
    cube : Dataset
        See `pipeline.results.cube.to_cube`.

    Raises
    ------
    ProbelineError
        When a data set has no index. Reading outcomes raises it for those of other test images.
    """
    current, variants = Current(study), variants_of(cube)
    tests = {name: _val_split(current.index(name)) for name in study.datasets}

    def read_hits(variant: str, dataset: str) -> Hits:
        if dataset not in tests:  # imported scores have no outcomes
            return Hits((), np.zeros((0, 0), np.float32))
        return _hits(current, variants[variant], dataset, tests[dataset])

    def read_draws(variant: str, dataset: str) -> Draws:
        if dataset not in tests:
            return no_draws(variant, dataset)
        return _draws(study, current, variants[variant], dataset)

    def outcomes(variant: str, dataset: str) -> str:
        of = variants[variant]
        if dataset not in tests or find_protocol(of.protocol) is None:
            return ""
        records = [current.record(of.protocol, dataset, model) for model in study.models]
        keys = [None if r is None else VariantKeys(r.key).of(of) for r in records]
        return canonical_json(keys)

    untrained = frozenset(n for n, m in study.models.items() if m.weights.startswith("random("))
    margin = study.report.margin / 100
    models = [str(name) for name in cube["model"].values]
    words = {word: [str(said) for said in cube[word].values] for word in MODEL_WORDS}
    datasets = [str(name) for name in cube["dataset"].values]
    check_pivots(study.correlation.pivot, models, datasets)
    return Evidence(
        cube, study.correlation, tests, read_hits, read_draws,
        untrained=untrained, margin=margin, seen=seen_in(cube),
        baseline=declared_baseline(study.correlation.baseline, models, words),
        images=StoredImages(study, current), named_target=tuple(study.report.target),
        outcomes=outcomes,
    )  # fmt: skip


def _val_split(index: Index) -> ValSplit:
    val = index.split("val")
    return ValSplit(
        paths=tuple(val["path"].to_numpy(object)),  # many times faster than to go through it
        labels=index.labels("val"),
        n_train=len(index.split("train")),
        n_classes=len(index.classes),
        remarks=index.warnings,
        notes=index.notes,
        classes=index.classes,
    )


def _hits(current: Current, variant: Variant, dataset: str, test: ValSplit) -> Hits:
    def read(record: Record) -> NDArray[np.float32] | None:
        mine = record.outcomes_where("variant", variant.name, ("sample", "rank"))
        if not len(mine):
            return None
        return _shares(record, mine, len(test.labels), partly=variant.protocol == TRANSFER.name)

    found = current.read_each(variant.protocol, dataset, read)
    hits = np.array(list(found.values()), np.float32).reshape(len(found), len(test.labels))
    return Hits(tuple(found), hits)


def _draws(study: Study, current: Current, variant: Variant, dataset: str) -> Draws:
    wanted = (variant.name, study.correlation.metric)
    found = {
        model: score["details"]
        for model in study.models
        if (record := current.record(variant.protocol, dataset, model)) is not None
        for score in record.scores
        if (score["variant"], score["metric"]) == wanted and "draws" in score["details"]
    }
    if not found:
        return no_draws(variant.full_name, dataset)
    told = next(iter(found.values()))  # the same for all models
    scores = np.array([details["draws"] for details in found.values()], np.float64)
    good = metrics.metric_named(study.correlation.metric).goodness(scores)
    return Draws(
        tuple(found), good, told["classes"], told["chance"], float(np.mean(told["images"]))
    )


def _shares(record: Record, mine: pa.Table, n_test: int, *, partly: bool) -> NDArray[np.float32]:
    """Share of an image's outcomes that are right: of few-shot it has one a draw."""
    samples = mine["sample"].to_numpy()
    judged = np.bincount(samples, minlength=n_test)
    if len(judged) != n_test or (judged.min() == 0 and not partly):
        raise ProbelineError(
            str(record.path),
            "was made for other test images",
            expected=f"outcomes of {n_test:,} images",
            found=f"of {np.count_nonzero(judged):,}, up to number {samples.max():,}",
            remedy="run `dvc repro`",
        )
    right = np.bincount(samples, mine["rank"].to_numpy() == 1, n_test)
    shares = np.full(n_test, np.nan, np.float32)
    np.divide(right, judged, where=judged > 0, out=shares)
    return shares
