"""Files that are read in pieces: on this disk, or elsewhere (`pipeline.datasets.remote`)."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Generic, Protocol, TypeVar, cast

Thing = TypeVar("Thing")


class Blob(Protocol):
    """A file that may be large: a tar or zip file, a shard, a table."""

    def open(self) -> BinaryIO:
        """To read and to seek in; the caller closes it."""

    def read_at(self, offset: int, size: int) -> bytes:
        """At most `size` bytes from `offset` on."""

    def state(self) -> Hashable:
        """What is another when the content is: it is compared after everything was read."""


@dataclass(frozen=True)
class LocalBlob:
    """A file of this disk."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def open(self) -> BinaryIO:
        """See `Blob`."""
        return open(self.path, "rb")

    def read_at(self, offset: int, size: int) -> bytes:
        """See `Blob`; opened each time: data sets have more shards than a process may open."""
        with open(self.path, "rb") as file:
            return os.pread(file.fileno(), size, offset)

    def state(self) -> Hashable:
        """See `Blob`."""
        try:
            facts = self.path.stat()
        except OSError:  # it has gone, which whoever reads it says
            return None
        return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns


class OfProcess(Generic[Thing]):
    """Something that each process opens for itself, when it first uses it; with a lock.

    Parameters
    ----------
    opening : callable
        Makes it; travels to other processes, as the thing itself does not.
    """

    def __init__(self, opening: Callable[[], Thing]) -> None:
        self._opening = opening
        self._thing: Thing | None = None
        self._owner = -1
        self.lock = threading.RLock()

    def __call__(self) -> Thing:
        """It, opened."""
        with self.lock:
            if self._owner != os.getpid():
                self._thing, self._owner = self._opening(), os.getpid()
            return cast("Thing", self._thing)

    def __reduce__(self) -> tuple[type[OfProcess[Thing]], tuple[Callable[[], Thing]]]:
        return OfProcess, (self._opening,)
