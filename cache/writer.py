"""How a cell is written: chunk by chunk, each committed durably, then renamed into place whole.

While it is built, a cell lies in ``<model>.<split>.partial/``:

- ``lock``           who builds it
- ``layout.json``    what it will be: key, shape, dtype
- ``plan.npz``       which rows come from which whole cell, if some do (`cache.rows`)
- ``journal.jsonl``  a line per committed chunk: digest, column moments, rows copied from where;
                     of several processes (`cache.shared_writer`), each has one of its own
- ``cell/``          the Zarr group itself

A chunk counts as committed when its journal line is on disk, which is written only after the
chunk's file is. Whatever happens in between, the next run starts at the first chunk without one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cache.arrays import describe_arrays
from cache.cell import ROW_BYTES, Cell, CellAddress, chunk_name, is_current
from cache.errors import NonFiniteError
from cache.files import (
    explain_disk_errors,
    fsync_directory,
    sha256_bytes,
    sha256_file,
    write_durably,
)
from cache.fingerprint import canonical_json, load_json
from cache.journal import Journal, line_of, read_entries
from cache.lock import Lock, exclusively
from cache.manifest import FORMAT, READABLE, Manifest, root_group
from cache.precision import Moments, columns_drowned_in_float16, overflows_float16
from cache.removal import empty

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
        self.rows = len(ids)
        self.columns = columns
        self.chunk_rows = chunk_rows_for(self.rows, columns)
        self.chunks = -(-self.rows // self.chunk_rows)
        self._ids, self._labels, self.digests = ids, labels, digests
        self.own = 0
        self._lock = self._enter(wait)
        try:
            self.finished = is_current(address, key)
            """Whether another process finished this very cell before we had the lock."""
            self._resume(dtype)
        except BaseException:
            self._lock.release()
            raise

    @property
    def missing(self) -> list[int]:
        """Chunks not yet committed, in order."""
        return [] if self.finished else [c for c in range(self.chunks) if c not in self._done]

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader of the cell should know."""
        return tuple(self._layout["remarks"])

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

    @property
    def dtype(self) -> str:
        """The type that rows are stored in, as it stands: a cell may turn to float32."""
        return str(self._layout["dtype"])

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
        """
        if self.finished or chunk not in range(self.chunks):
            raise ValueError(f"{self.address}: there is no chunk {chunk} to write")
        expected = (self.rows_of(chunk).stop - self.rows_of(chunk).start, self.columns)
        if values.shape != expected:
            raise ValueError(f"{self.address} chunk {chunk}: {values.shape} is not {expected}")
        with np.errstate(over="ignore"):
            values = values.astype(np.float32, copy=False)
        self._require_finite(chunk, values)
        if self._layout["dtype"] == "float16" and overflows_float16(values):
            self._restart_in_float32("a value exceeds float16's range of 65,504")
        if rounded and self._layout["dtype"] == "float32":
            return
        padded = np.empty((self.chunk_rows, self.columns), f"<f{self._itemsize}")
        padded[: len(values)] = values
        padded[len(values) :] = np.nan
        data = padded.data.cast("B")
        write_durably(self._cell / chunk_name(chunk), data)
        entry = {
            "chunk": chunk,
            "rows": len(values),
            "sha256": sha256_bytes(data),
            "dtype": self.dtype,
            "seconds": seconds,
            "moments": Moments.of(values).encode(),
        }
        if copied:
            entry["copied"] = dict(copied)
        self._journal.append(entry)
        self._done[chunk] = entry
        self.own += 1

    def chunk_of(self, row: int) -> int:
        """The chunk that holds a row."""
        return row // self.chunk_rows

    def rows_of(self, chunk: int) -> slice:
        """The rows that a chunk holds."""
        start = chunk * self.chunk_rows
        return slice(start, min(start + self.chunk_rows, self.rows))

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
        if self._layout["dtype"] == "float16":
            done = [self._done[chunk] for chunk in range(self.chunks)]
            moments = [Moments.decode(e["rows"], e["moments"]) for e in done]
            drowned = columns_drowned_in_float16(reduce(Moments.merge, moments))
            if drowned:
                self._restart_in_float32(
                    f"float16's step drowns the spread of {drowned} of {self.columns} columns"
                )
                return False
        with explain_disk_errors(self.address.path):
            self._seal()
            self._swap_in()
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

    _journal_name = "journal.jsonl"

    def _enter(self, wait: float) -> Lock:
        return Lock(self.address.partial / "lock", str(self.address), wait)

    @property
    def _itemsize(self) -> int:
        return 2 if self._layout["dtype"] == "float16" else 4

    @property
    def _cell(self) -> Path:
        return self.address.partial / "cell"

    def _resume(self, dtype: str) -> None:
        """Take over what a former process committed, as far as it is whole and of this key."""
        self._done: dict[int, dict[str, Any]] = {}
        self._layout: dict[str, Any]
        if self.finished:
            manifest = Cell.open(self.address).manifest
            self._layout = {"remarks": list(manifest.remarks), "dtype": manifest.dtype}
            if self._alone:
                empty(self.address.partial)
            return
        fresh = {
            "format": FORMAT,
            "key": self.key,
            "shape": [self.rows, self.columns],
            "dtype": dtype,
            "remarks": [],
        }
        found = read_layout(self.address.partial)
        # dtype and remarks may rightly differ: a fallback to float32 is remembered.
        asked = ("key", "shape")
        if (
            found is None
            or found.get("format") not in READABLE
            or canonical_json([found.get(name) for name in asked])
            != canonical_json([fresh[name] for name in asked])
            or _holds_links(self.address.partial)
        ):
            self._start(fresh)
            return
        self._layout = found
        if self._alone:
            self._take_over()
        self._journal = Journal(self.address.partial / self._journal_name)
        self._believe(self._journal.entries)

    def _take_over(self) -> None:
        """Make one journal of those that former processes left, with the lines that are true."""
        journal = self.address.partial / "journal.jsonl"
        found = sorted(self.address.partial.glob("journal*.jsonl"))
        entries = [entry for each in found for entry in read_entries(each)[0]]
        true = {e["chunk"]: {**e, "dtype": self.dtype} for e in entries if self._is_true(e)}
        if found == [journal] and list(true.values()) == entries:
            return
        with explain_disk_errors(journal):
            write_durably(journal, b"".join(map(line_of, true.values())))
            for other in found:
                if other != journal:
                    other.unlink()

    def _is_true(self, entry: Mapping[str, Any]) -> bool:
        """Whether a line's chunk is there: a power loss can leave the line, and the chunk cut."""
        if not self._is_usable(entry):
            return False
        chunk = self._cell / chunk_name(entry["chunk"])
        return chunk.is_file() and sha256_file(chunk) == entry["sha256"]

    def _believe(self, entries: Iterable[dict[str, Any]]) -> None:
        """Count as committed what usable lines say."""
        self._done |= {entry["chunk"]: entry for entry in entries if self._is_usable(entry)}

    def _is_usable(self, entry: Mapping[str, Any]) -> bool:
        """Whether a line says what ours say: a copied folder may hold a stranger's."""
        chunk, copied = entry.get("chunk"), entry.get("copied", {})
        if type(chunk) is not int or chunk not in range(self.chunks):
            return False
        span = self.rows_of(chunk)
        if entry.get("rows") != span.stop - span.start or not isinstance(copied, dict):
            return False
        if entry.get("dtype", self.dtype) != self.dtype:  # from before it turned to float32
            return False
        try:
            moments = Moments.decode(entry["rows"], entry["moments"])
            numbers = [float(entry["seconds"]), *map(int, copied.values())]
        except (KeyError, TypeError, ValueError, OverflowError):
            return False
        finite = np.isfinite([*moments.mean, *moments.m2, *numbers]).all()
        return bool(finite) and moments.mean.shape == (self.columns,) and "sha256" in entry

    def _start(self, layout: dict[str, Any]) -> None:
        """Empty the partial folder and begin with `layout`."""
        self._layout = layout
        self._done = {}
        partial = self.address.partial
        with explain_disk_errors(partial):
            empty(partial)
            write_durably(partial / "layout.json", canonical_json(layout).encode())
            self._journal = Journal(partial / self._journal_name)

    def _restart_in_float32(self, why: str) -> None:
        self._journal.close()
        self._start({**self._layout, "dtype": "float32", "remarks": [f"stored in float32: {why}"]})

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

    def _seal(self) -> None:
        """Write all but the chunks, then the manifest with every file's digest; make it durable."""
        digests = {chunk_name(c): str(e["sha256"]) for c, e in sorted(self._done.items())}
        for path in list(self._cell.rglob("*")):
            # Whatever else is there was left by a crash: temporary files, a former sealing.
            if not path.is_dir() and path.relative_to(self._cell).as_posix() not in digests:
                path.unlink()
        members = {}
        described = describe_arrays(
            self._ids,
            self._labels,
            self.columns,
            self.chunk_rows,
            self._layout["dtype"],
            self.digests,
        )
        for name, data in described.items():
            digests[name] = sha256_bytes(data)
            write_durably(self._cell / name, data)
            if name.endswith("/zarr.json"):
                members[name.removesuffix("/zarr.json")] = load_json(data)
        for path in self._cell.rglob("*"):
            if path.is_dir():
                fsync_directory(path)
        manifest = Manifest(
            key=self.key,
            rows=self.rows,
            columns=self.columns,
            dtype=self._layout["dtype"],
            chunk_rows=self.chunk_rows,
            digests=digests,
            remarks=self.remarks,
        )
        write_durably(self._cell / "zarr.json", manifest.to_bytes(members))

    def _swap_in(self) -> None:
        """Rename the built cell into place. The stale one goes only now that the new is whole."""
        store, partial = self.address.store, self.address.partial
        store.mkdir(parents=True, exist_ok=True)
        fsync_directory(store.parent)
        with exclusively(store):
            for left_over in store.glob(".zarr.json.*.partial"):  # by a crash of an older version
                left_over.unlink()
            # Before the rename: a store that names a group too many is mended by the next run,
            # but one that lacks a whole group would hide it.
            write_durably(store / "zarr.json", root_group(store, {self.address.split: self._cell}))
            if self.address.path.exists():
                shutil.rmtree(partial / "stale", ignore_errors=True)
                os.replace(self.address.path, partial / "stale")
            os.replace(self._cell, self.address.path)
            fsync_directory(store)
        self._journal.close()
        empty(partial)


def read_layout(partial: Path) -> dict[str, Any] | None:
    """What a cell that is being built will be; None where no usable description lies."""
    try:
        layout = load_json((partial / "layout.json").read_bytes())
        usable = layout["dtype"] in ("float16", "float32") and isinstance(layout["remarks"], list)
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    return layout if usable else None


def _holds_links(partial: Path) -> bool:
    """Whether something in the folder leads elsewhere: that is not this project's doing."""
    return any(
        Path(folder, name).is_symlink()
        for folder, folders, files in os.walk(partial)
        for name in (*folders, *files)
    )
