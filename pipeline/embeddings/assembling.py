"""One model's rows on their way into the chunks of a cell: computed, ahead of time, or copied."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cache.cell import Cell
from cache.rows import planned
from cache.writer import CellWriter
from pipeline.embeddings.held import candidates
from pipeline.embeddings.jobs import Job, Written


@dataclass
class _Chunk:
    """A chunk whose computed rows are being collected."""

    rows: NDArray[np.int64]
    values: NDArray[np.float32] | None = None
    filled: int = 0
    seconds: float = 0.0


class Assembler:
    """Collects one model's rows into chunks and hands whole chunks to the writer thread.

    Attributes
    ----------
    begun : int
        Chunks that were taken up in this pass.
    """

    def __init__(
        self,
        job: Job,
        cell: CellWriter,
        held: Mapping[str, list[Cell]],
        submit: Callable[..., None],
    ) -> None:
        self.job, self.cell, self._held, self._submit = job, cell, held, submit
        self._chunks: dict[int, _Chunk] = {}
        self._wanted = np.zeros(cell.rows, bool)
        self.begun = 0
        self._plan_rows()

    def _plan_rows(self) -> None:
        around = candidates(self._held, self.job.key, self.cell.address)
        with self.cell.in_turn():  # all processes follow one plan
            self._dtype = self.cell.dtype
            self._plan = planned(self.cell, around)
        self._computed = self._plan.computed
        self._computed[self.cell.ahead.rows] = False

    @property
    def copies(self) -> bool:
        """Whether rows come from other cells."""
        return bool(self._plan.cells)

    def needs_cell(self, other: Assembler) -> bool:
        """Whether rows that are still missing are to be copied from what `other` will replace."""
        return other is not self and bool(self.cell.missing) and self._plan.uses(other.cell.address)

    @property
    def written(self) -> Written:
        """What became of the cell."""
        return Written(self.cell.seconds, self.cell.storage, self.cell.copied)

    def begin_pass(self) -> None:
        """Before the images are gone through."""
        if self.cell.dtype != self._dtype:  # it needs float32, and began anew
            self._plan_rows()
        self._chunks = {}
        self._wanted[:] = False
        self.begun = 0

    def rows_left(self) -> NDArray[np.bool_]:
        """Which rows are missing and held by no other cell."""
        left = np.zeros(self.cell.rows, bool)
        for chunk in self.cell.missing:
            span = self.cell.rows_of(chunk)
            left[span] = self._computed[span]
        return left

    def begin(self, block: slice) -> None:
        """Take up the missing chunks of some rows that no other process is at.

        Those that are copied as a whole are submitted at once.
        """
        for chunk in self.cell.missing:
            span = self.cell.rows_of(chunk)
            if not block.start <= span.start < block.stop or not self.cell.claim(chunk):
                continue
            self.begun += 1
            rows = span.start + np.flatnonzero(self._computed[span])
            self._wanted[rows] = True
            if len(rows):
                self._chunks[chunk] = _Chunk(rows)
            else:
                self._submit(self._write, chunk, _Chunk(rows))

    def needs(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of these rows are to be computed."""
        return self._wanted[rows]

    def take(self, rows: NDArray[np.int64], features: NDArray[np.float32], seconds: float) -> None:
        """Put rows' features into their chunks; submit each chunk whose last row it was."""
        chunks = rows // self.cell.chunk_rows
        for chunk in np.unique(chunks).tolist():
            here, part = chunks == chunk, self._chunks[chunk]
            count = int(here.sum())
            if part.values is None:
                part.values = np.empty((len(part.rows), self.cell.columns), np.float32)
            part.values[part.filled : part.filled + count] = features[here]  # rows come in order
            part.filled += count
            part.seconds += seconds * count / len(rows)
            if part.filled == len(part.rows):
                self._submit(self._write, chunk, self._chunks.pop(chunk))

    def _write(self, chunk: int, part: _Chunk) -> None:
        """In the writer thread."""
        span = self.cell.rows_of(chunk)
        if part.values is not None and len(part.rows) == span.stop - span.start:
            self.cell.write(chunk, part.values, part.seconds)
            return
        values = np.empty((span.stop - span.start, self.cell.columns), np.float32)
        if part.values is not None:
            values[part.rows - span.start] = part.values
        ahead = self.cell.ahead
        known = ahead.inside(span)
        values[ahead.rows[known] - span.start] = ahead.values[known]
        copied, rounded = self._plan.copy_into(values, span)
        seconds = part.seconds + ahead.seconds * (known.stop - known.start)
        self.cell.write(chunk, values, seconds, copied=copied, rounded=rounded)
