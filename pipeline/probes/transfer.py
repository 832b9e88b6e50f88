"""Train on one data set, test on another whose classes have the same names; no forward passes.

Only classes that both have count: a head is trained on all classes of its data set and its scores
are restricted to the shared ones, a bank of neighbours is filtered to them before the search, and
test images of other classes are left out. Statistics for normalising come from the data set
trained on, but in the variants named ``target_zscore`` (transductive: test features are z-scored
by the train split of their own data set, where it has one).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.datasets.index import read_index
from pipeline.datasets.shared_classes import SharedClasses
from pipeline.heads.linear_heads import FittedHead
from pipeline.heads.slabs import Part, Rows
from pipeline.neighbors.banks import CellBank
from pipeline.neighbors.preparation import Space
from pipeline.probes.held_out_groups import hold_out_groups
from pipeline.probes.knn_variants import neighbors_of
from pipeline.probes.linear import fit_all_heads
from pipeline.probes.needs import Need, transfer_need
from pipeline.probes.protocol import run_protocol
from pipeline.probes.reading import CachedRows, bank_of, read_rows, rows_of
from pipeline.probes.scoring import make_outcome, score_rows
from pipeline.probes.task import Scored, Source, Task, shape_of
from pipeline.probes.transfer_pairs import describe_pairs
from pipeline.probes.transfer_scores import Part as Judged
from pipeline.probes.transfer_scores import join
from pipeline.probes.transfer_votes import neighbor_votes
from pipeline.study.linear import linear_variants
from pipeline.study.protocol import Say
from pipeline.study.schema import Study
from pipeline.study.transfer import TRANSFER, trained_on, transferred_knn
from pipeline.study.variant import Variant

Values = NDArray[np.floating]
Matrix = NDArray[np.float64]


def score_all(study: Study, say: Say) -> tuple[int, int]:
    """Score what the study misses; say first which classes data sets share."""
    for line in describe_pairs(study, {name: read_index(name) for name in study.datasets}):
        say(line)
    probe = Transfer(study)
    return run_protocol(study, TRANSFER.name, probe, probe.need, by_model=True, say=say)


class Transfer:
    """The probe of the transfer protocol.

    It keeps the heads fitted on a model's sources for all data sets that they are tested on, so
    one probe should get all tasks of a model, one after the other.
    """

    def __init__(self, study: Study) -> None:
        self._study = study
        self._variants = transferred_knn(study)
        self._model, self._streamed, self._backend = "", False, "numpy"
        self._heads: dict[str, dict[Variant, FittedHead | None]] = {}

    def __call__(self, task: Task) -> Scored:
        """Judge the sources' probes on the val split of the task's data set."""
        if task.model != self._model:
            self._model, self._heads = task.model, {}
        self._streamed, self._backend = task.streamed, task.backend
        parts: list[Judged] = []
        wanted = set(task.wanted(self._study, TRANSFER))
        for name, source in task.sources.items():
            of_source = {variant for variant in wanted if variant.source == name}
            test = _Test.of(task, name, source, of_source) if of_source else None
            if test is not None:
                parts += self._by_neighbors(test)
                parts += self._by_heads(test)
        if task.dataset in self._study.transfer.sources:
            parts += hold_out_groups(task, self._variants[0], self._study.linear, wanted)
        return join(parts)

    def need(self, task: Task) -> Need:
        """What a task takes, in a process that has the heads of all its sources."""
        sources = [
            replace(shape_of(task), train=source.train.manifest.rows, classes=len(source.classes))
            for source in task.sources.values()
        ]
        return transfer_need(self._study, task.backend, shape_of(task), sources)

    def _by_neighbors(self, test: _Test) -> Iterator[Judged]:
        train = test.source.train
        places = test.shared.from_source[train.labels()]
        n_bank = int(np.count_nonzero(places >= 0))
        for variant in self._variants:
            if neighbors_of(variant) > n_bank or not test.wants(variant):
                continue
            for name, queries in test.versions(variant):
                votes = neighbor_votes(
                    variant,
                    CellBank(train),
                    places,
                    bank_of(queries),
                    len(test.shared.names),
                    self._backend,
                )
                facts = {"seconds": 0.0, "backend": self._backend, "details": {}}
                yield test.judged(name, votes, True, n_bank, places=variant.k, **facts)

    def _by_heads(self, test: _Test) -> Iterator[Judged]:
        fitted = self._heads.setdefault(test.name, {})
        asked = [variant for variant in linear_variants(self._study) if test.wants(variant)]
        if new := [variant for variant in asked if variant not in fitted]:
            made = {h.variant: h for h in self._fitted(test.name, test.source, new)}
            fitted |= dict.fromkeys(new) | made  # None of those that diverged
        for head in filter(None, map(fitted.get, asked)):
            for name, queries in test.versions(head.variant):
                of_shared = (scores[:, test.shared.in_source] for scores in head.slabs(queries))
                yield test.judged(
                    name,
                    map(_probabilities, of_shared) if head.log_probabilities else of_shared,
                    head.log_probabilities,
                    test.source.train.manifest.rows,
                    seconds=head.seconds,
                    backend=head.backend,
                    seed=head.seed,
                    details=head.details,
                )

    def _fitted(self, name: str, source: Source, wanted: Sequence[Variant]) -> Iterator[FittedHead]:
        """Heads of the linear protocol."""
        train = rows_of(source.train, streamed=self._streamed)
        labels = source.train.labels().astype(np.int64)
        return fit_all_heads(
            self._study,
            self._backend,
            name,
            self._model,
            train,
            labels,
            len(source.classes),
            source.train_groups,
            wanted,
        )


@dataclass(frozen=True)
class _Test:
    """The val images of a task that one source can be tested on.

    Attributes
    ----------
    task : Task
    name : str
        Of the source.
    source : Source
    shared : SharedClasses
    rows : ndarray of shape (n_judged,)
        Val rows of a shared class.
    truth : ndarray of shape (n_judged,)
        Place of their class among the shared ones.
    queries : Rows of shape (n_judged, n_features)
    left_out : int
        Val images of other classes.
    wanted : set of Variant
        Of this source.
    """

    task: Task
    name: str
    source: Source
    shared: SharedClasses
    rows: NDArray[np.int64]
    truth: NDArray[np.int64]
    queries: Rows
    left_out: int
    wanted: AbstractSet[Variant]

    @classmethod
    def of(
        cls, task: Task, name: str, source: Source, wanted: AbstractSet[Variant]
    ) -> _Test | None:
        """None where there is nothing to test, for the reason that the stage prints."""
        shared = SharedClasses.of(source.classes, task.classes)
        labels = task.val.labels()
        if shared.obstacle(labels):
            return None
        places = shared.from_target[labels]
        rows = np.flatnonzero(places >= 0)
        streamed = Part(CachedRows(task.val), rows) if task.streamed else None
        queries = read_rows(task.val, rows) if streamed is None else streamed
        left_out = len(labels) - len(rows)
        return cls(task, name, source, shared, rows, places[rows], queries, left_out, wanted)

    def wants(self, probe: Variant) -> bool:
        """Whether any version of a probe is wanted."""
        return not self.wanted.isdisjoint(trained_on(self.name, probe))

    def versions(self, probe: Variant) -> Iterator[tuple[str, Rows]]:
        """A probe's name and queries; with z-scoring also its transductive twin's, if any."""
        for variant in trained_on(self.name, probe):
            if variant not in self.wanted:
                continue
            if variant.normalization != "target_zscore":
                yield variant.name, self.queries
            elif self.task.train_cell is not None:
                yield variant.name, self._moved_queries()

    def judged(
        self,
        name: str,
        scores: Iterable[Matrix],
        are_probabilities: bool,
        n_train: int,
        **facts: Any,
    ) -> Judged:
        """Slabs of scores of all queries against the truth, with the target's labels."""
        start = time.perf_counter()
        # The path to a head's choice is the same in all targets, and in the linear protocol.
        facts["details"] = {key: x for key, x in facts["details"].items() if key != "path"} | {
            "source": self.name,
            "shared_classes": len(self.shared.names),
            "images_of_other_classes": self.left_out,
        }
        outcome = make_outcome(
            name, scores, self.truth, are_probabilities=are_probabilities, **facts
        )
        in_target = self.shared.in_target
        outcome = replace(
            outcome,
            predicted=in_target[outcome.predicted].astype(np.int32),
            seconds=outcome.seconds + time.perf_counter() - start,
        )
        groups = None if self.task.groups is None else self.task.groups[self.rows]
        rows = score_rows(outcome, in_target[self.truth], len(self.shared.names), n_train, groups)
        return Judged(rows, outcome, "val", self.rows)

    def _moved_queries(self) -> Rows:
        """Queries whose z-scores by the source's train split are those by their own."""
        own, other = (
            Space.fit(CellBank(cell), "zscore", "euclidean")
            for cell in (self.task.train, self.source.train)
        )
        assert other.mean is not None  # it is "zscore"
        assert other.deviation is not None
        mean, deviation = other.mean, other.deviation

        def move(queries: Values) -> Values:
            moved: Values = own.prepare(queries) * deviation + mean
            return moved

        if isinstance(self.queries, np.ndarray):
            return move(self.queries)
        return Part(self.queries, normalize=move, dtype=np.float64)


def _probabilities(logarithms: Matrix) -> Matrix:
    """Of the classes at hand alone, from log probabilities among all."""
    shares: Matrix = np.exp(logarithms - logarithms.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    return shares
