"""Mending a damaged cell: every chunk whose digest is right is kept.

The cell goes back to where cells are built, with a journal of its good chunks, as if a run had
been killed there. The next extraction resumes it like any other.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cache.cell import Cell, CellAddress, chunk_name
from cache.errors import CellCorruptError, CellMissingError, ProbelineError
from cache.files import explain_disk_errors, fsync_directory, sha256_file, write_durably
from cache.fingerprint import load_json
from cache.journal import Journal
from cache.layout import FOLDER, Layout, read_layout
from cache.lock import Lock, exclusively
from cache.manifest import Manifest, root_group
from cache.precision import Moments
from cache.removal import discard


def reopen(address: CellAddress, beside: Mapping[str, bytes] | None = None) -> int | None:
    """Turn a damaged cell into one that is being built and lacks only its damaged chunks.

    Parameters
    ----------
    address : CellAddress
    beside : mapping of str to bytes, optional
        Files to keep beside the unfinished cell, by name.

    Returns
    -------
    int or None
        Chunks to compute again; 0 when only labels, ids or descriptions were damaged. None when
        the description is lost: then nothing tells a good chunk from a bad one, and nothing was
        changed.

    Raises
    ------
    CellLockedError
        When another process is building the cell.
    """
    try:
        cell = Cell.open(address)
    except (CellCorruptError, CellMissingError):
        return None
    with Lock(address.partial / "lock", str(address)), explain_disk_errors(address.partial):
        good = _good_chunks(cell)
        manifest = cell.manifest
        layout = Layout(
            manifest.key,
            manifest.rows,
            manifest.columns,
            manifest.storage,
            mended=True,
            format=manifest.format,
        )
        (address.partial / "journal.jsonl").unlink(missing_ok=True)
        address.plan.unlink(missing_ok=True)
        layout.write(address.partial)
        journal = Journal(address.partial / "journal.jsonl")
        for entry in good:
            journal.append(entry)
        journal.close()
        for name, data in (beside or {}).items():
            write_durably(address.partial / name, data)
        discard(address.partial / FOLDER)  # of an earlier, other run
        with exclusively(address.store):
            os.replace(address.path, address.partial / FOLDER)
            write_durably(address.store / "zarr.json", root_group(address.store))
            fsync_directory(address.store)
    return manifest.chunks - len(good)


def is_being_mended(address: CellAddress) -> bool:
    """Whether a repair took a cell from its place, and was stopped before it put it back."""
    layout = read_layout(address.partial)
    return layout is not None and layout.mended and not address.path.exists()


def mend_root(store: Path) -> None:
    """Write a store's root description anew from the cells beside it."""
    with exclusively(store):
        write_durably(store / "zarr.json", root_group(store))


def disown(path: Path) -> None:
    """Make a damaged file, if others hold it under another name, one that they read again.

    With DVC's `cache.type` hardlink or symlink a cell's files are those of DVC's cache, which
    trusts what is read-only without reading it: the next `dvc commit` would find the damaged
    file under the mended one's digest and link it back. Writable and just changed, it is hashed
    again and dropped. Its bytes stay as they are.

    Raises
    ------
    ProbelineError
        When the file belongs to another user, as in a shared DVC cache.
    """
    if not path.exists() or not (path.is_symlink() or path.stat().st_nlink > 1):
        return
    try:
        path.chmod(path.stat().st_mode | stat.S_IWUSR)
        os.utime(path)
    except PermissionError as error:
        raise ProbelineError(
            str(path),
            "is damaged in DVC's cache, too, which belongs to another user",
            found=f"a link to {path.resolve()}" if path.is_symlink() else "a hard link",
            remedy="ask its owner to mend it: until then, DVC would bring the damage back",
        ) from error


def _good_chunks(cell: Cell) -> list[dict[str, Any]]:
    """Journal entries of the chunks whose bytes are those that were written."""
    entries = []
    for chunk in range(cell.manifest.chunks):
        path = cell.address.path / chunk_name(chunk)
        digest = cell.manifest.digests[chunk_name(chunk)]
        if not path.is_file() or sha256_file(path) != digest:
            continue
        rows = cell.rows_of(chunk)
        values = np.fromfile(path, cell.dtype).reshape(-1, cell.manifest.columns)
        values = values[: rows.stop - rows.start].astype(np.float32)
        entries.append(
            {
                "chunk": chunk,
                "rows": len(values),
                "sha256": digest,
                "seconds": 0.0,
                "moments": Moments.of(values).encode(),
            }
        )
    return entries


def restore_description(address: CellAddress) -> None:
    """Rebuild a damaged ``zarr.json`` from the root's copy, if that gives the very same bytes."""
    path = address.path / "zarr.json"
    try:
        Manifest.read(path)
        return
    except (CellCorruptError, FileNotFoundError):
        pass
    try:
        root = load_json((address.store / "zarr.json").read_bytes())
        copies = root["consolidated_metadata"]["metadata"]
        attributes = dict(copies[address.split]["attributes"]["probeline"])
        own = attributes.pop("self")
        attributes["remarks"] = tuple(attributes["remarks"])
        members = {
            name.removeprefix(f"{address.split}/"): metadata
            for name, metadata in copies.items()
            if name.startswith(f"{address.split}/")
        }
        data = Manifest(**attributes).to_bytes(members)
    except (OSError, ValueError, KeyError, TypeError):
        return
    if f'"self": "{own}"'.encode() in data:
        write_durably(path, data)
