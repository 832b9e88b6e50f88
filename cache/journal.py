"""An append-only list of what has been committed; it survives a torn last line.

One process appends to one file: what several hosts append to one file may be lost.
"""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import Any

from cache.files import explain_disk_errors, fsync_directory, not_through_links
from cache.fingerprint import load_json


class Journal:
    """Lines of JSON, each durable before `append` returns, each with a check of its own content.

    Parameters
    ----------
    path : Path
        The journal's file; made if absent. What follows the last whole line (a crash tore it, or
        a bit flipped in it) is cut off.

    Attributes
    ----------
    entries : list of dict
        What the journal holds.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with explain_disk_errors(path):
            # Unbuffered: after a failed write nothing is left over that a later one could repeat.
            self._handle = not_through_links(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
            fsync_directory(path.parent)
        self.entries, self._end = read_entries(path)
        os.ftruncate(self._handle, self._end)

    def append(self, entry: dict[str, Any]) -> None:
        """Add one line and wait until the disk has it.

        Raises
        ------
        DiskFullError
            When the disk is full. The torn line is cut off.
        """
        line = line_of(entry)
        with explain_disk_errors(self.path):
            try:
                rest = memoryview(line)
                while rest:  # a disk about to be full takes a part, then refuses
                    rest = rest[os.write(self._handle, rest) :]
                os.fsync(self._handle)
            except BaseException:
                os.ftruncate(self._handle, self._end)
                raise
        self._end += len(line)
        self.entries.append(entry)

    def close(self) -> None:
        """Close the file; what was appended stays. Closing again does nothing."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def read_entries(path: Path, start: int = 0) -> tuple[list[dict[str, Any]], int]:
    """The whole lines of a journal from a place on, and where the last of them ends."""
    entries = []
    with path.open("rb") as file:
        file.seek(start)
        for line in file.read().splitlines(keepends=True):
            entry = _parse(line)
            if entry is None:
                break
            entries.append(entry)
            start += len(line)
    return entries, start


def line_of(entry: dict[str, Any]) -> bytes:
    """A journal's line."""
    return json.dumps({**entry, "check": _check(entry)}).encode() + b"\n"


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        entry = load_json(line)
    except ValueError:
        return None
    whole = line.endswith(b"\n") and isinstance(entry, dict) and "check" in entry
    return entry if whole and entry.pop("check") == _check(entry) else None


def _check(entry: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(entry).encode())
