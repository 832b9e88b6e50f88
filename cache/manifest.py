"""What a cell says of itself: its Zarr group's attributes, digests of all its files included."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cache.errors import CellCorruptError
from cache.files import sha256_bytes
from cache.fingerprint import fingerprint, load_json, parse_json
from cache.storage import Storage

FORMAT = 3
"""Version of the cell's layout on disk. Of 2, rows may have digests (`Cell.digests`); of 3, the
type that they are stored in may have a generation (`cache.storage`)."""

KEY_FORMAT = 1
"""Part of every cell's key. What comes later (a grey scale, a view's seed, further precisions and
features) is named in a key only where it is not what it always was, so that keys that are there
stay."""

READABLE = (1, 2, FORMAT)
"""Cells of these are read; what they hold of rows, labels and ids is the same. So the version is
no part of a key: a cell of the former layout is as good as a new one."""

_MOST = 1 << 40
"""Of rows and columns."""

_NO_DIGEST = "0" * 64


@dataclass(frozen=True)
class Manifest:
    """The frozen description of one whole cell.

    Attributes
    ----------
    key : mapping
        Everything that can change the cell's numbers. Its fingerprint is the cell's identity.
    rows, columns : int
        Samples and features.
    dtype : str
        Type stored on disk, "float16" or "float32".
    chunk_rows : int
        Rows of one chunk file; the last chunk is padded with NaN.
    digests : mapping of str to str
        SHA-256 of every file of the cell by its path inside it, this manifest's file excepted.
    remarks : tuple of str
        What a reader should know, e.g. why the cell is stored in float32.
    generation : int
        Of the storage of the model's rows; 0 where that was not decided (`cache.storage`).
    decided : str
        On what it was, in words.
    """

    key: Mapping[str, Any]
    rows: int
    columns: int
    dtype: str
    chunk_rows: int
    digests: Mapping[str, str]
    remarks: tuple[str, ...] = ()
    format: int = field(default=FORMAT)
    generation: int = 0
    decided: str = ""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the key."""
        return fingerprint(self.key)

    @property
    def storage(self) -> Storage:
        """How its rows are stored."""
        return Storage(self.dtype, self.generation, self.decided, self.remarks)

    @property
    def numbers(self) -> str:
        """What results depend on: see `numbers_of`."""
        return numbers_of(self.key, self.storage)

    @property
    def chunks(self) -> int:
        """Number of chunk files."""
        return -(-self.rows // self.chunk_rows)

    def to_bytes(self, members: Mapping[str, Any]) -> bytes:
        """The group's ``zarr.json``: this manifest, and the metadata of the arrays inside.

        Parameters
        ----------
        members : mapping
            The parsed ``zarr.json`` of each array by name (Zarr's consolidated metadata: readers
            then open the group with one read).

        Notes
        -----
        The file carries the digest of its own bytes, taken with 64 zeros in the digest's place,
        so that a flipped bit in it is found too.
        """
        facts = asdict(self)
        if not self.generation:  # as cells were described before there were generations
            del facts["generation"], facts["decided"]
        attributes = {"probeline": {**facts, "self": _NO_DIGEST}}
        blank = _group(attributes, members)
        return blank.replace(_self_entry(_NO_DIGEST), _self_entry(sha256_bytes(blank)))

    def refuse_odd(self) -> None:
        """Refuse what no cell of ours says of itself, be its digest right: it may be a stranger's.

        Raises
        ------
        ValueError
        """
        sizes = (self.rows, self.columns, self.chunk_rows)
        if not all(type(size) is int and 0 < size < _MOST for size in sizes):
            raise ValueError(f"sizes {sizes!r:.80}")
        if self.dtype not in ("float16", "float32") or not isinstance(self.key, dict):
            raise ValueError(f"type {self.dtype!r:.80}")
        if not isinstance(self.digests, dict) or self.chunks > len(self.digests):
            raise ValueError("fewer files than chunks")
        for name, digest in self.digests.items():
            if not isinstance(digest, str) or name.startswith("/") or ".." in name.split("/"):
                raise ValueError(f"a file {name!r:.80}")
        if not all(isinstance(remark, str) for remark in self.remarks):
            raise ValueError("a remark that is no text")
        generation = self.generation
        if type(generation) is not int or generation < 0 or not isinstance(self.decided, str):
            raise ValueError(f"generation {generation!r:.80}")

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Read the manifest from a group's ``zarr.json``, and check its own digest.

        Raises
        ------
        FileNotFoundError
            When there is none.
        CellCorruptError
            When it is not what was written, or of another format.
        """
        data = path.read_bytes()
        try:
            document = parse_json(data)
            found = dict(document["attributes"]["probeline"])
            own = found.pop("self")
            blank = data.replace(_self_entry(own), _self_entry(_NO_DIGEST))
            intact = sha256_bytes(blank) == own
            if not intact:
                raise _corrupt(path, "a digest that does not match")
            if found["format"] not in READABLE:  # before its entries, which may be others by then
                raise _corrupt(path, f"format {found['format']!r:.80}")
            manifest = cls(**{**found, "remarks": tuple(found["remarks"])})
            manifest.refuse_odd()
        except CellCorruptError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _corrupt(path, f"not a cell's description ({error})") from error
        return manifest


def numbers_of(key: Mapping[str, Any], storage: Storage) -> str:
    """What results that are computed from a cell depend on: its key, and how rows are rounded.

    The key names the type that was preferred. Of cells from before there were generations the type
    followed from the key; so that their results stay valid, it is named of later ones alone.
    """
    if not storage.generation or storage.dtype == "float16":
        return fingerprint(key)
    return fingerprint([key, storage.dtype])


def root_group(store: Path, building: Mapping[str, Path] | None = None) -> bytes:
    """``zarr.json`` of the store that holds a model's splits as groups.

    It repeats the groups' metadata (consolidated), because ``xarray.open_zarr(store, group=...)``
    looks for that at the root.

    Parameters
    ----------
    store : Path
    building : mapping of str to Path, optional
        Groups about to be renamed into `store`, by name, and where they lie now.

    Notes
    -----
    A group whose own description is damaged is left out: readers refuse it anyway, and it must
    not keep the others from being written. Writing it anew brings it back.
    """
    groups = dict(building or {})
    for path in store.glob("*/zarr.json"):
        with contextlib.suppress(CellCorruptError, FileNotFoundError):
            if path.parent.name not in groups:
                Manifest.read(path)
                groups[path.parent.name] = path.parent
    members: dict[str, Any] = {}
    for name, path in sorted(groups.items()):
        group = load_json((path / "zarr.json").read_bytes())
        inside = group.pop("consolidated_metadata")["metadata"]
        members[name] = group
        members |= {f"{name}/{array}": metadata for array, metadata in inside.items()}
    return _group({}, members)


def _group(attributes: Mapping[str, Any], members: Mapping[str, Any]) -> bytes:
    document = {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": dict(attributes),
        "consolidated_metadata": {
            "kind": "inline",
            "must_understand": False,
            "metadata": dict(members),
        },
    }
    return json.dumps(document, sort_keys=True, indent=1, ensure_ascii=False).encode()


def _self_entry(digest: str) -> bytes:
    return f'"self": "{digest}"'.encode()


def _corrupt(path: Path, found: str) -> CellCorruptError:
    return CellCorruptError(
        str(path),
        "the cell's description is damaged",
        expected=f"a group description of format {FORMAT} or older whose own digest matches",
        found=found,
        remedy="delete the cell's folder; the next `dvc repro` computes it again",
    )
