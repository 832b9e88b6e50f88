"""What a search may take: the sizes of its pieces, the memory it needs, and what it refuses."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cache.errors import ProbelineError
from pipeline.neighbors.banks import Bank
from pipeline.neighbors.running import BAND, MOST_COLUMNS, ROOM

MARGIN = 32
"""Candidates kept beyond k."""

PIECE = 2048
"""Most bank rows compared at a time by one thread; a multiple of 8."""

PIECE_BYTES = 8 << 20
"""Of their points in float32: wide rows come in shorter pieces."""

BLOCK = 1024
"""Most queries compared at a time by one thread."""

SAMPLE = 1024
"""Bank rows compared first, which tell how near the nearest will be."""

DEVICE_PIECE, DEVICE_BYTES = 1 << 16, 256 << 20
"""Most bank rows, and bytes of their points, that a device compares at a time."""

DEVICE_TABLE = 1 << 27
"""Scores that a device holds at a time: 512 MB; fewer where it has no room for them."""

FEW = 2
"""Times as many of a piece's scores as are kept, up to which they are taken out one by one."""

ROWS = 128
"""Rows widened to float64 at a time by one thread."""


def longest_piece(columns: int) -> int:
    """Most rows of a piece."""
    return min(PIECE, 8 * max(16, PIECE_BYTES // (32 * (columns + 1))))


def check_search(
    bank: Bank,
    queries: Bank,
    k: int,
    own: NDArray[np.integer] | None,
    only: NDArray[np.bool_] | None,
) -> None:
    """Refuse what can't be searched; parameters as of `pipeline.neighbors.search.nearest`.

    Raises
    ------
    ProbelineError
        Widths that differ, a bank of too many rows, or fewer than k that can be neighbours.
    """
    if bank.columns != queries.columns:
        raise ProbelineError(
            "neighbour search",
            "the queries have another number of features than the bank",
            expected=str(bank.columns),
            found=str(queries.columns),
        )
    if bank.rows > MOST_COLUMNS:
        raise ProbelineError(
            "neighbour search",
            "the bank has too many rows",
            expected=f"at most {MOST_COLUMNS:,}",
            found=f"{bank.rows:,}",
        )
    available = bank.rows if only is None else int(np.count_nonzero(only))
    if own is not None and (only is None or only[own].any()):
        available -= 1
    if not 1 <= k <= available:
        raise ProbelineError(
            "neighbour search",
            f"k = {k} neighbours of {available} train rows can't be found",
            expected=f"k from 1 to {available}",
            found=str(k),
            remedy="ask for fewer neighbours, or leave this data set out",
        )


def group_size(bank: Bank, queries: Bank, k: int, threads: int, memory: int | None) -> int:
    """Queries that can be searched together in the allowed memory (bytes; None: any).

    Raises
    ------
    ProbelineError
        When it does not suffice for 64; says how much would.
    """
    if memory is None:
        return queries.rows
    width, kept = 8 * (bank.columns + 1), k + MARGIN  # all as if in float64
    piece = longest_piece(bank.columns)
    query = 2 * width + 16 * ROOM * kept + 96 * kept  # values and point, keys, candidates and pairs
    thread = (
        width * piece  # a piece of the bank, or its differences from a query
        + 8 * BLOCK * max(piece, SAMPLE)  # scores
        + BAND * (64 * piece + 16 * ROOM * kept)  # choosing from them
        + 8 * width * ROWS  # widening rows, or measuring pairs
        + bank.chunk_bytes
    )
    fixed = (
        (12 * k + 16) * queries.rows
        + bank.chunk_bytes
        + 2 * queries.chunk_bytes
        + width * max(piece, SAMPLE)  # statistics, the sample, a piece to take differences from
        + threads * thread
    )
    fewest = min(queries.rows, 64)
    if memory < fixed + fewest * query:
        raise ProbelineError(
            "neighbour search",
            "the allowed memory is too small",
            expected=f"at least {fixed + fewest * query:,} bytes",
            found=f"{memory:,} bytes",
            remedy="allow more memory, or ask for fewer neighbours",
        )
    return min(queries.rows, (memory - fixed) // query)
