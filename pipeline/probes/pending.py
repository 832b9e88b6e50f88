"""Which records of a protocol a study still misses, and what each is made from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from cache.cell import Cell
from cache.errors import ProbelineError
from pipeline.datasets.index import Index, read_index
from pipeline.embeddings.cells import fingerprints_of, open_all_cells
from pipeline.embeddings.unavailable import unavailable
from pipeline.probes.cell_record import CellRecord
from pipeline.probes.task import Source, Task, groups_of
from pipeline.study.protocol_list import protocol_named
from pipeline.study.records import is_asked, record_key
from pipeline.study.schema import Study

Pending = tuple[CellRecord, Task]
"""A record that is to be made, and from what; the task's variants are those that are missing."""


@dataclass
class Work:
    """A protocol's records on all models and data sets of a study.

    Attributes
    ----------
    total : int
        Records that the study asks for, and whose cells can be had.
    pending : list of Pending
        Those that are missing or stale.
    failed : list of ProbelineError
        Why others can't be made.
    variants : int
        Of all that are pending, those that are known too.
    """

    total: int = 0
    pending: list[Pending] = field(default_factory=list)
    failed: list[ProbelineError] = field(default_factory=list)
    variants: int = 0

    @property
    def missing(self) -> int:
        """Variants that are to be computed."""
        return sum(len(task.variants or ()) for _, task in self.pending)

    @property
    def computed(self) -> int:
        """Records of which something is to be computed; the others are put together."""
        return sum(bool(task.variants) for _, task in self.pending)


def find_work(study: Study, protocol: str) -> Work:
    """Compare every record with what the study asks for.

    What a record of other settings holds of variants that are still asked for is taken over: only
    the others are missing.
    """
    work = Work()
    asked = tuple(protocol_named(protocol).variants(study))
    indexes = {dataset: read_index(dataset) for dataset in study.datasets}
    for model in study.models:
        cells = cache(lambda dataset, model=model: open_all_cells(study, indexes[dataset], model))

        def fingerprints(dataset: str, cells: Any = cells) -> dict[str, str]:
            return fingerprints_of(indexes[dataset], cells(dataset))

        for dataset, index in indexes.items():
            if not is_asked(study, protocol, dataset, model):
                continue
            if any(unavailable(of, model) for of in (dataset, *_sources(study, protocol, dataset))):
                continue
            work.total += 1
            try:
                key = record_key(study, protocol, dataset, fingerprints)
                record = CellRecord(protocol, dataset, model, key, asked)
                if not record.is_current():
                    task = _task(index, model, cells, indexes, key.get("sources", ()))
                    known = record.look_up()
                    work.variants += len(known.order)
                    work.pending.append((record, replace(task, variants=known.missing)))
            except ProbelineError as error:
                work.failed.append(error)
    return work


def _task(
    index: Index,
    model: str,
    cells: Callable[[str], Mapping[str, Cell]],
    indexes: Mapping[str, Index],
    sources: Iterable[str],
) -> Task:
    of_splits = cells(index.name)
    return Task(
        index.name,
        model,
        of_splits.get("train"),
        of_splits["val"],
        index.classes,
        groups_of(index, "val"),
        groups_of(index, "train"),
        {
            name: Source(
                cells(name)["train"], indexes[name].classes, groups_of(indexes[name], "train")
            )
            for name in sources
        },
    )


def _sources(study: Study, protocol: str, dataset: str) -> list[str]:
    """Other data sets whose cells a record is made of."""
    sources = protocol_named(protocol).sources
    return [] if sources is None else sources(study, dataset)
