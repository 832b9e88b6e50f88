"""A cell that several processes build together, of several hosts too: each claims chunks of it.

Beside what a lone writer keeps (`cache.writer`), its folder then holds

- ``lock``                shared by all of them; a lone writer is refused meanwhile, and named
- ``claims/N``            locked by the process that computes chunk N
- ``journal.NAME.jsonl``  one for each process: appends of several hosts to one file may be lost

A chunk is claimed, computed, written, entered in the process's own journal, and then let go. The
kernel lets go of a killed process's claims, and the next process that looks takes them over.
Whoever finds that no chunk is missing puts the cell in place, alone: the *mutex* of the data set's
folder is held then, and while a process joins, or turns the cell to float32.
"""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cache.ahead import Ahead
from cache.cell import CellAddress, is_current
from cache.chunking import Chunking
from cache.commits import journals
from cache.errors import CellLockedError, CellMissingError
from cache.fingerprint import differences
from cache.journal import read_entries
from cache.layout import Layout, read_layout
from cache.lock import Lock, Mutex, clear_lock
from cache.removal import empty
from cache.writer import CellWriter

MUTEX = ".shards.lock.partial"
"""In a data set's folder."""

DECIDING = ".storage.lock.partial"
"""There, too: locked by who decides for all how rows are stored; in the folder of all data
sets, for the moment in which what was decided is written."""


def mutex_of(folder: Path) -> Mutex:
    """What the processes that build the cells of a data set's folder hold in turn."""
    return Mutex(folder / MUTEX, str(folder))


def clear_mutex(folder: Path) -> None:
    """Remove what a killed process left of it, and of the other locks."""
    for path in (folder / MUTEX, folder / DECIDING, folder.parent / DECIDING):
        clear_lock(path)


def is_all_claimed(address: CellAddress) -> bool:
    """Whether other processes have done, or are at, every chunk of a cell that is being built.

    A glance, for who would have to load a network first; the claims themselves decide.
    """
    partial = address.partial
    layout = read_layout(partial)
    if layout is None:
        return False
    left = set(range(Chunking.of(layout.rows, layout.columns).chunks))
    for path in journals(partial):
        with contextlib.suppress(FileNotFoundError):
            done = read_entries(path)[0]
            left -= {e["chunk"] for e in done if e.get("dtype") == layout.storage.dtype}
    return all(_is_claimed(partial / "claims" / str(chunk)) for chunk in left)


def _is_claimed(path: Path) -> bool:
    if not path.exists():
        return False
    try:
        Lock(path, str(path)).release()
    except CellLockedError:
        return True
    return False


class SharedCellWriter(CellWriter):
    """Builds one cell beside other processes that do the same.

    Parameters
    ----------
    address : CellAddress
    mutex : Mutex
        Of the data set's folder, see `mutex_of`.
    **asked
        As `CellWriter` takes them; all processes must ask for the same.

    Raises
    ------
    CellLockedError
        When a lone writer has the cell, or others build it for another key.
    """

    def __init__(self, address: CellAddress, *, mutex: Mutex, **asked: Any) -> None:
        self._mutex, self._claims = mutex, dict[int, Lock]()
        self._read, self._looking = dict[str, int](), threading.RLock()
        self._journal_name = f"journal.{uuid.uuid4().hex[:12]}.jsonl"
        with mutex.held():
            super().__init__(address, **asked)
            try:
                self._lock.share()
                self._alone = False
                self.refresh()
            except BaseException:
                self.close()
                raise

    def refresh(self) -> None:
        """See which chunks others have committed, and whether one has put the cell in place."""
        with self._looking:
            if self.finished:
                return
            layout = read_layout(self.address.partial)
            if layout is None:
                self._require_finished()
                return
            if layout.storage.dtype != self.dtype:
                self._turn_to(layout)
            for path in journals(self.address.partial):
                with contextlib.suppress(FileNotFoundError):  # the cell is whole, and they go
                    start = self._read.get(path.name, 0)
                    entries, self._read[path.name] = read_entries(path, start)
                    self._believe(entries)

    def claim(self, chunk: int) -> bool:
        """Whether this process may compute a chunk, as no other has done it or is at it."""
        try:
            claim = Lock(self.address.partial / "claims" / str(chunk), str(self.address))
        except CellLockedError:
            return False
        self.refresh()  # what its former owner committed before it let go
        if self.finished or chunk in self._done:
            claim.release()
            return False
        self._claims[chunk] = claim
        return True

    @contextlib.contextmanager
    def in_turn(self) -> Iterator[None]:
        """See `CellWriter.in_turn`: the mutex is held."""
        with self._mutex.held():
            self.refresh()
            yield

    def commit(self) -> bool:
        """See `CellWriter.commit`; called `in_turn`."""
        self._mutex.require_mine()
        return super().commit()

    def close(self) -> None:
        """Let go of all claims, and of the cell; who leaves a whole one last tidies."""
        for claim in self._claims.values():
            claim.release()
        self._claims.clear()
        if self.finished and self._lock.is_last():
            empty(self.address.partial)
        if not (self.finished or self.own):
            self._journal.path.unlink(missing_ok=True)
        super().close()

    def _enter(self, wait: float) -> Lock:
        path, place = self.address.partial / "lock", str(self.address)
        try:
            return Lock(path, place)
        except CellLockedError:
            lock = Lock(path, place, wait, shared=True)
            self._alone = False
            return lock

    @contextlib.contextmanager
    def _holding(self, chunk: int) -> Iterator[None]:
        with self._claims.pop(chunk) as claim:
            claim.require_mine()
            self.refresh()
            yield

    def _start(self, layout: Layout, ahead: Ahead | None) -> None:
        if not self._alone:
            begun = read_layout(self.address.partial)
            former = {} if begun is None else begun.key
            raise CellLockedError(
                str(self.address),
                "is being built by other processes, for another study",
                found="; ".join(differences(former, layout.key)) or "other images",
                remedy="run all shards with one params.yaml; end those of the other study first",
            )
        super()._start(layout, ahead)

    def _turn_to(self, layout: Layout) -> None:
        with self._looking:
            super()._turn_to(layout)
            self._read = {}

    def _require_finished(self) -> None:
        if not is_current(self.address, self.key):
            raise CellMissingError(
                str(self.address),
                "was being built here, and its folder is gone",
                expected=f"the unfinished cell at {self.address.partial}",
                found="nothing",
                remedy="run this again; delete nothing while shards are at work",
            )
        self._journal.close()
        self.finished = True
