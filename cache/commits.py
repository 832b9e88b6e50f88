"""Which chunks of an unfinished cell count as committed: those whose journal line can be true."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cache.cell import chunk_name
from cache.chunking import Chunking
from cache.files import explain_disk_errors, sha256_file, write_durably
from cache.journal import line_of, read_entries
from cache.precision import Moments

JOURNAL = "journal.jsonl"
"""Of a lone writer; those of several processes are called journal.NAME.jsonl."""


def journals(partial: Path) -> list[Path]:
    """All that lie where a cell is built."""
    return sorted(partial.glob("journal*.jsonl"))


def is_usable(entry: Mapping[str, Any], chunking: Chunking, dtype: str) -> bool:
    """Whether a line says what ours say: a copied folder may hold a stranger's.

    Parameters
    ----------
    entry : mapping
        A journal's line.
    chunking : Chunking
    dtype : str
        That the cell's rows are stored in: lines of before it turned to float32 are not.
    """
    chunk, copied = entry.get("chunk"), entry.get("copied", {})
    if type(chunk) is not int or chunk not in range(chunking.chunks):
        return False
    span = chunking.rows_of(chunk)
    if entry.get("rows") != span.stop - span.start or not isinstance(copied, dict):
        return False
    if entry.get("dtype", dtype) != dtype:
        return False
    try:
        moments = Moments.decode(entry["rows"], entry["moments"])
        numbers = [float(entry["seconds"]), *map(int, copied.values())]
    except (KeyError, TypeError, ValueError, OverflowError):
        return False
    finite = np.isfinite([*moments.mean, *moments.m2, *numbers]).all()
    return bool(finite) and moments.mean.shape == (chunking.columns,) and "sha256" in entry


def take_over(partial: Path, folder: Path, chunking: Chunking, dtype: str) -> None:
    """Make one journal of those that former processes left, with the lines that are true.

    A power loss can leave the line, and the chunk cut.
    """
    journal, found = partial / JOURNAL, journals(partial)
    entries = [entry for each in found for entry in read_entries(each)[0]]
    true = {
        e["chunk"]: {**e, "dtype": dtype}
        for e in entries
        if is_usable(e, chunking, dtype) and _is_there(e, folder)
    }
    if found == [journal] and list(true.values()) == entries:
        return
    with explain_disk_errors(journal):
        write_durably(journal, b"".join(map(line_of, true.values())))
        for other in found:
            if other != journal:
                other.unlink()


def _is_there(entry: Mapping[str, Any], folder: Path) -> bool:
    chunk = folder / chunk_name(entry["chunk"])
    return chunk.is_file() and sha256_file(chunk) == entry["sha256"]
