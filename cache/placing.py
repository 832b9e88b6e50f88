"""The last step of a cell: all but its chunks is written, and the whole is put in place."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cache.arrays import describe_arrays
from cache.cell import CellAddress, chunk_name
from cache.chunking import Chunking
from cache.files import fsync_directory, sha256_bytes, write_durably
from cache.fingerprint import load_json
from cache.layout import Layout
from cache.lock import exclusively
from cache.manifest import Manifest, root_group
from cache.removal import discard


@dataclass(frozen=True)
class Samples:
    """What a cell says of its rows beside their features.

    Attributes
    ----------
    ids : sequence of str
    labels : ndarray of shape (n_samples,)
    digests : ndarray of shape (n_samples, ROW_BYTES), optional
    """

    ids: Sequence[str]
    labels: NDArray[np.integer]
    digests: NDArray[np.uint8] | None


def seal(
    folder: Path, layout: Layout, chunking: Chunking, samples: Samples, chunks: Mapping[int, str]
) -> None:
    """Write all but the chunks, then the manifest with every file's digest; make it durable.

    Parameters
    ----------
    folder : Path
        That holds the chunks.
    layout : Layout
    chunking : Chunking
    samples : Samples
    chunks : mapping of int to str
        Each chunk's digest.
    """
    digests = {chunk_name(chunk): digest for chunk, digest in sorted(chunks.items())}
    for path in list(folder.rglob("*")):
        # Whatever else is there was left by a crash: temporary files, a former sealing.
        if not path.is_dir() and path.relative_to(folder).as_posix() not in digests:
            path.unlink()
    members = {}
    described = describe_arrays(
        samples.ids,
        samples.labels,
        layout.columns,
        chunking.chunk_rows,
        layout.storage.dtype,
        samples.digests,
    )
    for name, data in described.items():
        digests[name] = sha256_bytes(data)
        write_durably(folder / name, data)
        if name.endswith("/zarr.json"):
            members[name.removesuffix("/zarr.json")] = load_json(data)
    for path in folder.rglob("*"):
        if path.is_dir():
            fsync_directory(path)
    storage = layout.storage
    manifest = Manifest(
        key=layout.key,
        rows=layout.rows,
        columns=layout.columns,
        dtype=storage.dtype,
        chunk_rows=chunking.chunk_rows,
        digests=digests,
        remarks=storage.remarks,
        generation=storage.generation,
        decided=storage.decided,
    )
    write_durably(folder / "zarr.json", manifest.to_bytes(members))


def put_in_place(address: CellAddress, folder: Path) -> None:
    """Rename a sealed cell into place. The stale one goes only now that the new is whole."""
    store = address.store
    store.mkdir(parents=True, exist_ok=True)
    fsync_directory(store.parent)
    with exclusively(store):
        for left_over in store.glob(".zarr.json.*.partial"):  # by a crash of an older version
            left_over.unlink()
        # Before the rename: a store that names a group too many is mended by the next run,
        # but one that lacks a whole group would hide it.
        write_durably(store / "zarr.json", root_group(store, {address.split: folder}))
        if address.path.exists():
            discard(address.partial / "stale")
            os.replace(address.path, address.partial / "stale")
        os.replace(folder, address.path)
        fsync_directory(store)
