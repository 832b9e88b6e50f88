"""Where a cell lies, and how it is read: one split of one data set through one model."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cache.errors import CellCorruptError, CellMissingError, CellStaleError
from cache.files import sha256_file
from cache.fingerprint import fingerprint as fingerprint_of
from cache.manifest import Manifest

_READERS = 4
"""Most threads that read a cell: copying and the new array's page faults go side by side."""

_READER_BYTES = 32 << 20
"""A further thread for each so many bytes: a small cell is read before it would have started."""

ROW_BYTES = 16
"""Of what a row was made of: the first 128 bits of an image's SHA-256. Two of a billion images have
the same by chance with a probability of 1e-21."""

SKIPPED = 16
"""Rows that are read in the time that it takes to skip them."""

_REMEDY = "`probeline cache verify --repair` mends it; `dvc checkout` may have it, too"

_DIGESTS = "digest/c/0/0"

_intact: set[tuple[int, int, int, str]] = set()
"""Chunks whose bytes this process found to be those that were written: device, inode, time of the
last change, digest. What is read again is not hashed again."""


@dataclass(frozen=True)
class CellAddress:
    """The place of a cell.

    Attributes
    ----------
    store : Path
        The Zarr store, ``<data set>/<model>.zarr``.
    split : str
        The group inside it.
    """

    store: Path
    split: str

    @property
    def path(self) -> Path:
        """The whole cell's group, there only when the cell is whole."""
        return self.store / self.split

    @property
    def partial(self) -> Path:
        """Where the cell is built; DVC and readers ignore the ending."""
        return self.store.with_name(f"{self.store.stem}.{self.split}.partial")

    @classmethod
    def of_partial(cls, partial: Path) -> CellAddress:
        """The cell that is built in a folder."""
        store, _, split = partial.name.removesuffix(".partial").rpartition(".")
        return cls(partial.with_name(f"{store}.zarr"), split)

    @property
    def plan(self) -> Path:
        """Which of the unfinished cell's rows come from which whole cell; see `cache.rows`."""
        return self.partial / "plan.npz"

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True)
class Cell:
    """A whole cell, open for reading.

    Attributes
    ----------
    address : CellAddress
    manifest : Manifest
    """

    address: CellAddress
    manifest: Manifest

    @classmethod
    def open(cls, address: CellAddress, fingerprint: str | None = None) -> Cell:
        """Open a whole cell.

        Parameters
        ----------
        address : CellAddress
        fingerprint : str, optional
            Of the key that the caller means; any other cell is refused.

        Raises
        ------
        CellMissingError
            When the cell is absent or not whole.
        CellStaleError
            When it holds the answer to another question.
        CellCorruptError
            When its description is damaged.
        """
        try:
            manifest = Manifest.read(address.path / "zarr.json")
        except (FileNotFoundError, NotADirectoryError):
            partial = address.partial.exists()
            raise CellMissingError(
                str(address),
                "the cell is not whole" if partial else "there is no such cell",
                expected="a whole cell",
                found=f"an unfinished one at {address.partial}" if partial else "nothing",
                remedy="run `dvc repro`: extraction goes on where it stopped",
            ) from None
        if fingerprint is not None and manifest.fingerprint != fingerprint:
            raise CellStaleError(
                str(address),
                "the cell was made for other inputs",
                expected=f"fingerprint {fingerprint[:12]}",
                found=f"fingerprint {manifest.fingerprint[:12]}",
                remedy="run `dvc repro`: the cell is computed again",
            )
        return cls(address, manifest)

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The stored type, little-endian."""
        return np.dtype(self.manifest.dtype).newbyteorder("<")

    def read(self) -> NDArray[np.floating]:
        """All rows at once, in the stored type.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            Read straight from the chunk files into place: chunks span all columns and are
            neither compressed nor sharded, so a chunk is a run of whole rows.

        Raises
        ------
        CellCorruptError
            When a chunk file is absent, or not what was written.
        """
        values = np.empty((self.manifest.rows, self.manifest.columns), self.dtype)
        parts = [values[self.rows_of(chunk)] for chunk in range(self.manifest.chunks)]
        with ThreadPoolExecutor(1 + min(values.nbytes // _READER_BYTES, _READERS - 1)) as readers:
            deque(readers.map(self._read_into, range(self.manifest.chunks), parts), maxlen=0)
        return values

    def chunks(self) -> Iterator[tuple[slice, NDArray[np.floating]]]:
        """Rows chunk by chunk: (slice of rows, ndarray of shape (n_rows, n_features)).

        Raises
        ------
        CellCorruptError
            When a chunk file is absent, or not what was written.
        """
        for chunk in range(self.manifest.chunks):
            yield self._read_chunk(chunk)

    def chunk_with(self, row: int) -> tuple[slice, NDArray[np.floating]]:
        """The chunk that holds a row, as of `chunks`."""
        return self._read_chunk(row // self.manifest.chunk_rows)

    def take(self, rows: NDArray[np.integer]) -> NDArray[np.floating]:
        """A few rows: ndarray of shape (n_taken, n_features), in the stored type.

        Raises
        ------
        CellCorruptError
            When a chunk file is absent, or cut short; the bytes of few rows are not hashed.
        """
        values = np.empty((len(rows), self.manifest.columns), self.dtype)
        chunks, places = np.divmod(rows, self.manifest.chunk_rows)
        for chunk in np.unique(chunks).tolist():
            wanted = np.flatnonzero(chunks == chunk)
            held = self.rows_of(chunk)
            if len(wanted) * SKIPPED >= held.stop - held.start:
                whole = np.empty((held.stop - held.start, self.manifest.columns), self.dtype)
                self._read_into(chunk, whole)
                values[wanted] = whole[places[wanted]]
            elif not self._read_rows(chunk, places[wanted].tolist(), values, wanted.tolist()):
                deque(self.chunks(), maxlen=0)  # refuses the damaged chunk by its name
        return values

    def damaged_rows(self, rows: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Which of some rows lie in a chunk that is not what was written, or is absent.

        Bytes are hashed the first time in a process.
        """
        chunks = rows // self.manifest.chunk_rows
        damaged = np.zeros(len(rows), bool)
        for chunk in np.unique(chunks).tolist():
            if not self._was_intact(chunk):
                held = self.rows_of(chunk)
                try:
                    self._read_into(
                        chunk,
                        np.empty((held.stop - held.start, self.manifest.columns), self.dtype),
                    )
                except CellCorruptError:
                    damaged |= chunks == chunk
        return damaged

    @property
    def chunk_bytes(self) -> int:
        """Size of one chunk, as it is stored."""
        return self.manifest.chunk_rows * self.manifest.columns * self.dtype.itemsize

    def rows_of(self, chunk: int) -> slice:
        """The rows that a chunk holds."""
        start = chunk * self.manifest.chunk_rows
        return slice(start, min(start + self.manifest.chunk_rows, self.manifest.rows))

    def labels(self) -> NDArray[np.int64]:
        """Ndarray of shape (n_samples,): index of each sample's class.

        Raises
        ------
        CellCorruptError
            When they are not what was written; `ids` likewise.
        """
        return np.asarray(self._array("label"), dtype=np.int64)

    def ids(self) -> list[str]:
        """Each sample's id, in order."""
        return [str(name) for name in self._array("id")]

    def digests(self) -> NDArray[np.uint8] | None:
        """What each row was made of: ndarray of shape (n_samples, ROW_BYTES).

        None of a cell that does not say it: one of the former layout, or of imported embeddings.

        Raises
        ------
        CellCorruptError
            When they are not what was written.
        """
        if self.made_of is None:
            return None
        self._check_array("digest")
        data = np.fromfile(self.address.path / _DIGESTS, np.uint8)
        return data.reshape(self.manifest.rows, ROW_BYTES)

    @property
    def made_of(self) -> str | None:
        """Names what all rows were made of, in their order: the digest of `digests`, or None."""
        return self.manifest.digests.get(_DIGESTS)

    def _array(self, name: str) -> NDArray[np.generic]:
        self._check_array(name)
        import zarr  # half a second: only who reads labels or ids pays it

        array = zarr.open_array(self.address.path / name, mode="r", zarr_format=3)
        return np.asarray(array[:])

    def _check_array(self, name: str) -> None:
        # Zarr reads an absent file as zeros or empty text, and does not see flipped bits.
        for file, digest in self.manifest.digests.items():
            path = self.address.path / file
            if file.startswith(f"{name}/") and not (path.is_file() and sha256_file(path) == digest):
                raise CellCorruptError(
                    str(path),
                    f"the cell's {name}s are damaged",
                    expected="the bytes that were written",
                    found="others" if path.is_file() else "no file",
                    remedy=_REMEDY,
                )

    def _read_chunk(self, chunk: int) -> tuple[slice, NDArray[np.floating]]:
        rows = self.rows_of(chunk)
        values = np.empty((rows.stop - rows.start, self.manifest.columns), self.dtype)
        self._read_into(chunk, values)
        return rows, values

    def _read_into(self, chunk: int, values: NDArray[np.floating]) -> None:
        path, size = self.address.path / chunk_name(chunk), self.chunk_bytes
        data = values.reshape(-1).view(np.uint8).data
        try:
            with open(path, "rb", buffering=0) as file:
                found = os.fstat(file.fileno()).st_size
                if found == size and file.readinto(data) == values.nbytes:
                    self._check_bytes(chunk, path, file, data)
                    return
        except FileNotFoundError:
            found = 0
        raise CellCorruptError(
            str(path),
            "a chunk of the cell is absent or cut short",
            expected=f"{size} bytes",
            found=f"{found} bytes",
            remedy=_REMEDY,
        )

    def _read_rows(
        self, chunk: int, rows: list[int], values: NDArray[np.floating], places: list[int]
    ) -> bool:
        """Put rows of a chunk into their places; False where the file has too few."""
        path = self.address.path / chunk_name(chunk)
        size = values[:1].nbytes
        if not path.is_file():
            return False
        with path.open("rb", buffering=0) as file:
            for row, place in zip(rows, places, strict=True):
                file.seek(row * size)
                if file.readinto(values[place].view(np.uint8).data) != size:
                    return False
        return True

    def _check_bytes(self, chunk: int, path: Path, file: FileIO, data: memoryview) -> None:
        """Refuse bytes other than those that were written, wherever they were damaged.

        Parameters
        ----------
        chunk : int
        path : Path
        file : FileIO
            Behind `data`: of the last chunk, its padding is still to be read.
        data : memoryview
        """
        digest = self.manifest.digests.get(chunk_name(chunk), "")
        seen = self._seen(chunk, os.fstat(file.fileno()))
        if seen in _intact:
            return
        found = hashlib.sha256(data)
        found.update(file.read())
        if found.hexdigest() != digest:
            raise CellCorruptError(
                str(path),
                "a chunk of the cell has other bytes than were written",
                expected=f"SHA-256 {digest[:12]}",
                found=found.hexdigest()[:12],
                remedy=_REMEDY,
            )
        _intact.add(seen)

    def _seen(self, chunk: int, of_file: os.stat_result) -> tuple[int, int, int, str]:
        digest = self.manifest.digests.get(chunk_name(chunk), "")
        return of_file.st_dev, of_file.st_ino, of_file.st_ctime_ns, digest

    def _was_intact(self, chunk: int) -> bool:
        """Whether this process has found the chunk whole, and it has not changed since."""
        try:
            return self._seen(chunk, (self.address.path / chunk_name(chunk)).stat()) in _intact
        except OSError:
            return False


def chunk_name(chunk: int) -> str:
    """A chunk's path inside its cell (Zarr v3's default encoding; one chunk spans all columns)."""
    return f"embedding/c/{chunk}/0"


def is_current(address: CellAddress, key: object) -> bool:
    """Whether a whole cell for exactly `key` lies at `address`."""
    try:
        Cell.open(address, fingerprint_of(key))
    except (CellMissingError, CellStaleError, CellCorruptError):
        return False
    return True
