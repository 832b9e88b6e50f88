"""How the rows of a cell are cut into chunks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

CHUNK_BYTES = 16 << 20
"""Largest float16 chunk: raw chunks of this size read as fast as ``np.load``."""

MIN_CHUNK_ROWS = 256
MAX_CHUNK_ROWS = 4096


def chunk_rows_for(rows: int, columns: int) -> int:
    """Rows per chunk: a power of two, so that batches of a power of two never straddle a border.

    At most `CHUNK_BYTES`, and about sixteen chunks or more where the split is large enough, so
    that a killed run loses little.
    """
    size = MAX_CHUNK_ROWS
    while size > MIN_CHUNK_ROWS and (size * columns * 2 > CHUNK_BYTES or rows < 16 * size):
        size //= 2
    return size


@dataclass(frozen=True)
class Chunking:
    """A cell's rows, and where one chunk ends and the next begins.

    Attributes
    ----------
    rows, columns : int
    chunk_rows : int
        Rows of one chunk; the last one may have fewer.
    """

    rows: int
    columns: int
    chunk_rows: int

    @classmethod
    def of(cls, rows: int, columns: int) -> Self:
        """The chunks that a new cell of this size has."""
        return cls(rows, columns, chunk_rows_for(rows, columns))

    @property
    def chunks(self) -> int:
        """How many there are."""
        return -(-self.rows // self.chunk_rows)

    def rows_of(self, chunk: int) -> slice:
        """The rows that a chunk holds."""
        start = chunk * self.chunk_rows
        return slice(start, min(start + self.chunk_rows, self.rows))


def blocks(rows: int, chunk_rows: Iterable[int]) -> list[slice]:
    """What processes that build several cells of the same rows claim: whole chunks of every one.

    Parameters
    ----------
    rows : int
    chunk_rows : iterable of int
        Of each cell.
    """
    size = max(chunk_rows)
    return [slice(start, min(start + size, rows)) for start in range(0, rows, size)]
