"""Files that carry a digest of themselves: what is read is what was written, or is named.

JSON carries it in its last entry; other files in a line after their end, which HDF5 and the like
do not look at. A file without one was written by an older version: it is read, and gets one when it
is next written. Hashing is no signature: a stranger can seal what he likes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cache.errors import CellCorruptError
from cache.files import sha256_bytes, sha256_file, whole_file
from cache.fingerprint import parse_json

MADE_ANEW = "delete it and run `dvc repro`, which makes it anew"

_OTHER = "bytes other than were written"
_NAME = "sealed"
_BLANK = "0" * 64
_LINE = re.compile(rb"\nprobeline sha256 ([0-9a-f]{64})\n")
_LENGTH = len(b"\nprobeline sha256 \n") + 64

_intact: set[tuple[int, int, int, int, str]] = set()
"""Files that this process found to have a digest: device, inode, last change, size, digest."""


def sealed_json(facts: Mapping[str, Any]) -> bytes:
    """JSON of a mapping, with the digest of its own bytes (taken with zeros in its place)."""
    blank = json.dumps({**facts, _NAME: _BLANK}, indent=1).encode()
    return blank.replace(_entry(_BLANK), _entry(sha256_bytes(blank)))


def read_sealed_json(path: Path, remedy: str = MADE_ANEW) -> dict[str, Any]:
    """What `sealed_json` made, or an older version without digest.

    Parameters
    ----------
    path : Path
    remedy : str
        What to do where it is damaged.

    Raises
    ------
    FileNotFoundError
    CellCorruptError
        When it is no JSON object, or not what was written.
    """
    data = path.read_bytes()
    try:
        facts = parse_json(data)
        if not isinstance(facts, dict):
            raise ValueError("no mapping")
        own = facts.pop(_NAME, None)
    except ValueError as error:
        raise damaged(path, f"{error}"[:200], remedy) from None
    if own is not None and sha256_bytes(data.replace(_entry(own), _entry(_BLANK))) != own:
        raise damaged(path, _OTHER, remedy)
    return facts


def write_sealed(path: Path, data: bytes) -> None:
    """Write a file, and the line with its digest, durably."""
    with whole_file(path) as file:
        file.write(data)
        file.write(_line(data))


def with_seal(data: bytes) -> bytes:
    """A file's content with the line, as `write_sealed` writes it."""
    return data + _line(data)


def read_sealed(path: Path, remedy: str = MADE_ANEW) -> bytes:
    """What `write_sealed` was given, or the whole of an older file without a digest.

    Parameters
    ----------
    path : Path
    remedy : str
        What to do where it is damaged.

    Raises
    ------
    FileNotFoundError
    CellCorruptError
        When it is not what was written.
    """
    data = path.read_bytes()
    line = _LINE.fullmatch(data[-_LENGTH:])
    if line is None:
        return data
    data = data[:-_LENGTH]
    if sha256_bytes(data) != line[1].decode():
        raise damaged(path, _OTHER, remedy)
    return data


def require_digest(path: Path, digest: str, *, remedy: str) -> None:
    """Compare a file with what is recorded of it, the first time in a process.

    Raises
    ------
    CellCorruptError
        When it is another file.
    """
    facts = path.stat()
    seen = (facts.st_dev, facts.st_ino, facts.st_ctime_ns, facts.st_size, digest)
    if seen in _intact:
        return
    found = sha256_file(path)
    if found != digest:
        raise CellCorruptError(
            str(path),
            "is not the file that was recorded",
            expected=f"SHA-256 {digest}",
            found=f"SHA-256 {found}",
            remedy=remedy,
        )
    _intact.add(seen)


def check_of(*parts: bytes) -> bytes:
    """A digest of several texts, to be kept beside them."""
    return hashlib.sha256(b"\n".join(parts)).hexdigest().encode()


def damaged(path: Path, found: str, remedy: str = MADE_ANEW) -> CellCorruptError:
    """What to say of a file that is not what was written."""
    return CellCorruptError(
        str(path),
        "is damaged",
        expected="the bytes that were written, as the file's own digest tells",
        found=found,
        remedy=remedy,
    )


def _line(data: bytes) -> bytes:
    return f"\nprobeline sha256 {sha256_bytes(data)}\n".encode()


def _entry(digest: object) -> bytes:
    return f'"{_NAME}": "{digest}"'.encode()
