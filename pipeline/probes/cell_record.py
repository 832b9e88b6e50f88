"""A cell's record of one protocol: whether it is current, what it misses, how it is made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from cache.errors import CellCorruptError
from cache.former import forget_oldest, former_path, former_records, put_aside, put_back
from cache.records import Record, is_current_record, read_record, write_record
from pipeline.probes.known import Known, Rows, known_variants, put_together, read_known
from pipeline.project.paths import former_folder, record_path
from pipeline.study.variant import Variant

Compute = Callable[[tuple[Variant, ...]], tuple[Rows, pa.Table]]
"""From variants to their scores and outcomes."""


@dataclass(frozen=True)
class CellRecord:
    """What a study asks of one protocol on one model and data set.

    Attributes
    ----------
    protocol, dataset, model : str
    key : dict
        See `pipeline.study.records.record_key`.
    asked : tuple of Variant
        Of the protocol; the cell need not have all.
    """

    protocol: str
    dataset: str
    model: str
    key: dict[str, Any]
    asked: tuple[Variant, ...]

    @property
    def path(self) -> Path:
        """Where it lies."""
        return record_path(self.protocol, self.dataset, self.model)

    @property
    def former(self) -> Path:
        """The folder of the records that it replaced."""
        return former_folder(self.protocol, self.dataset, self.model)

    def is_current(self) -> bool:
        """Whether the record that lies there answers exactly this."""
        return is_current_record(self.path, self.key)

    def look_up(self) -> Known:
        """What is known of its variants, by which the work is planned."""
        if former_path(self.former, self.key).exists():
            return Known({}, (), tuple(variant.name for variant in self.asked))
        return known_variants(self.key, self.asked, self._candidates())

    def make(self, compute: Compute, group_rows: int) -> None:
        """Put the record in place, computing only what is not known.

        Records are read where nothing changes them any more, among the former ones, so that
        another process that makes the same record meanwhile does no harm.

        Parameters
        ----------
        compute : callable
        group_rows : int
            See `cache.records.write_record`.
        """
        if not put_back(self.key, self.path, self.former):
            put_aside(self.path, self.former)
            known, tables = read_known(self.key, self.asked, list(former_records(self.former)))
            scores, outcomes = compute(known.missing) if known.missing else ([], None)
            if known.found or outcomes is None:
                scores, outcomes = put_together(known, tables, scores, outcomes)
            write_record(
                self.path,
                key=self.key,
                scores=scores,
                outcomes=outcomes,
                group_rows=group_rows,
                asked=known.order,
            )
        forget_oldest(self.former)

    def _candidates(self) -> Iterator[Record]:
        try:
            record = read_record(self.path)
        except CellCorruptError:
            record = None
        if record is not None:
            yield record
        yield from former_records(self.former)
