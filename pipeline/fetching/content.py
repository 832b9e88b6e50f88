"""What a downloaded file must be, and whether it is."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from cache.errors import ProbelineError
from cache.files import sha256_file


class DownloadError(ProbelineError):
    """A file that could not be fetched, or is not what was expected."""


class UnavailableError(DownloadError):
    """What nobody has now: a later try, or a person, may bring it; nothing wrong was received."""


@dataclass(frozen=True)
class Content:
    """What a file must be, as far as it is known.

    Attributes
    ----------
    sha256 : str
        All 64 hexadecimal digits, the first few of them (many files carry those in their names),
        or "" where nothing is known.
    size : int or None
        Bytes.
    md5 : str
        All 32 hexadecimal digits, where the file's publisher gives no better digest, or "". Nobody
        can yet make another file with a given MD5.
    """

    sha256: str = ""
    size: int | None = None
    md5: str = ""


def verify(path: Path, content: Content) -> Content:
    """Digest and size of a file, which must be the expected ones.

    Raises
    ------
    DownloadError
        When they are not. A partial file is removed: going on from it would not mend it.
    """
    found = Content(sha256_file(path), path.stat().st_size)
    right = content.size in (None, found.size) and found.sha256.startswith(content.sha256)
    md5 = _md5(path) if right and content.md5 else ""
    if right and md5 == content.md5:
        return found
    if path.suffix == ".partial":
        path.unlink()
        state_file(path).unlink(missing_ok=True)
    size = "" if content.size is None else f"{content.size:,} bytes, "
    of_md5 = (f", MD5 {content.md5}", f", MD5 {md5}") if md5 else ("", "")
    raise DownloadError(
        str(path),
        "is not the file that was expected",
        expected=f"{size}SHA-256 {content.sha256 or 'any'}{of_md5[0]}",
        found=f"{found.size:,} bytes, SHA-256 {found.sha256}{of_md5[1]}",
        remedy="delete it and run this again; if it differs again, its author may have replaced it",
    )


def _md5(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def state_file(partial: Path) -> Path:
    """What is remembered of a partial file, beside it."""
    return partial.with_name(f"{partial.stem}.state.partial")
