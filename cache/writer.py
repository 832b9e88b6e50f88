"""How a cell is written: chunk by chunk, each committed durably, then renamed into place whole.

While it is built, a cell lies in ``<model>.<split>.partial/``:

- ``lock``           who builds it
- ``layout.json``    what it will be: key, shape, how rows are stored (`cache.layout`)
- ``plan.npz``       which rows come from which whole cell, if some do (`cache.rows`)
- ``ahead.npz``      rows that were computed to decide how all are stored (`cache.ahead`)
- ``journal.jsonl``  a line per committed chunk: digest, column moments, rows copied from where;
                     of several processes (`cache.shared_writer`), each has one of its own
- ``cell/``          the Zarr group itself; ``cell.2/`` where it turned to float32 meanwhile

A chunk counts as committed when its journal line is on disk, which is written only after the
chunk's file is. Whatever happens in between, the next run starts at the first chunk without one.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property, reduce
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cache.ahead import NAME as AHEAD
from cache.ahead import Ahead, read_ahead
from cache.cell import ROW_BYTES, Cell, CellAddress, chunk_name, is_current
from cache.chunking import Chunking
from cache.commits import JOURNAL, is_usable, take_over
from cache.errors import NonFiniteError
from cache.files import explain_disk_errors, sha256_bytes, write_durably
from cache.fingerprint import canonical_json, fingerprint
from cache.journal import Journal
from cache.layout import Layout, read_layout
from cache.lock import Lock
from cache.placing import Samples, put_in_place, seal
from cache.precision import Moments, columns_drowned_in_float16, overflows_float16
from cache.removal import empty
from cache.storage import Storage

_STAYS = re.compile(r"(lock|layout\.json|ahead\.npz|journal.*\.jsonl)$")
"""Of the files beside a cell, those that are of it in any type."""

OVERFLOWS = "a value exceeds float16's range of 65,504"


def drowns(count: int, columns: int) -> str:
    """What to say of columns that float16 does not do for."""
    return f"float16's step drowns the spread of {count} of {columns} columns"


class CellWriter:
    """Builds one cell, resuming what an earlier process committed.

    Parameters
    ----------
    address : CellAddress
    key : mapping
        Everything that can change the numbers; a partial cell with another key is discarded.
    ids : sequence of str
        One id per row, in order.
    labels : ndarray of shape (n_samples,)
        Class index of each row.
    columns : int
        Features per row.
    dtype : {"float16", "float32"}
        Preferred stored type. A float16 cell whose values overflow, or whose columns drown in
        float16's step, starts again in float32 and says so in its remarks.
    wait : float
        Seconds to wait for another live process that is building the same cell.
    digests : ndarray of shape (n_samples, ROW_BYTES), optional
        What each row is made of: by these, other cells find the rows that they can copy.
    storage : Storage, optional
        What was decided of the model's rows, instead of `dtype`. Of a cell that was begun, what was
        decided then holds.
    ahead : Ahead, optional
        Rows that were computed already; kept beside a cell that begins.

    Attributes
    ----------
    own : int
        Chunks that this object has written.

    Raises
    ------
    CellLockedError
        When another live process is building the same cell, and still is after `wait`.
    """

    def __init__(
        self,
        address: CellAddress,
        *,
        key: Mapping[str, Any],
        ids: Sequence[str],
        labels: NDArray[np.integer],
        columns: int,
        dtype: str = "float16",
        wait: float = 0.0,
        digests: NDArray[np.uint8] | None = None,
        storage: Storage | None = None,
        ahead: Ahead | None = None,
    ) -> None:
        if len(ids) != len(labels):
            raise ValueError(f"{len(ids)} ids but {len(labels)} labels for {address}")
        if digests is not None and digests.shape != (len(ids), ROW_BYTES):
            raise ValueError(f"{len(ids)} ids but digests of shape {digests.shape} for {address}")
        if not len(ids) or columns < 1:
            raise ValueError(
                f"{len(ids)} rows of {columns} columns for {address}: nothing to store"
            )
        self.address = address
        self.key = key
        self.digests = digests
        self.chunking = Chunking.of(len(ids), columns)
        self._samples = Samples(ids, labels, digests)
        self.own = 0
        self._lock = self._enter(wait)
        try:
            self.finished = is_current(address, key)
            """Whether another process finished this very cell before we had the lock."""
            self._resume(Layout(key, len(ids), columns, storage or Storage(dtype)), ahead)
        except BaseException:
            self._lock.release()
            raise

    @property
    def rows(self) -> int:
        """Of the cell."""
        return self.chunking.rows

    @property
    def columns(self) -> int:
        """Features of a row."""
        return self.chunking.columns

    @property
    def chunk_rows(self) -> int:
        """Rows of a chunk."""
        return self.chunking.chunk_rows

    def rows_of(self, chunk: int) -> slice:
        """The rows that a chunk holds."""
        return self.chunking.rows_of(chunk)

    @property
    def missing(self) -> list[int]:
        """Chunks not yet committed, in order."""
        if self.finished:
            return []
        return [c for c in range(self.chunking.chunks) if c not in self._done]

    @property
    def storage(self) -> Storage:
        """How rows are stored, as it stands: a cell may turn to float32."""
        return self._layout.storage

    @property
    def dtype(self) -> str:
        """The type that rows are stored in, as it stands."""
        return self.storage.dtype

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader of the cell should know."""
        return self.storage.remarks

    @cached_property
    def ahead(self) -> Ahead:
        """Rows that need not be computed: they were, before the first chunk."""
        return read_ahead(self.address.partial, fingerprint(self.key), self.rows, self.columns)

    @property
    def seconds(self) -> float:
        """What computing the committed chunks took, by all the runs that did it."""
        return float(sum(entry["seconds"] for entry in self._done.values()))

    @property
    def copied(self) -> dict[str, int]:
        """Rows of the committed chunks that were copied, by the cell that they come from."""
        total: dict[str, int] = {}
        for entry in self._done.values():
            for name, count in entry.get("copied", {}).items():
                total[name] = total.get(name, 0) + count
        return dict(sorted(total.items()))

    @property
    def computed(self) -> int:
        """Rows of the committed chunks that were computed, by former runs too."""
        rows = sum(int(entry["rows"]) for entry in self._done.values())
        return rows - sum(self.copied.values())

    def refresh(self) -> None:
        """See what other processes have done: nothing, as this one has the cell for itself."""

    def claim(self, chunk: int) -> bool:
        """Whether this process may compute a missing chunk; it then writes it, or closes."""
        return True

    @contextlib.contextmanager
    def in_turn(self) -> Iterator[None]:
        """While it is held, no other process joins, plans, turns to float32, or seals."""
        yield

    def write(
        self,
        chunk: int,
        values: NDArray[np.floating],
        seconds: float = 0.0,
        *,
        copied: Mapping[str, int] | None = None,
        rounded: bool = False,
    ) -> None:
        """Commit one chunk durably.

        Parameters
        ----------
        chunk : int
        values : ndarray of shape (n_rows_of_chunk, n_features), float32
        seconds : float
            What computing them took; kept in the journal for `seconds`.
        copied : mapping of str to int, optional
            How many of the rows were copied, by the cell that they come from.
        rounded : bool
            Whether some were read from float16. A cell that turns to float32 does not take them:
            nothing is written then, and the chunk stays missing.

        Raises
        ------
        NonFiniteError
            When a value is NaN or infinite, in float32 at least; nothing is written.
        DiskFullError
            When the disk is full; what was committed stays.
        ProbelineError
            When another process has the same claim, as the file system's locks do not hold.
        """
        with self._holding(chunk):
            if self.finished or chunk not in range(self.chunking.chunks):
                raise ValueError(f"{self.address}: there is no chunk {chunk} to write")
            span = self.rows_of(chunk)
            expected = (span.stop - span.start, self.columns)
            if values.shape != expected:
                raise ValueError(f"{self.address} chunk {chunk}: {values.shape} is not {expected}")
            with np.errstate(over="ignore"):
                values = values.astype(np.float32, copy=False)
            self._require_finite(chunk, values)
            if self.dtype == "float16" and overflows_float16(values):
                self._turn_to_float32(OVERFLOWS)
            if not (rounded and self.dtype == "float32"):
                self._write(chunk, values, seconds, dict(copied or {}))

    def _write(
        self, chunk: int, values: NDArray[np.float32], seconds: float, copied: dict[str, int]
    ) -> None:
        padded = np.empty((self.chunk_rows, self.columns), np.dtype(self.dtype).newbyteorder("<"))
        padded[: len(values)] = values
        padded[len(values) :] = np.nan
        data = padded.data.cast("B")
        write_durably(self._folder / chunk_name(chunk), data)
        entry = {
            "chunk": chunk,
            "rows": len(values),
            "sha256": sha256_bytes(data),
            "dtype": self.dtype,
            "seconds": seconds,
            "moments": Moments.of(values).encode(),
        }
        if copied:
            entry["copied"] = copied
        self._journal.append(entry)
        self._done[chunk] = entry
        self.own += 1

    def commit(self) -> bool:
        """Rename the cell into place, replacing a stale one.

        Returns
        -------
        bool
            False when the columns turn out to need float32: every chunk is then missing again.

        Raises
        ------
        ValueError
            When chunks are missing.
        """
        if self.finished:
            return True
        if self.missing:
            raise ValueError(f"{self.address}: chunks {self.missing} are missing")
        if self.dtype == "float16":
            done = [self._done[chunk] for chunk in range(self.chunking.chunks)]
            moments = [Moments.decode(e["rows"], e["moments"]) for e in done]
            if drowned := columns_drowned_in_float16(reduce(Moments.merge, moments)):
                self._turn_to_float32(drowns(drowned, self.columns))
                return False
        with explain_disk_errors(self.address.path):
            chunks = {chunk: str(entry["sha256"]) for chunk, entry in self._done.items()}
            seal(self._folder, self._layout, self.chunking, self._samples, chunks)
            put_in_place(self.address, self._folder)
            self._journal.close()
            empty(self.address.partial)
        self.finished = True
        return True

    def close(self) -> None:
        """Let go of the lock; what was committed stays for the next run."""
        if not self.finished:
            self._journal.close()
        self._lock.release()
        with contextlib.suppress(OSError):  # not empty: the cell is unfinished
            self.address.partial.rmdir()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    _alone = True
    """Whether no other process is at the cell now."""

    _journal_name = JOURNAL

    def _enter(self, wait: float) -> Lock:
        return Lock(self.address.partial / "lock", str(self.address), wait)

    def _holding(self, chunk: int) -> AbstractContextManager[None]:
        """While it is held, no other process writes the chunk."""
        return contextlib.nullcontext()

    @property
    def _folder(self) -> Path:
        """Of the chunks that are being written."""
        return self.address.partial / self._layout.folder

    def _resume(self, asked: Layout, ahead: Ahead | None) -> None:
        """Take over what a former process committed, as far as it is whole and of this key."""
        self._done: dict[int, dict[str, Any]] = {}
        self._layout: Layout
        if self.finished:
            storage = Cell.open(self.address).manifest.storage
            self._layout = replace(asked, storage=storage)
            if self._alone:
                empty(self.address.partial)
            return
        found = read_layout(self.address.partial)
        # How rows are stored may rightly differ: a turn to float32 is remembered.
        if (
            found is None
            or canonical_json([found.key, found.rows, found.columns])
            != canonical_json([asked.key, asked.rows, asked.columns])
            or _holds_links(self.address.partial)
        ):
            self._start(asked, ahead)
            return
        self._layout = found
        if self._alone:
            take_over(self.address.partial, self._folder, self.chunking, self.dtype)
        self._journal = Journal(self.address.partial / self._journal_name)
        self._believe(self._journal.entries)

    def _believe(self, entries: Iterable[dict[str, Any]]) -> None:
        """Count as committed what usable lines say."""
        self._done |= {
            entry["chunk"]: entry
            for entry in entries
            if is_usable(entry, self.chunking, self.dtype)
        }

    def _start(self, layout: Layout, ahead: Ahead | None) -> None:
        """Empty the partial folder and begin with `layout`, which is written last."""
        self._layout = layout
        self._done = {}
        partial = self.address.partial
        with explain_disk_errors(partial):
            has_ahead = ahead is not None and len(ahead.rows) > 0
            empty(partial, but=AHEAD if has_ahead else "")
            if ahead is not None and has_ahead:
                ahead.write(partial, fingerprint(self.key))
            layout.write(partial)
            self._journal = Journal(partial / self._journal_name)

    def _turn_to_float32(self, why: str) -> None:
        """Begin anew beside the float16 chunks; killed at any moment, it is the one or the other.

        Other processes see the new layout when they next look; what they write until then goes into
        the former folder.
        """
        with self.in_turn():
            if self.finished or self.dtype != "float16":  # another process was first
                return
            partial, turned = self.address.partial, self._layout.turned(why)
            with explain_disk_errors(partial):
                # What was to be copied or recorded is of the float16 chunks. It can be made again.
                for path in partial.iterdir():
                    if path.is_file() and not _STAYS.match(path.name):
                        path.unlink()
                turned.write(partial)
            self._turn_to(turned)

    def _turn_to(self, layout: Layout) -> None:
        self._layout, self._done = layout, {}

    def _require_finite(self, chunk: int, values: NDArray[np.floating]) -> None:
        if np.isfinite(values).all():
            return
        row, column = (int(i) for i in np.argwhere(~np.isfinite(values))[0])
        error = NonFiniteError(
            str(self.address),
            "a feature is not a finite number",
            found=f"{values[row, column]} at row {self.rows_of(chunk).start + row}, "
            f"column {column} of {self.columns}",
            remedy="check the model's weights and the image; nothing of this chunk was stored",
        )
        error.row, error.column = self.rows_of(chunk).start + row, column
        raise error


def _holds_links(partial: Path) -> bool:
    """Whether something in the folder leads elsewhere: that is not this project's doing."""
    return any(
        Path(folder, name).is_symlink()
        for folder, folders, files in os.walk(partial)
        for name in (*folders, *files)
    )
