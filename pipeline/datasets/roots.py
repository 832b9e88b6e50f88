"""What holds a data set's files, wherever they lie: listed once, read by many threads."""

from __future__ import annotations

import contextlib
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Protocol

from cache.errors import ProbelineError
from pipeline.datasets.ledger import Ledger

UNKNOWN = -1
"""Bytes of a file whose size listing does not tell."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file inside a root.

    Attributes
    ----------
    path : str
        Relative to the root, with ``/``.
    offset, size : int
        Where its bytes lie in the container, and how many they are (`UNKNOWN`: not before it is
        read).
    """

    path: str
    offset: int
    size: int


@dataclass(frozen=True)
class Listing:
    """What a root holds.

    Attributes
    ----------
    entries : list of Entry
        All files, sorted by path; without those that were passed over.
    folders : list of str
        All folders below the root, sorted, empty ones too.
    ledger : Ledger
        What was passed over.
    """

    entries: list[Entry]
    folders: list[str]
    ledger: Ledger


class Root(Protocol):
    """Something that holds files."""

    def listing(self) -> Listing:
        """All files, and what is passed over."""

    def entries(self) -> list[Entry]:
        """All files, sorted by path, hidden ones left out."""
        return self.listing().entries

    def read(self, entry: Entry) -> bytes:
        """A file's content."""

    def state(self) -> Hashable:
        """Of the files that hold all others: what is another when they have changed."""


class Kept(Root):
    """A root that is listed once, however often it is asked."""

    def __init__(self, root: Root) -> None:
        self.root, self._listing = root, root.listing()

    def listing(self) -> Listing:
        """As it was when this was made."""
        return self._listing

    def read(self, entry: Entry) -> bytes:
        """A file's content."""
        return self.root.read(entry)

    def state(self) -> Hashable:
        """See `Root`."""
        return self.root.state()


@contextlib.contextmanager
def explain_reading(entry: Entry) -> Iterator[None]:
    """Turn what the system says of a file into an error that names it and a remedy."""
    try:
        yield
    except OSError as error:
        raise ProbelineError(
            entry.path,
            "the file can't be read",
            found=error.strerror or str(error),
            remedy="put it back (or make it readable), or index the data set again",
        ) from None


def whole(data: bytes, entry: Entry) -> bytes:
    """The data, if they are as many as were indexed.

    Raises
    ------
    ProbelineError
        When the file has changed.
    """
    if len(data) != entry.size and entry.size != UNKNOWN:
        raise ProbelineError(
            entry.path,
            "the file has changed since it was indexed",
            expected=f"{entry.size} bytes",
            found=f"{len(data)} bytes",
            remedy="index the data set again: dvc repro -f index@NAME",
        )
    return data
